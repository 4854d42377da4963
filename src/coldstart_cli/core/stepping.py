"""One step of an adaptation, out of the generator that `Strategy.adapt` is."""

from __future__ import annotations

from collections import deque
from itertools import islice

from coldstart_cli.core.strategy import Adapted, Strategy
from coldstart_cli.core.tasks import Support


def last_step(strategy: Strategy, support: Support, n_steps: int) -> tuple[int, Adapted]:
    """How many steps `adapt` took, `n_steps` or fewer where it ends before, and what it yielded after them.

    What it yields before is not kept: a predictor of every step would be as many copies of all weights.
    """
    return deque(enumerate(islice(strategy.adapt(support), n_steps + 1)), maxlen=1)[0]


def adapted_after(strategy: Strategy, support: Support, n_steps: int) -> Adapted:
    """What `adapt` yields after `n_steps`, or last where it takes fewer."""
    return last_step(strategy, support, n_steps)[1]
