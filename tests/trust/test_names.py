"""S7 and S8: names that may be anything stay names, in paths, tables, pages and on the terminal."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from coldstart_cli.errors import LONGEST_LINE, line
from coldstart_cli.runs.run import Run, folder_name, run_name
from coldstart_cli.safe_text import csv_text
from tests.kit.reliability import Tries
from tests.trust.conftest import DATA, SMALL, TRAINED, Said, Stage, said

NAMES = [
    "..", ".", "../x", "../../../x", "/", "/x", "//x", "x/..", "x/../../y", "./x", "~", "~root", "\0", "a\0b",
    "", " ", "x" * 5000, "é" * 300, "\N{PILE OF POO}", "\N{FAMILY}\u200d\N{BOY}", "\n", "a\nb", "a\r\nb",
    "\t", "-", "-rf", "--debug",
    "[red]", "[/]", "[link=x]y[/link]", "\u202eabc", "\ud800", "CON", "nul.txt", "a:b",
    "a\\b", "$HOME",
    "${oc.env:HOME}", "`x`", "a;b|c&d", "%s%n", "\x1b]0;x\x07", "x.", ".hidden", "*?",
]  # fmt: skip
INJECTIONS = [
    "=1+1", "=cmd|' /C calc'!A0", "+1+1", "-1+1", "@SUM(1)", "\t=1", "\r=1", "\n=1", " =1", "\u00a0=1",
    "=HYPERLINK(1)", "\N{FULLWIDTH EQUALS SIGN}1", "<script>x()</script>", "<img src=x onerror=x()>",
    "</script><script>x()//", "<!--",
    "]]><b>", "\"><b>", "' onmouseover='x()", "&lt;b&gt;", "<b", "\x1b[31mred", "\x1b]0;title\x07", "\x1b[2J",
    "\x9b31m", "\x07", "\b\b\b", "a\rb", "\u202eevil", "[red]x[/red]", "[/nope]", "[link=file:///x]y[/link]",
    "\\[red]", "{{7*7}}", "${7}", "%n",
]  # fmt: skip
QUICK_BUNDLE = (
    "strategy=nearest_centroid", "bundle=new", "steps=1", "folds_to_estimate=2", "repeats_to_estimate=1",
)  # fmt: skip
FORMULA = re.compile(r"[\s\u00a0]*[=+\-@\N{FULLWIDTH EQUALS SIGN}\t\r]")
NUMBER = re.compile(r"[+-]?[\d.,]+(e[+-]?\d+)?$")


def of_text(name: str) -> str:
    """A name that a file or an array can hold."""
    return name.encode("utf-8", "replace").decode()


@pytest.mark.fault("S7")
def test_hostile_names_make_one_folder_below_the_outputs(tries: Tries, stage: Stage) -> None:
    config = yaml.safe_load((stage.run / "config.yaml").read_text())
    for i in tries.of(len(NAMES), len(NAMES)):
        for key in ("strategy", "dataset", "model"):
            changed = {**config, "names": {**config["names"], key: NAMES[i]}}
            name = run_name(changed, "f")
            if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,254}", name):
                tries.failures.append(f"{NAMES[i][:20]!r} as {key}: {name!r}")
    assert folder_name("../../etc/passwd") == "_._.._etc_passwd"
    assert folder_name("paper/maml_5.1-x") == "paper_maml_5.1-x"


def everything(folder: Path) -> dict[str, int]:
    return {str(p): p.lstat().st_mtime_ns for p in folder.rglob("*") if not p.is_dir()}


def outside(stage: Stage, act: Callable[[], Said], *below: str) -> tuple[list[str], Said]:
    """What a command wrote elsewhere than below some folders of the stage."""
    root = stage.folder.parent
    before = everything(root)
    ended = act()
    after = everything(root)
    places = tuple(str(stage.folder / folder) for folder in below)
    return [path for path in after if before.get(path) != after[path] and not path.startswith(places)], ended


def labelled(stage: Stage, names: list[str]) -> None:
    """Every name as a class of eight examples, far from the others."""
    g = np.random.default_rng(0)
    centres = g.normal(0, 9, (len(names), 4))
    x = np.repeat(centres, 8, axis=0) + g.normal(0, 0.1, (8 * len(names), 4))
    np.savez(stage.folder / "points.npz", x=x.astype(np.float32), y=np.repeat(np.array(names), 8))


def distinct(names: list[str]) -> list[str]:
    """As an array of texts holds them: no NUL at the end, and none twice."""
    return list(dict.fromkeys(name for name in map(of_text, names) if name.strip("\0 \t\n") == name and name))


@pytest.mark.fault("S7")
def test_hostile_names_write_nothing_outside(tries: Tries, stage: Stage) -> None:
    names = distinct(NAMES)
    labelled(stage, names)
    tries.n += len(names)

    def attempt(words: str, act: Callable[[], Said], *below: str) -> None:
        found, ended = outside(stage, act, *below)
        tries.failures += [f"{words} wrote {path}" for path in found]
        if ended.code not in (0, 2) or "Traceback" in ended.err:
            tries.failures.append(f"{words}: exit {ended.code} {ended.err[-200:]!r}")

    attempt("adapt", lambda: said("adapt", *SMALL, *DATA[:2], *QUICK_BUNDLE), "new", "outputs")
    attempt("predict", lambda: said("predict", "bundle=new", "input=points.npz"))
    attempt("check", lambda: said("data", "check", *SMALL, *DATA, "--tasks", "5"))
    for i in tries.of(3, len(NAMES)):
        name = NAMES[(11 * i) % len(NAMES)]
        stage.edit_config(lambda c, name=name: c["names"].update(dict.fromkeys(c["names"], of_text(name))))
        command = ("evaluate", f"run={stage.run}", "again=true", "evaluation.n_tasks=2")
        attempt(f"evaluate {name[:9]!r}", lambda c=command: said(*c), str(stage.run))
        page = ("compare", str(stage.run), "--html", "r.html")
        attempt(f"compare {name[:9]!r}", lambda c=page: said(*c), "r.html")
        stage.fresh()


@pytest.mark.fault("S7")
@pytest.mark.parametrize("name", [".lock", "evaluations", "plots", "checkpoints", "config.yaml"])
def test_a_link_in_a_run_is_not_written_through(stage: Stage, name: str, tries: Tries) -> None:
    tries.n += 1
    target = stage.folder.parent / "precious"
    path = stage.run / name
    if path.is_dir():
        path.rename(target)
    else:
        target.write_text(path.read_text() if path.exists() else "mine")
        path.unlink(missing_ok=True)
    path.symlink_to(target)
    before = everything(target) if target.is_dir() else target.read_text()
    found, ended = outside(stage, lambda: said("evaluate", f"run={stage.run}", "again=true"), "outputs")
    assert not found and (everything(target) if target.is_dir() else target.read_text()) == before
    assert ended.wrong is None and "is a link out of the run" in ended.err


def test_a_lock_that_is_a_link_would_empty_its_target(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    target = stage.folder.parent / "precious"
    target.write_text("mine")
    (stage.run / ".lock").unlink(missing_ok=True)
    (stage.run / ".lock").symlink_to(target)
    monkeypatch.setattr(Run, "_check_links", lambda self: None)
    with Run(stage.run).locked():
        assert target.read_text() != "mine"


def test_links_within_a_run_are_kept(stage: Stage) -> None:
    (stage.run / "latest").symlink_to("checkpoints")
    with Run(stage.run).locked():
        pass


def harmful_cells(text: str) -> list[str]:
    cells = [cell for row in csv.reader(io.StringIO(text)) for cell in row]
    return [cell for cell in cells if FORMULA.match(cell) and not NUMBER.match(cell)]


def unprintable(text: str) -> list[str]:
    return [row[:80] for row in text.split("\n") if not row.replace("\t", "").isprintable()]


class Page(HTMLParser):
    """Every tag with its attributes, and the text that a reader sees."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.handlers: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on")]


