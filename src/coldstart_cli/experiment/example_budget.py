"""`training.examples`: the number of outer steps that draw a given number of labelled source examples.

Schedules and phases need the number of steps beforehand. What a step draws is asked of the strategy itself:
one step, counted as the trainer counts it, of a strategy that is then thrown away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from coldstart_cli.core.strategy import Strategy
from coldstart_cli.core.tasks import TaskSource
from coldstart_cli.errors import RequestError
from coldstart_cli.experiment.parts import StrategyBuilder
from coldstart_cli.hardware import Hardware
from coldstart_cli.tracing.replays import as_written
from coldstart_cli.training.outer_loops import counting


def steps_for(n_examples: int, config: Mapping[str, Any], hardware: Hardware, source: TaskSource) -> int:
    """The most steps that draw at most `n_examples`.

    Where phases draw differently and their lengths are shares of the training, the total lies within a step.

    Raises:
        RequestError: where that is less than one step, or steps have no size of their own.
    """
    if source.unequal:
        raise RequestError(
            "training.examples: tasks of unequal sizes (dataset.unequal) draw another number at each step; "
            "give training.steps instead"
        )

    def drawn_by(n_steps: int) -> int:
        strategy = StrategyBuilder(config, hardware, source, n_steps, {}).build(
            config["strategy"], "strategy"
        )
        if not strategy.learns_from_source:
            return 0
        total = _total(strategy, source, hardware, n_steps)
        if total == 0:
            raise RequestError(
                "training.examples: this strategy does not count what it draws (training.outer_loops does); "
                "give training.steps instead"
            )
        return total

    # In proportion, from any number that the strategy accepts; phases that draw differently ask again.
    n_steps: int = config["training"]["steps"]
    seen: dict[int, int] = {}
    while n_steps not in seen:
        seen[n_steps] = drawn_by(n_steps)
        if seen[n_steps] == 0:
            return n_steps  # it learns nothing from the source, and takes none
        n_steps = max(1, n_examples * n_steps // seen[n_steps])
    fitting = [n for n, total in seen.items() if total <= n_examples]
    if not fitting:
        least = min(seen.values())
        raise RequestError(
            f"training.examples: {n_examples:,} is less than the {least:,} that the shortest training draws; "
            f"give {least} or more"
        )
    return max(fitting)


def _total(strategy: Strategy, source: TaskSource, hardware: Hardware, n_steps: int) -> int:
    """Examples that `n_steps` steps draw: each stretch of steps that draw alike counts by its length."""
    known: dict[int, int] = {}

    def draws(step: int) -> int:
        if step not in known:
            known[step] = _drawn(strategy, source, hardware, step)
        return known[step]

    total, start = 0, 0
    while start < n_steps:
        end = _end_of_stretch(draws, start, n_steps)
        total += (end - start) * draws(start)
        start = end
    return total


def _end_of_stretch(draws: Callable[[int], int], start: int, n_steps: int) -> int:
    """The first step after `start` that draws another number, by bisection, or n_steps."""
    if draws(n_steps - 1) == draws(start):
        return n_steps
    low, high = start, n_steps - 1  # low draws like start, high does not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if draws(middle) == draws(start) else (low, middle)
    return high


def _drawn(strategy: Strategy, source: TaskSource, hardware: Hardware, step: int) -> int:
    found: list[int] = []
    strategy.train()
    with hardware.autocast(), counting(found.append), as_written():
        next(strategy.fit(source, step), None)
    return sum(found)
