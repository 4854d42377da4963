"""`coldstart runs`, `show` and `rm` as a user types them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kit.small_runs import QUICK, Cli

Make = Callable[..., Path]
VALUES = {1: {"a": 0.5, "b": 0.75}}


@pytest.fixture
def outputs(tmp_path: Path, make_run: Make) -> Path:
    for name, seed in (("maml", 0), ("maml", 1), ("anil", 0)):
        make_run(f"outputs/{name}-s{seed}", VALUES, strategy=name, seed=seed)
    (tmp_path / "outputs" / "empty").mkdir()
    return tmp_path / "outputs"


def test_runs_lists_and_filters(outputs: Path, cli: Cli) -> None:
    code, out, err = cli("runs")
    assert (code, err) == (0, "") and "3 runs: 3 finished" in out and "outputs/anil-s0" in out
    _, out, _ = cli("runs", "outputs", "strategy=maml", "--json", "--sort", "size")
    assert {row["path"] for row in json.loads(out)} == {"outputs/maml-s0", "outputs/maml-s1"}
    _, out, _ = cli("runs", "outputs=outputs/maml-s0,outputs/anil-s0")
    assert "2 runs: 2 finished" in out


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("runs", "outputs=nowhere"), "outputs: nowhere is not a folder"),
        (("runs", "state=faled"), "state: 'faled' is not a valid choice; did you mean failed?"),
        (("runs", "--sort", "x"), "--sort: 'x' is not a valid choice"),
        (("runs", "model.widht=3"), "model.widht: no run here has such a key"),
        (("show", "outputs"), "show: outputs is no run directory"),
        (("rm",), "rm: name run directories"),
        (("rm", "outputs/maml-s0", "outputs"), "rm: outputs is not a run directory"),
        (("rm", "maml-s0"), "rm: would remove outputs/maml-s0, "),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line_and_nothing_is_removed(
    outputs: Path, cli: Cli, words: tuple[str, ...], line: str
) -> None:
    code, out, err = cli(*words)
    assert (code, out) == (2, "") and err.startswith(line) and err.count("\n") == 1
    assert len(list(outputs.glob("*/run.json"))) == 3


def test_show_takes_a_path_or_a_name_below_outputs(outputs: Path, cli: Cli) -> None:
    _, by_name, _ = cli("show", "maml-s1")
    _, by_path, _ = cli("show", "outputs/maml-s1")
    assert by_name == by_path and by_name.startswith("outputs/maml-s1: finished")
    assert json.loads(cli("show", "maml-s1", "--json")[1])["seed"] == 1


def test_rm_removes_the_runs_that_are_named_and_says_what_was_freed(outputs: Path, cli: Cli) -> None:
    code, out, err = cli("rm", "maml-s0", "outputs/maml-s1", "--yes")
    assert (code, err) == (0, "") and out.startswith("removed outputs/maml-s0, ") and "\nfreed " in out
    assert [path.parent.name for path in outputs.glob("*/run.json")] == ["anil-s0"]


def test_a_training_that_fails_is_listed_with_its_reason_and_its_command(cli: Cli) -> None:
    code, _, err = cli("train", *QUICK, "strategy.inner_lr=1e30", "logger=[]")
    (row,) = json.loads(cli("runs", "--json")[1])
    assert code == 1 and row["state"] == "failed" and "loss is nan" in row["why"] and row["why"] in err
    assert row["command"].startswith("coldstart train ") and f"goes on by {row['command']}" in cli("runs")[1]


def test_runs_and_their_like_need_neither_torch_nor_hydra(outputs: Path) -> None:
    code = (
        f"import os, sys; os.chdir({str(outputs.parent)!r}); from coldstart_cli.cli import main; "
        "main(['runs']); main(['show', 'maml-s0']); main(['rm', 'maml-s0', '--yes']); main(['cache']); "
        "sys.exit(bool({'torch', 'hydra'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
