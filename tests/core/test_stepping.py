"""The last of an adaptation's steps, without those before it."""

from __future__ import annotations

import weakref
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from coldstart_cli.core.objectives import Classification
from coldstart_cli.core.stepping import adapted_after, last_step
from coldstart_cli.core.strategy import Adapted, Strategy
from coldstart_cli.core.tasks import Support, TaskSource


def test_adapted_after_keeps_the_last_of_the_steps_that_there_are() -> None:
    made: list[weakref.ref[Tensor]] = []

    class Stepping(Strategy):
        def fit(self, source: TaskSource, start: int = 0) -> Iterator[dict[str, float]]:
            return iter(())

        def adapt(self, support: Support) -> Iterator[Adapted]:  # type: ignore[override]
            for step in range(3):
                made.append(weakref.ref(tensor := torch.tensor(step)))
                yield Adapted(nn.Identity, {"step": tensor})

    support = Support(torch.zeros(2, 1), torch.tensor([0, 1]), Classification(2), 0)
    strategy = Stepping()
    assert [int(adapted_after(strategy, support, n).changed["step"]) for n in (0, 1, 9)] == [0, 1, 2]
    assert [last_step(strategy, support, n)[0] for n in (0, 1, 9)] == [0, 1, 2]
    kept = adapted_after(strategy, support, 9)
    assert [ref() is None for ref in made[-3:]] == [True, True, False] and int(kept.changed["step"]) == 2
