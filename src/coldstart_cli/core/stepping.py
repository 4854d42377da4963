"""One step of an adaptation, out of the generator that `Strategy.adapt` is."""

from __future__ import annotations

from collections import deque
from itertools import islice

from coldstart_cli.core.tasks import Adapted, Strategy, Support


def adapted_after(strategy: Strategy, support: Support, n_steps: int) -> Adapted:
    """What `adapt` yields after `n_steps`, or last where it takes fewer; what it yields before is not kept.

    A predictor of every step at once would be as many copies of all weights.
    """
    return deque(islice(strategy.adapt(support), n_steps + 1), maxlen=1)[0]
