"""Baselines measured once: what is read is what would be measured, and every change misses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from coldstart_cli.config import composition
from coldstart_cli.digests import digest
from coldstart_cli.evaluation import baselines as module
from coldstart_cli.evaluation.baselines import Baselines
from coldstart_cli.evaluation.loop import evaluate
from coldstart_cli.experiment.assembly import Experiment, assemble
from coldstart_cli.experiment.running import known_baselines
from coldstart_cli.metrics.numbers import Numbers
from coldstart_cli.metrics.records import Believed, Score
from coldstart_cli.metrics.results import BaselineRead
from coldstart_cli.processes.signals import StopOnSignal
from coldstart_cli.reports.footnotes import footnotes
from coldstart_cli.runs.run import Run, evaluation_hash, run_name
from tests.kit.processes import Processes

TINY = (
    "dataset=sinusoid", "model=mlp", "model.hidden=[8]", "experiment=smoke", "hardware=cpu",
    "hardware.threads=1", "strategy.inner_lr=0.01", "evaluation.baseline_search.lr=[0.001,0.01]",
    "evaluation.n_tasks=3", "evaluation.n_selection_tasks=2",
)  # fmt: skip
pytestmark = pytest.mark.usefixtures("torch_settings")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COLDSTART_CACHE", str(tmp_path))
    return tmp_path / "baselines"


def made(*overrides: str) -> Experiment:
    ((_, config),) = composition.points([*TINY, *overrides])
    return assemble(config)


def measured(experiment: Experiment) -> tuple[list[str], Baselines | None]:
    """The baseline's records as lines of JSON, and where they came from."""
    known = known_baselines(experiment)
    with StopOnSignal() as stop:
        records, _ = evaluate(
            *(
                experiment.contestants,
                experiment.source,
                experiment.evaluation,
                experiment.hardware,
                [],
                stop,
            ),
            trained_on_source=True,
            baselines=known,
        )
    return [json.dumps(r.row()) for r in records if r.role == "baseline"], known


def without_times(lines: list[str]) -> list[str]:
    return [json.dumps({**json.loads(line), "adapt_seconds": 0}) for line in lines]


def test_records_read_are_those_of_the_first_run_and_equal_fresh_ones_but_for_times() -> None:
    first, known = measured(made("strategy=maml"))
    assert known is not None and (known.asked, known.read) == (3, 0) and known.summary() is None
    again, known = measured(made("strategy=anil", "strategy.inner_lr=0.5", "training.steps=3"))
    assert known is not None and (known.asked, known.read) == (3, 3)
    assert again == first
    fresh, known = measured(made("evaluation.reuse_baseline=false"))
    assert known is None
    assert without_times(fresh) == without_times(first)
    assert fresh != first  # times are of a clock: equal ones would have been read


@pytest.mark.parametrize(
    "change",
    [
        "seed=1", "model.hidden=[9]", "dataset.bank_seed=1", "dataset.amplitude=[0.1,4.0]",
        "evaluation.k_shots=[2]", "evaluation.n_query=4", "evaluation.baseline_steps=[0,2]",
        "evaluation.n_tasks=4", "evaluation.coverage=0.8", "baseline.momentum=0.5",
        "hardware.precision=bf16_second_order", "hardware.threads=2",
        "evaluation.baseline_search.lr=[0.0010000001,0.0100000001]",
    ],
)  # fmt: skip
def test_new_tasks_of_a_changed_baseline_are_measured(folder: Path, change: str) -> None:
    def new_tasks() -> int:
        return sum(
            "new/" in path.read_text() for path in (Path(module.cache_folder()) / "baselines").iterdir()
        )

    measured(made())
    assert new_tasks() == 1
    _, known = measured(made(change))
    assert known is not None and known.asked == 3
    assert new_tasks() == 2


def test_initial_weights_and_code_are_part_of_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    measured(made())
    other = made()
    with torch.no_grad():
        for strategy in other.contestants["baseline"].values():
            next(strategy.parameters()).view(-1)[0] += 1e-6
    _, known = measured(other)
    assert known is not None and known.read == 0
    monkeypatch.setattr(module, "code", lambda: "a later version")
    _, known = measured(made())
    assert known is not None and known.read == 0


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "no JSON"])
def test_damaged_file_is_measured_again(folder: Path, damage: str) -> None:
    first, _ = measured(made())
    for path in folder.iterdir():
        data = path.read_bytes()
        place = len(data) - 20
        flipped = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        path.write_bytes({"cut": data[:-9], "flipped": flipped, "empty": b"", "no JSON": b"\xff\n"}[damage])
    again, known = measured(made())
    assert known is not None and known.read == 0
    assert without_times(again) == without_times(first)
    _, known = measured(made())
    assert known is not None and known.read == 3


