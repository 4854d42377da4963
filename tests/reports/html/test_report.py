"""The HTML report as a file: complete, whole, and nothing in it but text from others."""

from __future__ import annotations

import base64
import copy
import hashlib
import itertools
import json
import random
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coldstart_cli.errors import RequestError
from coldstart_cli.reports.html import page, report
from coldstart_cli.reports.html.report import render, write_html
from tests.kit.comparisons import HOSTILE, comparison, typed

TEMPLATES = Path(report.__file__).parent / "templates"


class Parsed(HTMLParser):
    """Tags with their attributes, and the text outside of script and style."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.raw: dict[str, list[str]] = {"script": [], "style": []}
        self._inside = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        self.raw.get(self._inside, self.texts).append(data)

    @property
    def text(self) -> str:
        return "\n".join(self.texts)


def test_report_leads_with_the_verdict_and_what_limits_it() -> None:
    made = comparison(3)
    made["sentences"] = ["at k <= 5 maml wins", "from k = 20 the two tie", "maml is 4x faster to adapt."]
    made["notes"], made["left_out"] = ["one seed"], [{"path": "outputs/x", "reason": "it is damaged"}]
    html = render(typed(made))
    told = (
        "At k &lt;= 5 maml wins.",
        "From k = 20 the two tie.",
        "maml is 4x faster to adapt.<",
        "One seed.",
    )
    charts = (f'data-chart="{kind}"' for kind in ("shots", "curves", "costs", "pairs", "similarity"))
    parts = (f'id="{part}"' for part in ("configurations", "budgets", "environment", "tasks"))
    found = [html.index(words) for words in (*told, "outputs/x", *charts, *parts)]
    assert found == sorted(found)


def test_report_holds_every_number_of_the_results() -> None:
    made = comparison(3, ks=(1, 5))
    text = Parsed(render(typed(made))).text
    for shot in made["settings"][0]["shots"].values():
        for row in shot["results"].values():
            assert f"{100 * row['mean']:.1f} ± {100 * row['half_width']:.1f}" in text
    for hashes in made["settings"][0]["tasks"].values():
        assert " ".join(hashes) in text
    assert made["runs"][0]["config"] in text
    assert all(run["path"] in text for run in made["runs"])


def test_report_needs_nothing_else() -> None:
    html = render(typed(comparison(len(HOSTILE), names=HOSTILE, gaps=True)))
    parsed = Parsed(html)
    links = [value for _, attributes in parsed.tags for name, value in attributes.items()
             if name in ("src", "href", "action", "srcset", "data", "poster")]  # fmt: skip
    assert links
    assert all(link == "data:," or str(link).startswith("#") for link in links)
    ours = html.replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?://|url\(|@import|fetch\(|XMLHttpRequest|innerHTML|outerHTML", ours)


def test_policy_allows_the_script_and_style_of_the_file_alone() -> None:
    parsed = Parsed(render(typed(comparison(2))))
    metas = [attributes for tag, attributes in parsed.tags if tag == "meta"]
    policy = next(m["content"] for m in metas if m.get("http-equiv") == "Content-Security-Policy")
    data, script = parsed.raw["script"]
    (style,) = parsed.raw["style"]
    json.loads(data)
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (script, style)]
    assert policy == (
        f"default-src 'none'; script-src 'sha256-{hashes[0]}'; style-src 'sha256-{hashes[1]}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    names = {name for _, attributes in parsed.tags for name in attributes}
    assert not {name for name in names if name == "style" or name.startswith("on")}


def hostile() -> dict[str, Any]:
    """Every text of a comparison replaced by, or ending in, something that must not be obeyed."""
    made = comparison(len(HOSTILE), names=HOSTILE, gaps=True)
    made["sentences"] = made["notes"] = list(HOSTILE)
    made["left_out"] = [{"path": text, "reason": text} for text in HOSTILE]
    setting = made["settings"][0]
    setting["title"] = setting["dataset"] = "".join(HOSTILE)
    for run, text in zip(made["runs"], itertools.cycle(HOSTILE), strict=False):
        run |= {"path": text, "config": text, "differs": {text: text}, "environment": {text: {text: [text]}},
                "state": {text: text}}  # fmt: skip
    return made


def test_names_appear_as_text_everywhere() -> None:
    html = render(typed(hostile()))
    parsed = Parsed(html)
    kinds = [tag for tag, _ in parsed.tags]
    assert kinds.count("script") == 2
    assert not {"img", "b", "iframe", "object", "embed", "form"} & set(kinds)
    for shown in ("<script>alert(1)</script>", "</script><img src=x onerror=alert(2)>", '=cmd|" /C calc"!A0',
                  "[red]x[/red]", r"\x1b[31mred\x1b[0m", "{{7*7}} {% raw %}", "'\"` onmouseover=alert(3) x='",
                  r"<!-- &lt;b&gt; \u2028 \u202egnp.exe \x00 \ud800"):  # fmt: skip
        assert shown in parsed.texts
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\ud800-\udfff]", html)
    data = json.loads(parsed.raw["script"][0])
    assert {c["name"] for c in data["settings"][0]["contestants"]} >= {"__proto__", "items", "[red]x[/red]"}
    assert "<" not in parsed.raw["script"][0]
    html.encode()  # a lone surrogate would not go into a file


@given(st.text(max_size=30))
@settings(max_examples=25, deadline=None)
def test_any_name_is_one_text(name: str) -> None:
    made = comparison(2, ks=(1,), names=[name, f"{name}2"], points=0)
    usual = Parsed(render(typed(comparison(2, ks=(1,), names=["a", "a2"], points=0))))
    parsed = Parsed(render(typed(made)))
    assert [tag for tag, _ in parsed.tags] == [tag for tag, _ in usual.tags]
    assert len(json.loads(parsed.raw["script"][0])["settings"][0]["contestants"]) == 2


def punched(value: Any, dice: random.Random, share: float) -> Any:
    """The same with some numbers lost: None, as where they are not finite or not known."""
    if isinstance(value, dict):
        kept = ("n_tasks", "rank", "confidence", "seed", "format", "pairs")
        return {k: v if k in kept else punched(v, dice, share) for k, v in value.items()}
    if isinstance(value, list):
        return [punched(item, dice, share) if isinstance(item, dict | list) else item for item in value]
    if isinstance(value, float) and dice.random() < share:
        return None
    return value


@given(st.integers(0, 1000), st.booleans(), st.sampled_from([0.1, 0.5, 1.0]))
@settings(max_examples=20, deadline=None)
def test_numbers_that_are_not_known_are_dashes(seed: int, regression: bool, share: float) -> None:
    dice = random.Random(seed)
    made = comparison(dice.randint(1, 5), regression=regression, gaps=bool(seed % 2))
    settings_ = [punched(setting, dice, share) for setting in made["settings"]]
    parsed = Parsed(render(typed(made | {"settings": settings_})))
    assert not re.search(r"\b(None|nan|inf|Undefined|undefined)\b", parsed.text)
    assert "–" in parsed.texts


def test_numbers_that_are_not_finite_are_dashes() -> None:
    made = comparison(2)
    row = next(iter(made["settings"][0]["shots"]["1"]["results"].values()))
    row |= {"mean": float("nan"), "half_width": float("inf")}
    assert not re.search(r"\b(NaN|nan|inf|Infinity)\b", Parsed(render(typed(made))).text)


def test_errors_are_not_in_percent() -> None:
    made = comparison(2, regression=True)
    for shot in made["settings"][0]["shots"].values():
        for row in shot["results"].values():
            row |= {"mean": 0.123456, "half_width": 0.0021}
    text = Parsed(render(typed(made))).text
    assert "0.1235 ± 0.0021" in text
    assert "12.3" not in text


def test_settings_of_one_title_are_told_apart() -> None:
    made = comparison(2, settings=2, ks=(1,))
    made["settings"][1]["title"] = made["settings"][0]["title"]
    made["settings"][1]["shots"] = {"7": made["settings"][1]["shots"]["1"]}
    text = Parsed(render(typed(made))).texts
    assert "glyphs, 5-way, k = 1" in text
    assert "glyphs, 5-way, k = 7" in text


def test_same_comparison_gives_the_same_file() -> None:
    made = comparison(4, gaps=True)
    before = copy.deepcopy(made)
    assert render(typed(made)) == render(typed(copy.deepcopy(made)))
    assert made == before


def test_report_of_200_runs_is_small() -> None:
    made = comparison(20, ks=(1, 2, 5, 10, 20), seeds=10, n_tasks=600)
    config = made["runs"][0]["config"]
    html = render(typed(made))
    assert len(html) < 1_000_000
    assert html.count(config[-200:]) == 1  # what all runs share stands there once


def test_write_html_refuses_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"--html: .* is a folder; name a file in it"):
        write_html(typed(comparison(2)), tmp_path)
    with pytest.raises(RequestError, match=r"--html: .*missing is not a folder; make it first"):
        write_html(typed(comparison(2)), tmp_path / "missing" / "report.html")
    write_html(typed(comparison(2)), tmp_path / "report.html")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == render(typed(comparison(2)))


def test_scripts_are_plain_and_all_used() -> None:
    assert {path.name for path in TEMPLATES.glob("*.js")} == set(page.SCRIPTS)
    for path in TEMPLATES.iterdir():
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 300
        if path.suffix == ".js":
            assert "</" not in text and "<!--" not in text  # would end the script in the page


# Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB
VISIONS = {
    "usual": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                   [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                     [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                   [0.004733, 0.691367, 0.303900]],
}  # fmt: skip
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear_rgb(colour: str) -> np.ndarray:
    c = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    xyz = TO_XYZ @ np.clip(rgb, 0, 1) / [0.9505, 1.0, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def contrast(one: str, other: str) -> float:
    high, low = sorted((float(TO_XYZ[1] @ linear_rgb(c)) for c in (one, other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("place", [0, 1, 2], ids=["light", "dark", "paper"])
@pytest.mark.parametrize("vision", VISIONS)
def test_colours_stay_apart_for_every_vision(vision: str, place: int) -> None:
    css = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    known = dict(re.findall(r"--([\w-]+): (#\w{6});", re.findall(r":root \{(.*?)\}", css, re.DOTALL)[place]))
    colours = [known[f"c{i}"] for i in range(8)] + [known["ink"]]
    seen = [lab(np.asarray(VISIONS[vision]) @ linear_rgb(colour)) for colour in colours]
    nearest = min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2))
    assert nearest > 15  # 2.3 is just noticeable
    assert min(contrast(colour, known["paper"]) for colour in colours) >= 3  # WCAG 1.4.11
    texts = [("ink", "paper"), ("soft", "paper"), ("link", "paper"), ("win-ink", "win"), ("loss-ink", "loss"),
             ("tie-ink", "tie")]  # fmt: skip
    assert min(contrast(known[a], known[b]) for a, b in texts) >= 4.5  # WCAG 1.4.3