@pytest.mark.fault("S8")
def test_labels_are_written_as_text(tries: Tries, stage: Stage) -> None:
    names = distinct(INJECTIONS)
    for i in tries.of(len(names), len(names)):
        several = [names[(i + j) % len(names)] for j in range(12)]
        stage.edit_card(lambda card, several=several: card.update(labels=several))
        if i % 6 == 0:  # twelve at a time: each is told in every form
            told = said("predict", "bundle=b", "input=points.npz")
            tries.failures += [f"predict: {row!r}" for row in unprintable(told.out + told.err)]
            told = said("predict", "bundle=b", "input=points.npz", "--csv")
            tries.failures += [f"--csv: {cell!r}" for cell in harmful_cells(told.out)]
            told = said("predict", "bundle=b", "input=points.npz", "--json")
            tries.failures += [f"--json: {row!r}" for row in unprintable(told.out)]
            said_labels = {json.loads(row)["label"] for row in told.out.splitlines()}
            assert said_labels <= set(several) and said_labels


@pytest.mark.fault("S8")
def test_class_names_are_written_as_text(tries: Tries, stage: Stage) -> None:
    names = distinct(INJECTIONS)
    labelled(stage, names)
    with np.load(stage.folder / "points.npz", allow_pickle=False) as file:
        x, y = file["x"].copy(), file["y"].copy()
    x[::8] = x[0]  # the first example of every class is the same: leaks that name all classes
    np.savez(stage.folder / "points.npz", x=x, y=y)
    tries.n += len(names)
    for command in (
        ("data", "check", *SMALL, *DATA, "--tasks", "5"),
        ("train", *SMALL, *DATA, "strategy=protonet", "baseline=null", "--dry-run"),
        ("adapt", *SMALL, *DATA[:2], *QUICK_BUNDLE),
        ("train", *SMALL, *DATA, f"dataset.exclude=['{names[-1]}x']", "--dry-run"),
    ):
        ended = said(*command)
        told = ended.out + ended.err
        tries.failures += [f"{command[0]}: {row!r}" for row in unprintable(told)]
        if "Traceback" in told:
            tries.failures.append(f"{command[0]}: {told[-200:]!r}")