def test_classes_of_ones_own_are_measured_anew() -> None:
    own = {"_target_": "coldstart_cli.x", "head": [{"_target_": "mine.Head"}]}
    assert not Baselines({"": own}, {}, {}).usable
    assert Baselines({"": {"_target_": "coldstart_cli.x"}}, {}, {}).usable


def test_evaluation_that_is_stopped_leaves_no_file(folder: Path) -> None:
    experiment = made()
    known = known_baselines(experiment)
    assert known is not None

    def rows() -> Iterator[list[Score]]:
        yield [score()]
        raise KeyboardInterrupt

    variant, strategy = next(iter(experiment.contestants["baseline"].items()))
    with pytest.raises(KeyboardInterrupt):
        list(known.records(variant, strategy, lambda: [], {}, rows))
    assert list(folder.iterdir()) == []


def score(**changes: Any) -> Score:
    given: dict[str, Any] = {"value": 1.0, "loss": 1.0, "metrics": {}, "notes": {}, **changes}
    return Score(task="a", task_hash="a", step=0, adapt_seconds=0.1, **given)


def test_folder_stays_below_its_bound(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 2000)
    for seed in range(3):
        measured(made(f"seed={seed}"))
    assert 0 < sum(path.stat().st_size for path in folder.iterdir()) <= 2000


def test_disk_that_takes_no_file_costs_no_run(folder: Path) -> None:
    folder.write_text("in the way")
    first, known = measured(made())
    assert first and known is not None and known.read == 0


def test_whether_records_are_read_names_neither_run_nor_evaluation() -> None:
    ((_, config),) = composition.points(list(TINY))
    other = {**config, "evaluation": {**config["evaluation"], "reuse_baseline": False}}
    assert evaluation_hash(config, "x") == evaluation_hash(other, "x")
    assert run_name(config, "x") == run_name(other, "x")


def test_two_processes_at_once_leave_whole_files(processes: Processes, folder: Path) -> None:
    cache = {"COLDSTART_CACHE": str(folder.parent)}
    both = [
        processes.start(["train", *TINY, f"outputs=out{i}"], folder.parent, environment=cache)
        for i in range(2)
    ]
    assert [child.wait().code for child in both] == [0, 0]
    assert sorted(path.suffix for path in folder.iterdir()) == [".jsonl"] * 3
    _, known = measured(made())
    assert known is not None and known.read == 3


def test_footnote_says_what_was_read(make_run: Any) -> None:
    run = make_run("run", {1: {"a": 0.5, "b": 0.7}}, baseline={1: {"a": 0.4, "b": 0.5}})
    summary = Run(run).summary("0123abcd")
    before = footnotes(summary, Numbers.of(True, []))
    read = BaselineRead(sets=2, of=3, measured="2026-01-01T00:00:00+00:00")
    after = footnotes(replace(summary, baseline_read=read), Numbers.of(True, []))
    assert after[:-1] == before
    assert after[-1].startswith("2 of 3 sets of scratch's records and times were read from the cache, ")


def test_rows_come_back_as_they_were_or_are_not_kept() -> None:
    known = Baselines({"": {}}, {}, {})
    strategy = next(iter(made().contestants["baseline"].values()))
    probable = Believed(0.1, 0.2, 2.0, [[1, 2.5, 0.1, 0]])
    teacher = score(beside="teacher", notes={"distance": 0.1 + 0.2}, metrics={"macro_f1": 1 / 3})
    whole = [[score(value=0.1 + 0.2, believed=probable), teacher], [score(value=float("-inf"))]]
    odd = [[score(believed=replace(probable, confidence_bins=((1, 2.5, 0.1, 0),)))]]  # a list comes back
    for asked, rows, read in (("whole", whole, 1), ("odd", odd, 0)):
        for _ in range(2):
            known.read = 0
            found = list(known.records("", strategy, lambda: [], {"": asked}, partial(iter, rows)))
            assert found == rows
        assert known.read == read


def test_what_classes_are_called_is_part_of_the_key() -> None:
    task = made("strategy=maml").source.tasks("new", [0])[0]
    named = replace(task, support=replace(task.support, names=torch.ones(2, 1)))
    others = replace(task, support=replace(task.support, names=torch.zeros(2, 1)))
    keys = {digest(module._learned_from(one), 40) for one in (task, named, others)}
    assert len(keys) == 3
