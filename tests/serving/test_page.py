"""The page in a real browser: by keyboard, on a phone, in the dark, with hostile text."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from coldstart_cli.bundles.bundle import Bundle
from coldstart_cli.serving.page import page
from tests.kit.adapted import made
from tests.kit.browser import Browser, Page, find
from tests.kit.served import Client, served

HOSTILE = (
    "<script>window.bad=1</script>",
    '"><img src=x onerror=window.bad=1>',
    "\u202eright to left",
    'a,"b"\nc',
)
TOKEN = "0123456789abcdef"


def test_only_its_own_script_and_style_may_run() -> None:
    text, policy = page()
    parts = [re.search(f"<{kind}>(.*)</{kind}>", text, re.DOTALL) for kind in ("script", "style")]
    for part in parts:
        assert part is not None
        digest = base64.b64encode(hashlib.sha256(part[1].encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert not re.search(r"https?://|@import|url\(|<link[^>]+href=\"(?!data:,)", text)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = find()
    if program is None:
        pytest.skip("no chromium on the path: install Debian's package chromium")
    try:
        browser = Browser(program, tmp_path_factory.mktemp("profile"))
        browser.call("Browser.getVersion")
    except (AssertionError, OSError) as error:  # a stub that only tells how to install it
        pytest.skip(f"{program} does not start: {error}")
    yield browser
    browser.close()


Show = Callable[..., Page]


@pytest.fixture
def show(browser: Browser) -> Iterator[Show]:
    """Opens a server's page. It may ask for nothing but what the server has, and complain of nothing."""
    pages: list[tuple[Page, str]] = []

    def call(client: Client, **window: object) -> Page:
        opened = browser.page(**window)  # type: ignore[arg-type]
        opened.go(client.address)
        pages.append((opened, client.address))
        return opened

    yield call
    for opened, address in pages:
        assert opened.errors == []
        assert all(one.startswith((address, "data:", "blob:")) for one in opened.requests), opened.requests
        opened.close()


def until(opened: Page, expression: str) -> None:
    """Waits until an expression is true in the page."""
    assert opened(
        f"""new Promise(done => {{
          let left = 1000;
          const look = () => ({expression}) ? done(true) : left-- ? setTimeout(look, 10) : done(false);
          look();
        }})"""
    ), f"{expression}: {opened('document.body.innerText')}"


def ready(opened: Page) -> Page:
    until(opened, "!document.getElementById('ask').hidden")
    return opened


ANSWERED = "document.querySelectorAll('#answers > li').length === {}"
CSV = """new Promise(done => {
  const make = URL.createObjectURL;
  URL.createObjectURL = blob => { blob.text().then(done); return make(blob); };
  document.getElementById('download').click();
})"""


