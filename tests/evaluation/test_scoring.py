"""Rows of a task: what is beside a predictor has rows too, notes stay with theirs, threads change nothing."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from functools import partial

import pytest
import torch
from torch import nn

from coldstart_cli.config import composition
from coldstart_cli.core.strategy import Adapted, Strategy
from coldstart_cli.core.tasks import Support, TaskSource
from coldstart_cli.evaluation.adaptations import Adaptations
from coldstart_cli.evaluation.loop import tasks_of
from coldstart_cli.evaluation.scoring import Asked, scored, scored_together
from coldstart_cli.experiment.assembly import Experiment, assemble
from coldstart_cli.metrics.names import CONSTANT
from coldstart_cli.training.optimizers import optimizers

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
    rows = scored(Steps(), task, Adaptations([0, 2, 5], experiment.hardware, beside=True))
    assert [(r.beside, r.step) for r in rows] == [
        (None, 0), ("teacher", 0), (None, 2), ("teacher", 2), (None, 5), ("teacher", 5)
    ]  # fmt: skip
    assert [r.notes["distance"] for r in rows if r.notes] == [
        1.0,
        pytest.approx(1 / 3),
        pytest.approx(1 / 3),
    ]
    assert all(r.value == pytest.approx(1 / 3) for r in rows)
    assert all(
        len(rows) == 1
        for rows in [scored(Steps(), task, Adaptations([1], experiment.hardware, beside=False))]
    )


def test_scored_with_coverage_has_calibration_and_other_metrics() -> None:
    experiment = made()
    task = next(tasks_of(experiment.source, "new", 1))
    bare = scored(Steps(), task, Adaptations([0], experiment.hardware, beside=True))
    assert all(row.believed is None and not row.metrics for row in bare)
    own, teacher = scored(
        Steps(), task, Adaptations([0], experiment.hardware, beside=True), asked=Asked(coverage=0.5)
    )
    assert own.believed is not None and teacher.believed is not None
    # A third of the queries are of class 0, its recall is 1 and its F1 2 * 5 / (5 + 15).
    assert own.metrics == {"balanced_accuracy": pytest.approx(1 / 3, abs=1e-6), "macro_f1": 0.166667}
    # Outputs 1 0 0: class 0 has e / (e + 2) = .576 for every query, a third of which are of class 0.
    e = math.e / (math.e + 2)
    assert (own.believed.coverage, own.believed.set_size) == (pytest.approx(1 / 3, abs=1e-6), 1.0)
    rest = (1 - e) / 2
    right, wrong = (1 - e) ** 2 + 2 * rest**2, e**2 + (1 - rest) ** 2 + rest**2
    assert own.believed.brier == pytest.approx(right / 3 + 2 * wrong / 3, abs=1e-6)
    assert own.believed.confidence_bins == [[9, 15, pytest.approx(15 * e, abs=1e-4), 5]]


def sines(*overrides: str) -> Experiment:
    tiny = ("experiment=smoke", "dataset=sinusoid", "model=mlp", "model.hidden=[8]", "hardware=cpu")
    ((_, config),) = composition.points([*tiny, *overrides])
    return assemble(config)


class Sure(Steps):
    """Says 0 of every query, with a deviation of 2; its teacher knows none."""

    def adapt(self, support: Support) -> Generator[Adapted, None, None]:
        zeros, twos = (partial(Line, value) for value in (0.0, 2.0))
        yield Adapted(zeros, {}, beside={"teacher": zeros}, deviation=twos)


class Line(nn.Module):
    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return torch.full((len(inputs), 1), self.value)


def test_a_predictor_that_knows_its_deviations_has_intervals() -> None:
    experiment = sines()
    adaptations = Adaptations([0, 1], experiment.hardware, beside=True)
    for task in tasks_of(experiment.source, "new", 5):  # the last ones may be answered by a replay
        rows = scored(Sure(), task, adaptations, asked=Asked(coverage=0.9))
        inside = (task.query.targets.abs() <= 2 * 1.6448536).double().mean().item()
        for row in rows:
            expected = {} if row.beside else {"interval_coverage": pytest.approx(inside, abs=1e-6)}
            assert {n: v for n, v in row.metrics.items() if n == "interval_coverage"} == expected
            assert len(row.metrics) == (0 if row.beside else 3)


def test_tasks_scored_together_are_scored_as_one_by_one() -> None:
    scored_alone = sines("hardware.threads=1")
    records = {}
    for threads in (1, 2):
        hardware = sines(f"hardware.threads={threads}").hardware
        tasks = tasks_of(scored_alone.source, "new", 20)
        records[threads] = list(scored_together(scored_alone.strategy, tasks, [0, 2], hardware, beside=False))
    for one, two in zip(records[1], records[2], strict=True):
        assert [r.task for r in one] == [r.task for r in two]
        assert [r.value for r in one] == pytest.approx([r.value for r in two], rel=1e-5)


def test_optimizers_of_modules_below_are_found_by_name() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(1, 1)
            self.own = torch.optim.SGD(self.layer.parameters(), 0.1)

    strategy = Steps()
    strategy.inner = Two()
    assert [name for name, _ in optimizers(strategy)] == ["inner.own"]


def test_the_constant_answer_to_a_regression_is_the_mean_of_its_labels() -> None:
    experiment = regression()
    task = next(tasks_of(experiment.source, "new", 1))
    asked = Adaptations([0, 2], experiment.hardware, beside=True)
    rows = [
        row
        for row in scored(experiment.strategy, task, asked, Asked(constant=True))
        if row.beside == CONSTANT
    ]
    labels, targets = task.support.targets.numpy(), task.query.targets.numpy()
    (row,) = rows
    assert row.value == pytest.approx(((targets - labels.mean(axis=0)) ** 2).mean(), rel=1e-5)
    assert row.step == 0 and row.notes == {}
    without = scored(experiment.strategy, task, asked)
    assert not [row for row in without if row.beside == CONSTANT]


def test_classes_have_no_constant_answer() -> None:
    experiment = made()
    task = next(tasks_of(experiment.source, "new", 1))
    asked = Adaptations([0], experiment.hardware, beside=True)
    assert {row.beside for row in scored(Steps(), task, asked, Asked(constant=True))} == {None, "teacher"}


def regression() -> Experiment:
    words = ("experiment=smoke", "hardware=cpu", "hardware.threads=1", "dataset=sinusoid", "model=mlp")
    ((_, config),) = composition.points([*words, "model.hidden=[8]", "baseline=null"])
    return assemble(config)
