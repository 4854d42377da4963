"""The source in groups: each group's examples as a pool, and trainings that take turns."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import final

import torch
from torch import Tensor

from coldstart_cli.core.tasks import Examples, Pool


@final
class GroupPool(Pool):
    """A part of a pool's examples; class ids are those of the whole pool.

    Args:
        pool: the whole.
        members: (n,) indices into it.
    """

    def __init__(self, pool: Pool, members: Tensor) -> None:
        self.objective, self.groups = pool.objective, pool.groups
        self._pool, self._members = pool, members

    def __len__(self) -> int:
        return len(self._members)

    def examples(self, indices: Tensor) -> Examples:
        return self._pool.examples(self._members[indices.cpu()])


def group_pools(pool: Pool, classes: Sequence[Tensor]) -> list[GroupPool]:
    """The pool of each group, given the classes of each; some may be empty."""
    at_once, n = 4096, len(pool)
    # In parts, since a pool may hold more inputs than fit into memory at once.
    places = [torch.arange(first, min(first + at_once, n)) for first in range(0, n, at_once)]
    targets = torch.cat([pool.examples(some).targets.cpu() for some in places])
    members = [torch.isin(targets, own.cpu()).nonzero().squeeze(1) for own in classes]
    return [GroupPool(pool, places) for places in members]


def by_turns(
    trainings: Sequence[Callable[[int], Iterator[dict[str, float]]]], start: int
) -> Iterator[dict[str, float]]:
    """Step s belongs to training s mod n, so the step alone tells which one it is.

    Args:
        trainings: functions from the number of own steps taken to the further ones, which have no end.
        start: steps already taken, of all together.
    """
    n = len(trainings)
    # Of `start` steps, training `turn` took those that are turn modulo n: the ceiling of (start - turn) /
    # n.
    running = [begin((start - turn + n - 1) // n) for turn, begin in enumerate(trainings)]
    for step in itertools.count(start):
        yield next(running[step % n])
