"""Pages are run: what their commands print is what stands there. Links lead somewhere."""

from __future__ import annotations

import importlib.util
import os
import re
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit import pages
from tests.kit.forked_command import forked_command
from tests.kit.places import REPOSITORY

DOCS = REPOSITORY / "docs"
MADE = DOCS / "reference"
RUN = [
    REPOSITORY / "README.md",
    DOCS / "faq.md",
    *sorted(DOCS.glob("tutorials/*.md")),
    *sorted(DOCS.glob("howto/*.md")),
]
ALL = [*REPOSITORY.glob("*.md"), *DOCS.glob("*.md"), *DOCS.glob("tutorials/*.md"), *DOCS.glob("howto/*.md")]


def name(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def parameters() -> list[object]:
    """Pages with commands; the slow ones are left to `make torture`."""
    found = []
    for path in RUN:
        page = pages.read(path.read_text(encoding="utf-8"))
        marks = [pytest.mark.slow] if page.slow else []
        if page.commands:
            found.append(pytest.param(path, marks=[pytest.mark.timeout(1800), *marks], id=name(path)))
    return found


@pytest.fixture(scope="module")
def quick_programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with forked_command(tmp_path_factory.mktemp("programs")) as programs:
        yield programs


@pytest.mark.parametrize("path", parameters())
def test_page_prints_what_stands_there(path: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Slow pages, which stop servers too, run the program that is installed."""
    page = pages.read(path.read_text(encoding="utf-8"))
    for need in page.needs:
        if need not in os.environ if need.isupper() else importlib.util.find_spec(need) is None:
            pytest.skip(f"{name(path)}: needs {need}")
    programs = None if page.slow else request.getfixturevalue("quick_programs")
    found = pages.differences(page, pages.run(page, tmp_path, programs=programs))
    assert not found, f"python -m tests.kit.pages --write {name(path)}\n" + "\n".join(found)


def test_blocks_that_are_not_run_are_few_and_say_why() -> None:
    reasons = {name(path): pages.read(path.read_text(encoding="utf-8")).not_run for path in RUN}
    assert sum(map(len, reasons.values())) <= 5, reasons
    n_run = sum(len(pages.read(path.read_text(encoding="utf-8")).commands) for path in RUN)
    assert n_run >= 100, n_run


def test_page_that_says_something_else_is_told_and_mended(tmp_path: Path) -> None:
    page = pages.read(
        '# A page\n\n```text title="a b.txt"\none\n```\n\n'
        "```console\n$ cat 'a b.txt'\ntwo\n$ echo 3.14 s; \\\n    pwd\n2.7 s\nDIR\n```\n\n"
        "<!-- not run: no such thing -->\n```console\n$ false\n```\n"
    )
    assert [command.typed for command in page.commands] == ["cat 'a b.txt'", "echo 3.14 s; \\\n    pwd"]
    assert page.not_run == ("no such thing",)
    printed = pages.run(page, tmp_path)
    (difference,) = pages.differences(page, printed)
    assert difference.startswith("$ cat 'a b.txt'\n") and "two" in difference and "one" in difference
    mended = pages.written(page, printed)
    assert mended == page.text.replace("two\n", "one\n")
    assert pages.differences(pages.read(mended), printed) == []


@pytest.mark.parametrize(
    ("expected", "printed", "same"),
    [
        ("accuracy 89.1 %\n", "accuracy 88.2 %\n", True),
        ("accuracy 89.1 %\n", "accuracy 79.1 %\n", False),
        ("track_order\t0.98\n", "track_order\t0.95\n", True),
        ("track_order\t0.98\n", "stock\t0.98\n", False),
        ("60 examples\n", "61 examples\n", False),
        ("took 1.5 s, 12 MB\n", "took 20 s, 9,000 MB\n", True),
        ("run-s0-01234567\n", "run-s0-89abcdef\n", True),
        ("a\n...\nz\n", "a\nb\nc\nz\n", True),
        ("a\n...\nz\n", "b\nz\n", False),
        ("a\n", "a\nb\n", False),
        (
            "x  adapt ms  train s  n\na      0.40     14.0  2\n",
            "x  adapt ms  train s  n\na      0.25     10.3  2\n",
            True,
        ),
        ("seconds    about 3 of training\n", "seconds    about 12 of training\n", True),
        ("x  adapt, s   MB  n\na       1.5    3  4\n", "x  adapt, s  MB  n\na        20   5  4\n", True),
        ("x  adapt, s   MB  n\na       1.5    3  4\n", "x  adapt, s  MB  n\na        20   5  5\n", False),
    ],
)
def test_outputs_are_compared_without_what_differs_from_run_to_run(
    expected: str, printed: str, same: bool
) -> None:
    assert pages.same(expected, printed) is same


def test_shell_that_ends_early_is_an_error(tmp_path: Path) -> None:
    page = pages.read("```console\n$ exit 3\n$ echo more\n```\n")
    with pytest.raises(RuntimeError, match="0 of 2 commands ended"):
        pages.run(page, tmp_path)


@pytest.mark.parametrize("path", ALL, ids=name)
def test_links_lead_to_files_and_headings(path: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        place, _, heading = urllib.parse.unquote(link).partition("#")
        target = (path.parent / place).resolve() if place else path
        if target.is_relative_to(MADE):  # by make docs, which refuses a link that leads nowhere
            continue
        assert target.exists(), link
        if heading and target.suffix == ".md":
            assert heading in anchors(target), link


def anchors(path: Path) -> set[str]:
    """The anchors that GitHub gives to a page's headings."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_readme_fits_two_screens() -> None:
    assert len((REPOSITORY / "README.md").read_text(encoding="utf-8").splitlines()) <= 110
