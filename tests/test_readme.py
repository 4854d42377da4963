"""README's commands, run as they stand but at smoke size."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from coldstart_cli.cli import main
from coldstart_cli.cli.command_line import commands
from coldstart_cli.cli.offers import candidates
from coldstart_cli.cli.parsing import Parser
from tests.kit.places import CONF, REPOSITORY

TEXT = (REPOSITORY / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    line
    for block in re.findall(r"```sh\n(.*?)```", TEXT, re.S)
    for line in block.splitlines()
    if line.startswith("coldstart ")
]


def test_readme_shows_commands() -> None:
    assert len(COMMANDS) >= 7


@pytest.mark.parametrize("command", COMMANDS)
def test_readme_command_works(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_run: Callable[..., Path]
) -> None:
    monkeypatch.chdir(tmp_path)
    _, *arguments = shlex.split(command)
    if arguments[0] == "compare":
        for strategy, value in (("maml", 0.5), ("protonet", 0.7)):
            values = {k: {f"t{i}": value + i / 50 for i in range(9)} for k in (1, 5)}
            make_run(strategy, values, strategy=strategy, folder=tmp_path / "outputs")
    if arguments[0] == "tune":
        arguments = [a for a in arguments if not a.startswith("tune.n_trials")] + ["tune.n_trials=1"]
        arguments += ["experiment=smoke", "model.hidden=8", "training.steps=4"]
    if arguments[0] == "train":
        arguments += ["experiment=smoke", "model.hidden=[8]" if "model=mlp" in command else "model.hidden=8"]
    assert main(arguments) == 0


def test_readme_lists_every_strategy() -> None:
    folder = CONF / "strategy"
    assert not [p.stem for p in folder.glob("*.yaml") if f"`{p.stem}`" not in TEXT]


def table_of_commands() -> dict[str, list[str]]:
    """Command, with its subcommand where it has one -> the flags that its row names."""
    section = TEXT.partition("## Commands")[2].partition("\n## ")[0]
    rows: dict[str, list[str]] = {}
    for line in section.splitlines():
        if line.startswith("| `"):
            first = line.split("|")[1]
            flags = re.findall(r"(?<![\w-])(--?[a-z][\w-]*)", line)
            for name in re.findall(r"`([a-z]+(?: (?:check|fetch|verify))?)", first):
                rows.setdefault(name, []).extend(flags)
    return rows


def parsers() -> dict[str, Parser]:
    """The same from the parsers: `data check`, where a command has commands of its own."""
    found = {}
    for name, parser in commands().commands.items():
        found |= {f"{name} {below}": one for below, one in parser.commands.items()} or {name: parser}
    return found


def test_readme_has_a_row_for_every_command_and_no_other() -> None:
    assert table_of_commands().keys() == parsers().keys()


def test_readme_names_flags_that_the_commands_have() -> None:
    known = parsers()
    for name, flags in table_of_commands().items():
        assert set(flags) <= {*known[name].flags, "--help", "--config-dir"}, name


def test_completion_offers_every_command_and_flag_of_the_parsers() -> None:
    program = commands()
    assert set(candidates([""], program)) == set(program.commands)
    for name, parser in parsers().items():
        offered = candidates([*name.split(), "--"], program)
        assert set(offered) == {flag for flag in parser.flags if flag.startswith("--")}, name
