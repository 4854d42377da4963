"""Records: what is beside a predictor has rows of its own, notes stay with theirs, k = 0 has no baseline."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from functools import partial

import pytest
import torch
from torch import nn

from coldstart_cli import composition
from coldstart_cli.assembly import Experiment, assemble
from coldstart_cli.core import Adapted, Strategy, Support, TaskSource
from coldstart_cli.evaluation import evaluate, optimizers, scored, tasks_of
from coldstart_cli.inference import costs
from coldstart_cli.signals import StopOnSignal

pytestmark = pytest.mark.usefixtures("torch_settings")


class Constant(nn.Module):
    """Always the same class."""

    def __init__(self, number: int, n_way: int) -> None:
        super().__init__()
        self.register_buffer("outputs", nn.functional.one_hot(torch.tensor(number), n_way).float())

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.outputs.expand(len(inputs), -1)  # type: ignore[operator]


class Steps(Strategy):
    """Its predictor says class 0 and takes three steps; its teacher says class 1."""

    learns_from_source = False
    needs_labels = False

    def fit(self, source: TaskSource, start: int = 0) -> Iterator[dict[str, float]]:
        return iter(())

    def adapt(self, support: Support) -> Generator[Adapted, None, None]:
        n_way = support.objective.n_outputs
        teacher = {"teacher": partial(Constant, 1, n_way)}
        for step in range(3):
            yield Adapted(partial(Constant, 0, n_way), {}, {"distance": 1.0 / (1 + step)}, teacher)


def made(*overrides: str) -> Experiment:
    tiny = ("experiment=smoke", "hardware=cpu", "hardware.threads=1", "model.hidden=8", "dataset.n_way=3")
    ((_, config),) = composition.points([*tiny, *overrides])
    return assemble(config)


def test_scored_gives_rows_to_what_is_beside_and_keeps_notes() -> None:
    experiment = made()
    task = next(tasks_of(experiment.source, "new", 1))
    rows = scored(Steps(), task, [0, 2, 5], experiment.hardware, beside=True)
    assert [(r.get("role"), r["step"]) for r in rows] == [
        (None, 0), ("teacher", 0), (None, 2), ("teacher", 2), (None, 5), ("teacher", 5)
    ]  # fmt: skip
    assert [r["notes"]["distance"] for r in rows if "notes" in r] == [
        1.0,
        pytest.approx(1 / 3),
        pytest.approx(1 / 3),
    ]
    assert all(r["value"] == pytest.approx(1 / 3) for r in rows)
    assert all(len(rows) == 1 for rows in [scored(Steps(), task, [1], experiment.hardware, beside=False)])


def test_costs_tell_the_teacher_apart() -> None:
    experiment = made()
    task = next(tasks_of(experiment.source, "new", 1))
    found = costs(Steps(), task, experiment.evaluation, experiment.hardware)
    assert found["beside"]["teacher"]["parameters"] == found["parameters"] == 3
    assert found["beside"]["teacher"].keys() == {"inference", "parameters", "flops"}


def test_evaluation_without_labels_has_no_baseline() -> None:
    experiment = made(
        *("dataset=glyph_shift", "dataset.n_query=3", "evaluation.n_query=3", "evaluation.k_shots=[0,1]"),
        *("strategy=finetune", "evaluation.n_tasks=4", "evaluation.n_selection_tasks=2"),
    )
    with StopOnSignal() as stop:
        records, chosen = evaluate(
            experiment.contestants,
            experiment.source,
            experiment.evaluation,
            experiment.hardware,
            [],
            stop,
            trained_on_source=True,
        )
    assert chosen["baseline"].keys() == {1}
    assert {(r["role"], r["k_shot"]) for r in records} == {("strategy", 0), ("strategy", 1), ("baseline", 1)}


def test_optimizers_of_modules_below_are_found_by_name() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(1, 1)
            self.own = torch.optim.SGD(self.layer.parameters(), 0.1)

    strategy = Steps()
    strategy.inner = Two()
    assert [name for name, _ in optimizers(strategy)] == ["inner.own"]