@pytest.mark.fault("S8")
def test_names_of_runs_are_written_as_text(
    tries: Tries, stage: Stage, make_run: Callable[..., Path], tmp_path: Path
) -> None:
    values = {1: {f"t{i}": 0.5 + 0.01 * i for i in range(6)}}
    for name in ("one", "two"):
        make_run(name, values, strategy=name, folder=tmp_path / "plain")
    said("compare", str(tmp_path / "plain"), "--html", "plain.html")
    expected = Page((stage.folder / "plain.html").read_text())
    assert expected.tags
    for i in tries.of(6, len(INJECTIONS)):
        name = of_text(INJECTIONS[(5 * i) % len(INJECTIONS)])
        folder = tmp_path / f"runs{i}"
        for j, strategy in enumerate((name, "two")):
            make_run(f"r{j}", values, strategy=strategy, model=name, folder=folder)
        for flags in ((), ("--csv",), ("--json",), ("--for", "k=1"), ("--html", "x.html")):
            ended = said("compare", str(folder), *flags)
            if ended.code and "${" not in name:  # no run's config holds that
                tries.failures.append(f"{name!r} {flags}: {ended.err!r}")
            tries.failures += [f"{name!r} {flags}: {row!r}" for row in unprintable(ended.out + ended.err)]
            if flags == ("--csv",):
                tries.failures += [f"{name!r}: cell {cell!r}" for cell in harmful_cells(ended.out)]
        text = (stage.folder / "x.html").read_text()
        page = Page(text)
        raw = ">" in name and "<" in name and name in text  # escaped, it is not
        if page.tags != expected.tags or page.handlers or raw:
            tries.failures.append(f"{name!r}: changes the page")
        tries.failures += [f"{name!r}: {row!r} in the page" for row in unprintable(text.replace("\xa0", " "))]
        diff = said("diff", str(folder / "r0"), str(folder / "r1"))
        tries.failures += [f"{name!r}: diff {row!r}" for row in unprintable(diff.out + diff.err)]


@pytest.mark.fault("S8")
def test_refusals_are_one_line_whatever_is_typed(tries: Tries, stage: Stage) -> None:
    ways: list[Callable[[str], tuple[str, ...]]] = [
        lambda w: (w or "x",),
        lambda w: ("train", f"strategy={w}"),
        lambda w: ("train", f"{w}=1"),
        lambda w: ("train", f"--{w}"),
        lambda w: ("compare", f"x{w}"),
        lambda w: ("predict", f"bundle={w}", "input=x"),
        lambda w: ("evaluate", f"run=x{w}"),
        lambda w: ("ls", f"x{w}"),
        lambda w: ("cat", f"x{w}"),
        lambda w: ("data", "check", *SMALL, "dataset=arrays", f'dataset.root="{w}"'),
        lambda w: ("data", "verify", f"dataset={w}"),
        lambda w: ("completion", f"x{w}"),
    ]
    words = [*NAMES, *INJECTIONS]
    for i in tries.of(60, len(ways) * len(words)):
        word, way = words[(7 * i) % len(words)], ways[i % len(ways)]
        ended = said(*way(word))
        if ended.code == 0 and ended.err == "":
            continue  # such as `--debug`
        if ended.wrong:
            tries.failures.append(f"{way(word)[:2]!r}"[:100] + f": {ended.wrong}")


def test_csv_without_the_guard_would_hold_a_formula() -> None:
    out = io.StringIO()
    csv.writer(out).writerow(["=1+1"])
    assert harmful_cells(out.getvalue())
    rows: list[dict[str, Any]] = [{"a": name, "b": -1.5} for name in INJECTIONS]
    assert not harmful_cells(csv_text(rows))
    assert "-1.5" in csv_text(rows)


def test_line_keeps_both_ends() -> None:
    assert line("a: b\nc\x1b[0m") == "a: b c\\x1b[0m"
    long = line("key: " + "x" * 1000 + "; do this")
    assert len(long) == LONGEST_LINE and long.startswith("key: ") and long.endswith("; do this")


@pytest.mark.fault("S7")
@pytest.mark.parametrize("name", ["../../x", "/tmp/x", ".x", "a/b", "-x", "x" * 100])
def test_a_study_is_a_file_below_the_outputs(stage: Stage, name: str) -> None:
    space = ("optimizer.lr=choice(0.1,0.2)", f"tune.study={name}", "tune.n_trials=1")
    found, ended = outside(stage, lambda: said("tune", *TRAINED, *space), "outputs")
    assert not found and ended.wrong is None and ended.err.startswith("tune.study: ")
