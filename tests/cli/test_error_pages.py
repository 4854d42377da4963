"""Codes at the ends of errors, and the page that explains each."""

from __future__ import annotations

import ast
import re
import shlex
from collections import Counter

import pytest

from coldstart_cli.cli import error_pages, main
from coldstart_cli.cli.command_line import commands
from coldstart_cli.errors import RequestError
from coldstart_cli.package import ROOT, errors_page

TITLES = {
    "E10": "the data are not where they are said to be",
    "E11": "a column that is read is not in the table",
    "E12": "a row, a file or a value cannot be read",
    "E13": "there is one class alone",
    "E14": "too few classes or examples for the tasks that are asked for",
    "E15": "the file has another encoding",
    "E16": "numbers are written with a comma",
    "E17": "a column holds too many different names",
    "E18": "a column looks like the name of a split",
    "E19": "images lie at different depths",
    "E20": "there is no such key",
    "E21": "there is no such configuration",
    "E22": "a value of another type, or out of its range",
    "E23": "a class of a package that is not trusted",
    "E24": "the strategy cannot serve these tasks",
    "E25": "weights that nothing has trained",
    "E30": "another process is at this run",
    "E31": "not a run directory",
    "E32": "a file is damaged",
    "E33": "written by a newer coldstart",
    "E34": "the directory holds another run than its name says",
    "E35": "training diverged",
    "E36": "runs of different objectives are not compared",
    "E40": "not a bundle",
    "E41": "the folder is a bundle of another task",
    "E42": "the run's weights do not fit these data",
    "E50": "a package is missing",
    "E51": "this machine has no such device",
    "E52": "memory is short",
    "E53": "a file cannot be written",
    "E54": "a pretrained model cannot be found",
}
"""A code never changes its meaning: one that is no longer raised stays taken, and a new one is added here."""


def raised() -> Counter[str]:
    """The codes at the ends of texts in the source; an f-string's parts are texts of their own."""
    found: Counter[str] = Counter()
    for module in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.update(re.findall(r"\((E\d\d)\)$", node.value))
    return found


def test_every_code_that_is_raised_is_explained_and_every_one_explained_is_raised() -> None:
    assert set(raised()) == set(error_pages.pages())


def test_no_code_changes_its_meaning() -> None:
    assert {code: page.splitlines()[0][8:] for code, page in error_pages.pages().items()} == TITLES


@pytest.mark.parametrize("code", TITLES)
def test_a_page_says_what_why_what_to_do_and_where_more_is_written(code: str) -> None:
    page = error_pages.pages()[code]
    for part in ("**What happened.**", "**Why.**", "**What to do.**", "```\n"):
        assert part in page
    (more,) = re.findall(r"^More: \[.*?\]\((.*?)\)$", page, re.M)
    assert (errors_page().parent / more).is_file()


@pytest.mark.parametrize("code", TITLES)
def test_the_examples_of_a_page_are_commands_that_there_are(code: str) -> None:
    for block in re.findall(r"```\n(.*?)```", error_pages.pages()[code], re.S):
        for line in block.splitlines():
            program, *words = shlex.split(line)
            if program == "pip":
                continue
            assert program == "coldstart"
            parser, rest = commands().found(words)
            if "--help" not in rest:
                assert parser.run is not None
                parser.read(rest)


def test_explain_prints_a_page_as_plain_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "e12"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("E12: a row, a file or a value cannot be read\n\nWhat happened. The place")
    assert "\n    coldstart predict bundle=tickets input=new.csv on_bad=skip\n" in out
    assert out.endswith("\nMore: docs/own_data.md\n") and not re.search(r"[*`]|\[", out)
    assert max(map(len, out.splitlines())) <= error_pages.WIDTH
    assert error_pages.told("(E12)") == out


def test_a_code_that_there_is_not_is_refused() -> None:
    with pytest.raises(RequestError, match=r"^E99: no error has this code; known: E10, E11, "):
        error_pages.told("E99")


def test_an_error_ends_in_its_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "strategy.inner_lrr=1"]) == 2
    assert capsys.readouterr().err.endswith("did you mean strategy.inner_lr? (E20)\n")
