"""Adaptations: answers at the steps asked for, clocked, the same whether written, replayed or on threads."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from coldstart_cli.config import composition
from coldstart_cli.core.strategy import Adapted, Strategy
from coldstart_cli.core.tasks import Support, Task, TaskSource
from coldstart_cli.evaluation.adaptations import Adaptations
from coldstart_cli.experiment.assembly import Experiment, assemble
from coldstart_cli.models.network import Predictor

pytestmark = pytest.mark.usefixtures("torch_settings")


class Line(nn.Linear):
    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(inputs.flatten(1).float())


class Steps(Strategy):
    """Three predictors: the mean of the support's inputs counts ever more."""

    def __init__(self, n_way: int, notes: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.n_steps, self.rate = 3, 1.0
        self.notes, self.note = notes, torch.zeros(())
        self.network = Line(28 * 28, n_way)

    def fit(self, source: TaskSource, start: int = 0) -> Iterator[dict[str, float]]:
        return iter(())

    def adapt(self, support: Support) -> Generator[Adapted, None, None]:
        assert isinstance(support.inputs, Tensor)
        mean = support.inputs.flatten(1).float().mean()
        for step in range(self.n_steps):
            changed = {"weight": self.network.weight.detach() * (1 + self.rate * step * mean)}
            beside = {"twin": partial(Predictor, self.network, {})}
            notes = {"number": float(self.note)} if self.notes else {}
            yield Adapted(partial(Predictor, self.network, changed), changed, notes, beside)


def made(threads: int = 1) -> Experiment:
    tiny = ("experiment=smoke", "hardware=cpu", f"hardware.threads={threads}", "dataset.n_way=3")
    ((_, config),) = composition.points([*tiny])
    return assemble(config)


def tasks(n: int) -> list[Task]:
    return list(made().source.tasks("new", range(n)))


def test_answers_are_those_of_the_steps_and_of_what_is_beside() -> None:
    adaptations = Adaptations([0, 2, 7], made().hardware, beside=True)
    strategy = Steps(3).eval()
    seen = []
    for task in tasks(5):
        answers = adaptations(strategy, task)
        assert [(a.step, a.role) for a in answers] == [
            (0, None), (0, "twin"), (2, None), (2, "twin"), (7, None), (7, "twin")
        ]  # fmt: skip
        assert answers[2].outputs is answers[4].outputs  # it takes two steps and keeps its last predictor
        assert 0 < answers[0].seconds < answers[2].seconds == answers[4].seconds
        mean = task.support.inputs.flatten(1).float().mean()  # type: ignore[union-attr]
        twin, last = answers[1].outputs, answers[4].outputs
        bias = strategy.network.bias
        torch.testing.assert_close(last - bias, (twin - bias) * (1 + 2 * mean), rtol=1e-3, atol=1e-3)
        seen.append(any(adaptations.replays.known(kind) for _, kind in adaptations._places))
    assert seen == [False, False, True, True, True]


def test_what_notes_numbers_is_computed_as_it_is_written() -> None:
    adaptations = Adaptations([0], made().hardware, beside=False)
    strategy = Steps(3, notes=True).eval()
    for i, task in enumerate(tasks(4)):
        strategy.note.fill_(i)
        (answer,) = adaptations(strategy, task)
        assert answer.notes == {"number": float(i)}, "those of this task"
    assert not adaptations.replays.recordable


def test_threads_share_recordings() -> None:
    experiment = made(2)
    strategy, drawn = Steps(3).eval(), tasks(40)
    shared = Adaptations([0, 1, 2], experiment.hardware, beside=False)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(partial(shared, strategy), drawn))
    assert shared.replays.recordable
    for task, answers in zip(drawn, found, strict=True):
        alone = Adaptations([0, 1, 2], experiment.hardware, beside=False)(strategy, task)
        assert all(torch.equal(a.outputs, b.outputs) for a, b in zip(answers, alone, strict=True))


def test_weights_that_learn_on_are_read_where_they_lie() -> None:
    adaptations, strategy = Adaptations([2], made().hardware, beside=False), Steps(3).eval()
    drawn = tasks(6)
    for task in drawn[:5]:
        adaptations(strategy, task)
    with torch.no_grad():
        strategy.network.weight.mul_(3)
        strategy.network.bias.zero_()
    (found,) = adaptations(strategy, drawn[5])
    (expected,) = Adaptations([2], adaptations.hardware, beside=False)(strategy, drawn[5])
    assert torch.equal(found.outputs, expected.outputs)


@pytest.mark.parametrize(("name", "value"), [("rate", 3.0), ("n_steps", 2)])
def test_attribute_that_changes_between_tasks_is_taken_as_it_is_then(name: str, value: float) -> None:
    adaptations, strategy = Adaptations([0, 1, 2], made().hardware, beside=False), Steps(3).eval()
    for i, task in enumerate(tasks(10)):
        if i == 5:
            setattr(strategy, name, value)
        found = adaptations(strategy, task)
        expected = Adaptations([0, 1, 2], adaptations.hardware, beside=False)(strategy, task)
        assert [torch.equal(a.outputs, b.outputs) for a, b in zip(found, expected, strict=True)] == [True] * 3
    assert len(adaptations.replays._recordings) == 2
