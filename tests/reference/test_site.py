"""The site: it builds without a warning; its pages work from a folder, on a phone, without a network."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.browser import Browser, find
from tests.kit.places import REPOSITORY

pytest.importorskip("material", reason="the extra docs is not installed")

from mkdocs.commands.build import build
from mkdocs.config import load_config

from reference import pages, strategies
from reference.hooks import expanded, linked


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built of the pages as they are, but for what strategies serve: each would be built to say it."""
    folder = tmp_path_factory.mktemp("site")
    docs = folder / "docs"
    shutil.copytree(REPOSITORY / "docs", docs, ignore=shutil.ignore_patterns("reference"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strategies, "serves", lambda name: ())
        made = pages.pages()
    pages.write(made, docs / "reference")
    config = load_config(str(REPOSITORY / "mkdocs.yml"), docs_dir=str(docs), site_dir=str(folder / "site"))
    assert config.strict  # a warning raises
    build(config)
    return folder / "site"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = find()
    if program is None:
        pytest.skip("no chromium on the path: install Debian's package chromium")
    browser = Browser(program, tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


def test_site_has_a_page_for_each_part(site: Path) -> None:
    for page in ("index", "own_data", "reference/commands", "reference/strategies/maml", "reference/formats",
                 "reference/configs/dataset", "project/readme", "decisions/0001-the-spine"):  # fmt: skip
        assert (site / f"{page}.html").is_file()
    assert (site / "reports" / "sensors.html").is_file()


@pytest.mark.parametrize("page", ["index", "reference/strategies/maml", "reference/commands", "results"])
def test_page_fits_a_phone_and_asks_no_network(page: str, site: Path, browser: Browser) -> None:
    shown = browser.page(width=390, height=844, dark=True).open(site / f"{page}.html")
    assert shown("document.documentElement.scrollWidth") == 390
    assert shown.errors == []
    assert [one for one in shown.requests if not one.startswith(("file:", "data:"))] == []
    shown.close()


def test_search_answers_from_a_folder(site: Path, browser: Browser) -> None:
    shown = browser.page().open(site / "index.html")
    shown("""(() => {
      const field = document.querySelector('.md-search__input');
      field.focus();
      field.value = 'meta_sgd';
      field.dispatchEvent(new KeyboardEvent('keyup', {bubbles: true}));
    })()""")
    found: list[str] = []
    for _ in range(600):
        links = "[...document.querySelectorAll('.md-search-result__link')].map(link => link.pathname)"
        if found := shown(links):
            break
        time.sleep(0.1)
    assert any(link.endswith("reference/strategies/meta_sgd.html") for link in found)
    assert shown.errors == []
    assert [one for one in shown.requests if not one.startswith(("file:", "data:"))] == []
    shown.close()


@pytest.mark.parametrize(
    ("page", "written", "expected"),
    [
        ("serving.md", "[s](../SECURITY.md#x) [n](names.md)", "[s](project/security.md#x) [n](names.md)"),
        ("a/b.md", "[r](../../README.md)", "[r](../project/readme.md)"),
        ("project/readme.md", "[m](docs/reference/strategies/maml.md) [d](docs/decisions)",
         "[m](../reference/strategies/maml.md) d"),
        ("project/readme.md", "[s](docs/serving.md) [c](CONTRIBUTING.md)",
         "[s](../serving.md) [c](contributing.md)"),
        ("x.md", "[`api.py`](../src/coldstart_cli/api.py), ![p](figures/growth.svg)",
         "`api.py`, ![p](figures/growth.svg)"),
        ("x.md", "[gone](../gone.md) `[a](../README.md)` [w](https://x.org) [h](#here)",
         "[gone](../gone.md) `[a](../README.md)` [w](https://x.org) [h](#here)"),
        ("x.md", "```\n[a](../README.md)\n```\n[a](../README.md)",
         "```\n[a](../README.md)\n```\n[a](project/readme.md)"),
    ],
)  # fmt: skip
def test_links_out_of_docs_lead_to_what_the_site_holds(page: str, written: str, expected: str) -> None:
    assert linked(written, page, "docs") == expected


def test_patterns_of_the_navigation_become_pages_and_empty_sections_go() -> None:
    known = ["tutorials/b.md", "tutorials/a.md", "tutorials/index.md", "faq.md"]
    nav = [{"T": "tutorials/*.md"}, {"H": "howto/*.md"}, {"F": "faq*.md"}, {"E": ["x.md", {"N": "none*.md"}]}]
    assert expanded(nav, known) == [
        {"T": ["tutorials/index.md", "tutorials/a.md", "tutorials/b.md"]},
        {"F": "faq.md"},
        {"E": "x.md"},
    ]
    ordered = expanded([{"T": ["tutorials/b*.md", "tutorials/*.md"]}], known)
    assert ordered == [{"T": ["tutorials/b.md", "tutorials/index.md", "tutorials/a.md"]}]
    (family, *_) = expanded(["reference/strategies/*"], known)
    assert "reference/strategies/maml.md" in family["Meta-learning"]