@pytest.fixture
def texts(tiny_bert: Path) -> Bundle:
    """Texts of words w0 to w59, with labels that would be markup, code, or another line of a table."""
    with open("texts.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["text", "label"])
        for c, label in enumerate(HOSTILE):
            table.writerows([f"w{4 * c + i} w{4 * c + (i + 1) % 4}", label] for i in range(4))
    return made("dataset=text", "dataset.root=texts.csv", "model=hf_text_frozen", f"model.path={tiny_bert}",
                "strategy=nearest_centroid")  # fmt: skip


def test_texts_are_answered_corrected_and_downloaded_by_keyboard_alone(texts: Bundle, show: Show) -> None:
    with served(texts, name=HOSTILE[0]) as client:
        opened = ready(show(client))
        opened.press("Tab")
        assert opened("document.activeElement.id") == "text"
        opened.call("Input.insertText", text='w1 <b>w2</b>, "x"')
        opened.press("Tab", "Tab", "Enter")
        until(opened, ANSWERED.format(1))
        assert opened("document.activeElement.id") == "answers-title"
        opened.press("Tab")
        assert opened("document.activeElement.tagName") == "SELECT"
        chosen = opened("document.activeElement.value")
        opened.press("Home")
        opened.press(*["ArrowDown"] * texts.card.labels.index(HOSTILE[3]))
        assert opened("document.activeElement.value") == HOSTILE[3] != chosen or chosen == HOSTILE[3]
        opened.press("Tab", "Enter")
        assert opened("document.getElementById('count').textContent") == "1 row"
        rows = [*csv.reader(io.StringIO(opened(CSV)))]
        assert rows == [["text", "label"], ['w1 <b>w2</b>, "x"', HOSTILE[3]]]


def test_rows_that_were_kept_are_read_by_adapt(texts: Bundle, show: Show) -> None:
    with served(texts) as client:
        opened = ready(show(client))
        opened("document.getElementById('lines').click()")
        opened(
            "document.getElementById('text').value = " + repr("\n".join(f"w{i} w{i % 4}" for i in range(8)))
        )
        opened("document.getElementById('ask').requestSubmit()")
        until(opened, ANSWERED.format(8))
        opened(
            """[...document.querySelectorAll('#answers > li')].forEach((item, i) => {
              item.querySelector('select').selectedIndex = i % 4; item.querySelector('button').click();
            })"""
        )
        text = opened(CSV)
    Path("corrected.csv").write_text(text, newline="")
    bundle = made("dataset=text", "dataset.root=corrected.csv", "model=hf_text_frozen",
                  f"model.path={texts.card.build.model['path']}", "strategy=nearest_centroid")  # fmt: skip
    assert bundle.card.data.examples == 8 and {*bundle.card.labels} == {*HOSTILE}


def test_a_row_is_kept_once_and_can_be_removed(table: Bundle, show: Show) -> None:
    with served(table) as client:
        opened = ready(show(client))
        opened("document.getElementById('c0').value = '1'; document.getElementById('c1').value = '2'")
        for answer in ("x", "y"):
            opened("document.getElementById('ask').requestSubmit()")
            until(opened, ANSWERED.format(1) + " && !document.getElementById('go').ariaDisabled")
            opened(f"document.querySelector('#answers select').value = '{answer}'")
            opened("document.querySelector('#answers button').click()")
        assert opened(CSV) == "a,b,label\n1,2,y\n"
        opened("document.querySelector('#kept button').click()")
        assert opened("document.getElementById('keeping').hidden")
        assert opened("document.activeElement.id") == "go"


def test_hostile_text_is_shown_as_text(texts: Bundle, show: Show) -> None:
    with served(texts, name=HOSTILE[1]) as client:
        opened = ready(show(client))
        for text in HOSTILE:
            opened(f"document.getElementById('text').value = {text!r}")
            opened("document.getElementById('ask').requestSubmit()")
            until(
                opened,
                ANSWERED.format(1)
                + f" && document.querySelector('.given').textContent === {text!r}"
                + " && !document.getElementById('go').ariaDisabled",
            )
            opened("document.querySelector('#answers .fix button').click()")
        assert opened("window.bad") is None
        assert opened("document.querySelectorAll('main script, main img, main b').length") == 0
        assert opened("document.getElementById('name').textContent") == HOSTILE[1]
        shown = opened("[...document.querySelectorAll('.bars dt')].map(one => one.textContent)")
        assert {*shown} == {*HOSTILE}
        assert opened("document.querySelector('.bars dt').dir") == "auto"


@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_a_phone_and_can_be_read(texts: Bundle, show: Show, dark: bool) -> None:
    with served(texts, name="n" * 200) as client:
        opened = ready(show(client, width=360, height=740, dark=dark))
        opened("document.getElementById('text').value = 'w'.repeat(300)")
        opened("document.getElementById('ask').requestSubmit()")
        until(opened, ANSWERED.format(1))
        opened("document.querySelector('#answers .fix button').click()")
        assert opened("document.documentElement.scrollWidth") == 360
        pairs = opened(
            """[...document.querySelectorAll(
                'p, label, button, dt, dd, h1, h2, .given, select, textarea, #kept span'
              )].filter(node => node.offsetWidth && node.textContent.trim()).map(node => {
                const of = one => getComputedStyle(one);
                let below = node;
                while (of(below).backgroundColor === 'rgba(0, 0, 0, 0)') below = below.parentElement;
                return [of(node).color, of(below).backgroundColor];
              })"""
        )
        assert len(pairs) > 10 and min(contrast(*pair) for pair in pairs) >= 4.5  # WCAG 2.2, AA
        small = opened(
            "[...document.querySelectorAll('button')].filter(b => b.offsetWidth && b.offsetHeight < 24)"
            ".length"
        )
        assert small == 0


def contrast(one: str, other: str) -> float:
    """Of two colours `rgb(r, g, b)`, by WCAG 2.2."""

    def luminance(text: str) -> float:
        values = np.array([int(v) for v in re.findall(r"\d+", text)[:3]]) / 255
        linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_bars_are_as_long_as_probabilities(table: Bundle, show: Show) -> None:
    with served(table) as client:
        opened = ready(show(client))
        opened("document.getElementById('c0').value = '5.2'; document.getElementById('c1').value = '0'")
        opened("document.getElementById('ask').requestSubmit()")
        until(opened, ANSWERED.format(1))
        top = client.predict([{"a": "5.2", "b": "0"}]).json["answers"][0]["top"]
        widths = opened(
            "[...document.querySelectorAll('.track span')]"
            ".map(b => b.offsetWidth / b.parentElement.offsetWidth)"
        )
        assert widths == pytest.approx([one["probability"] for one in top], abs=0.01)


def test_a_refusal_is_told_and_the_page_goes_on(table: Bundle, browser: Browser) -> None:
    with served(table) as client:
        opened = browser.page()
        opened.go(client.address)
        ready(opened)
        opened("document.getElementById('c0').value = '<b>'")
        opened("document.getElementById('ask').requestSubmit()")
        until(opened, "!document.getElementById('error').hidden")
        said = opened("document.getElementById('error').textContent")
        assert said.startswith("input row 1: column a is '<b>', no finite number")
        opened("document.getElementById('c0').value = '1'")
        opened("document.getElementById('ask').requestSubmit()")
        until(opened, ANSWERED.format(1) + " && document.getElementById('error').hidden")
    opened("document.getElementById('ask').requestSubmit()")
    until(opened, "document.getElementById('error').textContent.startsWith('server: it does not answer')")
    opened.close()


def test_a_token_is_asked_for_and_opens_the_page(table: Bundle, browser: Browser) -> None:
    with served(table, token=TOKEN) as client:
        opened = browser.page()
        opened.go(client.address)
        until(opened, "!document.getElementById('access').hidden")
        assert opened("document.getElementById('name').textContent") == "A bundle"
        for token in ("wrong", TOKEN):
            opened(f"document.getElementById('token').value = '{token}'")
            opened("document.getElementById('access').requestSubmit()")
            if token == "wrong":
                until(opened, "document.getElementById('error').textContent.startsWith('Authorization: ')")
        ready(opened)
        assert opened("document.getElementById('access').hidden")
        opened.close()


def test_images_are_chosen_as_files(show: Show) -> None:
    for name, grey in (("dark", 40), ("light", 200)):
        Path("pictures", name).mkdir(parents=True)
        for i in range(3):
            Image.fromarray(np.full((20, 30, 3), grey + i, np.uint8)).save(Path("pictures", name, f"{i}.png"))
    bundle = made("dataset=image_folder", "dataset.root=pictures", "dataset.size=16", "model=conv4",
                  "model.hidden=8", "model.groups=1", "strategy=nearest_centroid")  # fmt: skip
    paths = [str(Path("pictures", name, "0.png").resolve()) for name in ("dark", "light")]
    with served(bundle) as client:
        opened = ready(show(client))
        node = opened.call("DOM.getDocument")["root"]["nodeId"]
        field = opened.call("DOM.querySelector", nodeId=node, selector="#files")["nodeId"]
        opened.call("DOM.setFileInputFiles", nodeId=field, files=paths)
        opened("document.getElementById('ask').requestSubmit()")
        until(opened, ANSWERED.format(2))
        until(opened, "[...document.querySelectorAll('.given img')].every(one => one.naturalWidth === 30)")
        shown = opened("[...document.querySelectorAll('.verdict')].map(one => one.textContent)")
    assert shown == bundle.predict(paths).labels


def test_values_of_a_regression_are_corrected_by_number(table: Bundle, show: Show) -> None:
    recipe = {**table.card.build.recipe, "label_column": None, "target_column": "price"}
    build = replace(table.card.build, recipe=recipe, classification=False, n_outputs=2)
    bundle = Bundle(replace(table.card, labels=(), build=build), table.module, table.preprocess)
    with served(bundle) as client:
        opened = ready(show(client))
        opened("document.getElementById('c0').value = '1'")
        opened("document.getElementById('ask').requestSubmit()")
        until(opened, ANSWERED.format(1))
        opened("document.querySelector('#answers .fix input').value = '12.5'")
        opened("document.querySelector('#answers .fix button').click()")
        assert opened(CSV) == "a,b,price\n1,,12.5\n"
