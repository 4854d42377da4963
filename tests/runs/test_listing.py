"""Runs as they are listed: how each stands, what it reached, which of them pass a filter."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from coldstart_cli.errors import RequestError
from coldstart_cli.files.locks import held
from coldstart_cli.runs.listing import listed, passing, sorted_by

Make = Callable[..., Path]
VALUES = {1: {"a": 0.5, "b": 0.75}, 5: {"a": 0.9, "b": 0.8}}


def unevaluated(run: Path, state: str) -> Path:
    """The same run before it was evaluated."""
    (run / "evaluations").rename(run.parent / f".{run.name}-evaluations")
    (run / "run.json").write_text(json.dumps({"format": 2, "state": state, "steps": 3}))
    return run


def test_a_finished_run_says_what_it_reached(make_run: Make) -> None:
    run = make_run("one", VALUES, seed=3)
    environment = json.loads((run / "environment.json").read_text())
    words = ["coldstart", "train", "evaluation.k_shots=[1, 5]"]
    (run / "environment.json").write_text(json.dumps({**environment, "command_line": words}))
    os.utime(run / "environment.json", (5, 1000))
    found = listed(run)
    assert (found.state, found.why, found.seed, found.started) == ("finished", "", 3, 1000)
    assert found.names == {"strategy": "maml", "dataset": "toy", "model": "conv4"}
    assert found.headline is not None and found.headline[0] == 5 and found.headline[1].mean == 0.5
    assert found.command == "coldstart train 'evaluation.k_shots=[1, 5]'"
    assert found.n_bytes == sum(path.stat().st_size for path in run.rglob("*") if path.is_file())


def test_how_a_run_stands_is_told_by_its_files_and_its_lock(make_run: Make) -> None:
    assert listed(unevaluated(make_run("trained", VALUES), "finished")).state == "trained"
    run = unevaluated(make_run("stopped", VALUES), "unfinished")
    assert (listed(run).state, listed(run).seed, listed(run).summary) == ("stopped", 0, None)
    (run / "failure.json").write_text('{"reason": "loss is nan"}')
    assert (listed(run).state, listed(run).why) == ("failed", "loss is nan")
    with held(run / ".lock", str):
        assert listed(run).state == "running"


@pytest.mark.parametrize(
    ("file", "text", "why"),
    [
        ("run.json", "{", "damaged"),
        ("run.json", '{"format": 99}', "format 99"),
        ("run.json", '{"format": 2, "state": ["x"]}', "no state that is known"),
        ("run.json", '{"format": 2}', "KeyError"),
        ("environment.json", None, "environment.json"),
        ("environment.json", '{"command_line": 3}', "TypeError"),
        ("evaluations/0123abcd/summary.json", '{"names": {"strat', "damaged"),
        ("evaluations/0123abcd/summary.json", "{}", "KeyError"),
        ("evaluations/0123abcd/summary.json", None, "summary.json"),
    ],
)
def test_a_damaged_run_is_listed_as_broken_with_the_reason(
    make_run: Make, file: str, text: str | None, why: str
) -> None:
    run = make_run("one", VALUES)
    (run / file).unlink()
    if text is not None:
        (run / file).write_text(text)
    found = listed(run)
    assert found.state == "broken" and why in found.why and "\n" not in found.why
    assert found.names["strategy"] == "maml" or file == "environment.json"


def test_a_run_of_format_1_is_listed_like_another(make_run: Make) -> None:
    run = make_run("one", VALUES)
    (run / "run.json").write_text('{"format": 1, "state": "finished", "steps": 3, "seconds": 2}')
    assert (listed(run).state, listed(run).seconds) == ("finished", 2.0)


def test_filters_keep_the_runs_that_have_one_of_the_values_of_every_key(make_run: Make) -> None:
    runs = [
        listed(make_run(f"{name}{seed}", VALUES, strategy=name, seed=seed, settings={"lr": lr, "of": None}))
        for name, lr in (("maml", 0.4), ("anil", 0.5))
        for seed in (0, 1)
    ]

    def kept(**filters: str) -> list[str]:
        typed = {key.replace("__", "."): value.split(",") for key, value in filters.items()}
        return [run.path.name for run in passing(runs, typed)]

    assert kept(strategy="maml") == ["maml0", "maml1"]
    assert kept(strategy="maml,anil", seed="1") == ["maml1", "anil1"]
    assert kept(strategy__lr="0.40", state="finished") == ["maml0", "maml1"]
    assert len(kept(strategy__of="null")) == 4 and kept(strategy="mamll") == []
    with pytest.raises(
        RequestError, match=r"^strategy.lrr: no run here has such a key; did you mean strategy.lr\?"
    ):
        kept(strategy__lrr="1")


def test_runs_are_sorted_newest_best_longest_or_largest_first(make_run: Make) -> None:
    runs = []
    for i, mean in enumerate((0.2, 0.9, None, 0.5)):
        path = make_run(f"run{i}", VALUES, seed=i)
        summary = path / "evaluations" / "0123abcd" / "summary.json"
        value = json.loads(summary.read_text())
        value["shots"]["5"]["new"]["after"]["mean"] = mean
        summary.write_text(json.dumps(value) + " " * 1000 * (i % 3))
        (path / "run.json").write_text(json.dumps({"format": 2, "state": "finished", "seconds": 10 - i}))
        os.utime(path / "environment.json", (i, i))
        runs.append(listed(path))
    names = {
        key: [run.seed for run in sorted_by(runs, key)] for key in ("accuracy", "started", "seconds", "size")
    }
    assert names["accuracy"] == [1, 3, 0, 2]
    assert names["started"] == [3, 2, 1, 0] and names["seconds"] == [0, 1, 2, 3]
    assert names["size"][:2] == [2, 1]
