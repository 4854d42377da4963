"""Pages of help and `explain`; parsers, completion and docs/commands.md name the same commands and flags."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from coldstart_cli.cli import main, offers
from coldstart_cli.cli.command_line import commands
from coldstart_cli.cli.parsing import Parser
from coldstart_cli.package import ROOT
from tests.kit.places import REPOSITORY

PAGE = (REPOSITORY / "docs" / "commands.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (`.*?) \| (.*) \|$", PAGE, re.M)


def leaves(parser: Parser) -> Iterator[Parser]:
    """Every command that can be run."""
    for one in parser.commands.values():
        yield from leaves(one) if one.commands else [one]


LEAVES = {parser.name: parser for parser in leaves(commands())}


def named(cell: str) -> set[str]:
    """The commands in the first cell of a row: `data check`, `adapt`, `predict`, `train -m`."""
    words = [re.sub(r" (?=[-A-Z\[]|run=|bash).*", "", name) for name in re.findall(r"`([^`]+)`", cell)]
    return set(words)


def test_commands_page_names_every_command_and_no_other() -> None:
    assert set().union(*(named(cell) for cell, _ in ROWS)) == set(LEAVES)


@pytest.mark.parametrize(("cell", "text"), ROWS)
def test_commands_page_names_flags_that_its_commands_have(cell: str, text: str) -> None:
    flags = set(
        re.findall(r"(?<![\w-])--?[a-z][a-z-]*", " ".join(re.findall(r"`([^`]+)`", f"{cell} {text}")))
    )
    known = set().union(*(LEAVES[name].flags for name in named(cell)))
    known |= set(LEAVES["train"].flags) if "`--config-dir my`" in text else set()
    assert flags <= known


def test_completion_offers_every_command_and_flag_of_the_parsers() -> None:
    program = commands()
    assert offers.candidates([""], program) == sorted(program.commands)
    for name, parser in LEAVES.items():
        words = name.split(" ")
        assert words[-1] in offers.candidates([*words[:-1], ""], program)
        assert offers.candidates([*words, "-"], program) == sorted(parser.flags)


@pytest.mark.parametrize("name", ["", *LEAVES, "data"])
def test_every_command_has_a_page_of_its_own(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*name.split(), "--help"]) == 0
    out, err = capsys.readouterr()
    assert err == "" and out.startswith("usage: coldstart")
    parser = LEAVES.get(name)
    if parser is not None:
        assert out.startswith(f"usage: coldstart {name} ")
        assert all(flag in out for flag in parser.flags)
        assert all(key.name in out for key in (parser.words.own() if parser.words else ()))


def test_help_explains_the_keys_of_what_is_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "strategy=maml", "strategy@baseline=scratch", "--help"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"strategy\.inner_lr=0\.4 +number > 0 +rate of the inner steps", out)
    assert re.search(r"strategy\.adapted=all +all \| head \| body ", out)
    assert "  baseline.lr=" in out and "training.steps" not in out
    assert main(["tune", "--help"]) == 0
    assert re.search(r"tune\.n_trials=20 +whole number >= 1 ", capsys.readouterr().out)


def test_help_offers_no_group_that_no_word_chooses(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--help"]) == 0
    out = capsys.readouterr().out
    assert "  strategy=NAME  " in out and "search=NAME" not in out and "candidates=NAME" not in out


def test_help_of_a_config_of_ones_own_says_that_its_class_is_not_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "strategy").mkdir()
    (tmp_path / "strategy" / "mine.yaml").write_text(
        "# Mine\n_target_: not_installed.Mine\nrate: 1  # a rate\n"
    )
    assert main(["train", "--config-dir", str(tmp_path), "strategy=mine", "--help"]) == 0
    out = capsys.readouterr().out
    assert "not_installed.Mine: its source is not found" in out and "strategy.rate=1" in out


def ended(code: str) -> subprocess.CompletedProcess[str]:
    """A process of its own that has `main`."""
    code = f"import sys\nfrom coldstart_cli.cli import main\n{code}"
    environment = {"PYTHONPATH": str(ROOT.parent)}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)


def test_help_imports_nothing_heavy() -> None:
    pages = [*(name.split() for name in LEAVES), ["train", "strategy=maml", "model=minilm"]]
    heavy = {"torch", "hydra", "omegaconf", "rich", "yaml", "numpy"}
    done = ended(
        f"for words in {pages!r}:\n"
        "    assert main([*words, '--help']) == 0, words\n"
        f"    assert not (heavy := {heavy!r} & set(sys.modules)), (words, heavy)\n"
    )
    assert done.returncode == 0, done.stderr


def test_a_misspelt_key_is_answered_before_torch_is_imported() -> None:
    asked = [
        ["train", "strategy=maml", "strategy.inner_lrr=1"],
        ["train", "-m", "strategy=maml,anil", "strategy.inner_lrr=1"],
        ["adapt", "strategy.inner_lrr=1"],
        ["data", "check", "strategy.inner_lrr=1"],
        ["tune", "strategy.inner_lrr=interval(0.1,1)"],
    ]
    done = ended(
        f"for words in {asked!r}:\n"
        "    assert main(words) == 2, words\n"
        "    assert 'torch' not in sys.modules, words\n"
    )
    assert done.returncode == 0, done.stderr
    said = done.stderr.splitlines()
    line = "strategy.inner_lrr: there is no such key; did you mean strategy.inner_lr?"
    assert len(said) == len(asked) and all(one.startswith(line) for one in said), said
