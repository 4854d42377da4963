"""Losses that change while a training goes on: replayed or not, each step takes the loss as it is then."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from coldstart_cli.core.objectives import Classification
from coldstart_cli.core.tasks import Examples, Objective, Support, Task
from coldstart_cli.tracing import replays
from coldstart_cli.training.meta_batch import Each
from coldstart_cli.training.outer_loops import episodic

pytestmark = pytest.mark.usefixtures("torch_settings")
N_STEPS, CHANGED_AT = 24, 12
FACTOR = 1.0
HIDDEN = SimpleNamespace(factor=1.0)


class Tasks:
    def tasks(self, split: str, indices: range) -> list[Task]:
        return [self._task(i) for i in indices]

    def _task(self, index: int) -> Task:
        generator = torch.Generator().manual_seed(index)
        points = torch.randn(9, 4, generator=generator)
        targets = torch.arange(3).repeat(3)
        return Task(
            Support(points[:3], targets[:3], Classification(3), index), Examples(points[3:], targets[3:]), ""
        )


class Scale(nn.Module):
    """A layer with a number of its own, and dropout-like behaviour in training."""

    def __init__(self) -> None:
        super().__init__()
        self.scale: Any = 1.0
        self.table = torch.ones(3)

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs * self.scale * self.table * (1.0 if self.training else 0.5)


class Schedule:
    """A hyper-parameter with a count inside."""

    __slots__ = ("n_steps",)

    def __init__(self) -> None:
        self.n_steps = 0

    def value(self) -> float:
        return 1.0 / (1 + self.n_steps)


def hidden() -> float:
    """What no watch sees: what a function reads that a loss calls by its name."""
    return HIDDEN.factor


def by(factor: float, loss: Tensor) -> Tensor:
    return factor * loss


class Learner(nn.Module):
    """Its loss reads all that a strategy may hold."""

    of_class: ClassVar[float] = 1.0

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder: Any = nn.Sequential(nn.Linear(4, 3), Scale())
        self.real, self.whole, self.flag, self.word, self.none = 1.0, 1, False, "sum", None
        self.pair, self.listed, self.named = (1.0, [1.0]), [1.0], {"a": {"b": 1.0}}
        self.nested = SimpleNamespace(inner=Schedule())
        self.schedule, self.partial = Schedule(), partial(by, 1.0)
        self.offset = torch.zeros(3)
        count = 0

        def counted(forward: bool = False) -> int:
            nonlocal count
            count += forward
            return count

        self.counted = counted
        self.optimizer = torch.optim.SGD(self.parameters(), 0.1)

    def loss(
        self, each: Each, weights: Mapping[str, Tensor], objective: Objective, support: Examples,
        query: Examples,
    ) -> dict[str, Tensor]:  # fmt: skip
        factor = self.real * self.whole * self.pair[0] * self.pair[1][0] * self.listed[0]  # type: ignore[index]
        factor *= self.named["a"]["b"] * self.nested.inner.value() * self.schedule.value() * self.of_class
        factor *= (2.0 if self.flag else 1.0) * (1.0 if self.none is None else 3.0) * FACTOR * hidden()
        factor *= (1.0 if self.word == "sum" else 0.5) / (1 + self.counted())

        def score(weights: Mapping[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
            return objective.loss(functional_call(self.encoder, dict(weights), (x,)) + self.offset, y)

        found: Tensor = each(score)(weights, query.inputs, query.targets)
        return {"loss": self.partial(factor * found)}

    def fit(self, source: Tasks, *, vectorize: bool) -> Iterator[dict[str, float]]:
        return episodic(
            self.loss, dict(self.encoder.named_parameters()), source, self.optimizer,  # type: ignore[arg-type]
            meta_batch_size=3, vectorize=vectorize, start=0,
        )  # fmt: skip


def set_nested(learner: Learner) -> None:
    learner.nested.inner.n_steps += 1


def set_schedule(learner: Learner) -> None:
    learner.schedule.n_steps += 1


def set_class(learner: Learner) -> None:
    type(learner).of_class = 3.0


def set_global(learner: Learner) -> None:
    global FACTOR
    FACTOR = 3.0


def set_offset(learner: Learner) -> None:
    learner.offset = torch.linspace(-1, 1, 3)


def set_table(learner: Learner) -> None:
    learner.encoder[1].table = torch.linspace(-1, 1, 3)


def set_data(learner: Learner) -> None:
    weight = learner.encoder[0].weight
    weight.data = -weight.data


CHANGES: dict[str, Callable[[Learner], object]] = {
    "float": lambda learner: setattr(learner, "real", 3.0),
    "int": lambda learner: setattr(learner, "whole", 2),
    "int of the same value": lambda learner: setattr(learner, "whole", 1.0),
    "bool": lambda learner: setattr(learner, "flag", True),
    "str": lambda learner: setattr(learner, "word", "mean"),
    "None": lambda learner: setattr(learner, "none", 1),
    "tuple": lambda learner: setattr(learner, "pair", (2.0, [1.0])),
    "list in a tuple": lambda learner: learner.pair[1].__setitem__(0, 2.0),
    "list": lambda learner: learner.listed.__setitem__(0, 2.0),
    "longer list": lambda learner: learner.listed.insert(0, 2.0),
    "dict": lambda learner: learner.named["a"].__setitem__("b", 2.0),
    "nested object": set_nested,
    "schedule": set_schedule,
    "attribute of a submodule": lambda learner: setattr(learner.encoder[1], "scale", 2.0),
    "tensor of a submodule": set_table,
    "partial": lambda learner: setattr(learner, "partial", partial(by, 2.0)),
    "closure": lambda learner: learner.counted(forward=True),
    "class attribute": set_class,
    "global": set_global,
    "flag of a parameter": lambda learner: learner.encoder[0].bias.requires_grad_(False),
    "mode": lambda learner: learner.encoder.eval(),
    "tensor": set_offset,
    "tensor in place": lambda learner: learner.offset.copy_(torch.linspace(-1, 1, 3)),
    "memory of a parameter": set_data,
    "method": lambda learner: setattr(learner.encoder[1], "forward", lambda inputs: inputs * 2),
    "hook": lambda learner: learner.encoder[1].register_forward_hook(lambda module, args, out: out * 2),
}


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    global FACTOR
    yield
    FACTOR, Learner.of_class, HIDDEN.factor = 1.0, 1.0, 1.0
    replays.switch(on=True)


def trained(
    change: Callable[[Learner], object], *, on: bool, vectorize: bool, every: bool = False
) -> tuple[list[float], list[Tensor]]:
    global FACTOR
    FACTOR, Learner.of_class, HIDDEN.factor = 1.0, 1.0, 1.0
    replays.switch(on=on)
    learner = Learner()
    steps, losses = learner.fit(Tasks(), vectorize=vectorize), list[float]()
    for step in range(N_STEPS):
        if step == CHANGED_AT or (every and step > CHANGED_AT):
            with torch.no_grad():
                change(learner)
        losses.append(next(steps)["loss"])
    return losses, [p.detach().clone() for p in learner.parameters()]


@pytest.mark.parametrize("vectorize", [False, True])
@pytest.mark.parametrize("name", CHANGES)
def test_loss_that_changes_is_taken_as_it_is_from_then_on(name: str, vectorize: bool) -> None:
    found = trained(CHANGES[name], on=True, vectorize=vectorize)
    expected = trained(CHANGES[name], on=False, vectorize=vectorize)
    assert found[0] == expected[0]
    assert all(torch.equal(a, b) for a, b in zip(found[1], expected[1], strict=True))
    same = trained(lambda learner: None, on=False, vectorize=vectorize)
    assert (found[0] == same[0]) == (name == "int of the same value"), "the test changes something"


def test_loss_that_changes_at_every_step_is_no_longer_recorded_and_the_attribute_is_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def anneal(learner: Learner) -> None:
        learner.encoder[1].scale *= 0.9

    found = trained(anneal, on=True, vectorize=True, every=True)
    expected = trained(anneal, on=False, vectorize=True, every=True)
    assert found[0] == expected[0]
    (said,) = [record.getMessage() for record in caplog.records]
    assert said == (
        "the gradient of a task (Learner.loss) is computed as it is written, which is slower: "
        "encoder.1.scale changes from step to step"
    )


@pytest.mark.parametrize("vectorize", [False, True])
def test_change_that_no_watch_sees_is_found_by_comparing_again(
    vectorize: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change(learner: Learner) -> None:
        HIDDEN.factor = 3.0

    monkeypatch.setattr(replays, "COMPARED_EVERY", 15)
    with pytest.warns(
        RuntimeWarning, match=r"^the gradient of a task \(Learner.loss\) depends on more .*up to"
    ):
        losses, _ = trained(change, on=True, vectorize=vectorize)
    expected, _ = trained(change, on=False, vectorize=vectorize)
    assert losses[:CHANGED_AT] == expected[:CHANGED_AT]
    assert losses[CHANGED_AT] != expected[CHANGED_AT]
    assert losses[-1] == pytest.approx(expected[-1], rel=0.2), "of three times the loss again"


def test_unrecordable_loss_is_said_once_with_the_reason(caplog: pytest.LogCaptureFixture) -> None:
    def look(module: nn.Module, args: object, outputs: Tensor) -> Tensor:
        return outputs * float(outputs.detach().max() > 0)

    def change(learner: Learner) -> None:
        learner.encoder[1].register_forward_hook(look)

    trained(change, on=True, vectorize=False)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage() == (
        "the gradient of a task (Learner.loss) is computed as it is written, which is slower: "
        "a value is read, and may decide what is done"
    )
    caplog.clear()
    trained(change, on=False, vectorize=False)
    assert not [r for r in caplog.records if r.levelname == "WARNING"]


def test_switched_off_nothing_is_replayed() -> None:
    replays.switch(on=False)
    learner = Learner()
    seen: list[object] = []
    learner.encoder[1].register_forward_hook(lambda *call: seen.append(1))
    steps = learner.fit(Tasks(), vectorize=False)
    next(steps)
    before = len(seen)
    next(steps)
    assert len(seen) - before == 3, "every task of the step"
