"""The commands of docs/commands.md, run as they stand but at smoke size; docs/strategies.md is complete."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from coldstart_cli.cli import main
from tests.kit.places import CONF, REPOSITORY

TEXT = (REPOSITORY / "docs" / "commands.md").read_text(encoding="utf-8")
COMMANDS = [
    line
    for block in re.findall(r"```sh\n(.*?)```", TEXT, re.S)
    for line in block.splitlines()
    if line.startswith("coldstart ")
]


QUICK = (
    "training.steps=4", "evaluation.n_tasks=4", "evaluation.n_selection_tasks=2",
    "evaluation.timed_seconds=0.01",
)  # fmt: skip


def test_page_shows_commands() -> None:
    assert len(COMMANDS) >= 7


@pytest.mark.parametrize("command", COMMANDS)
def test_command_of_the_page_works(
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
    if arguments[:2] == ["data", "check"]:
        arguments += ["--tasks", "5"]
    if arguments[0] == "train":
        arguments += QUICK
        arguments += ["experiment=smoke", "model.hidden=[8]" if "model=mlp" in command else "model.hidden=8"]
    assert main(arguments) == 0


def test_strategies_page_lists_every_strategy() -> None:
    text = (REPOSITORY / "docs" / "strategies.md").read_text(encoding="utf-8")
    assert not [p.stem for p in (CONF / "strategy").glob("*.yaml") if f"`{p.stem}`" not in text]
