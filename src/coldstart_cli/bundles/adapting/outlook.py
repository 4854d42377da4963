"""What adapting would do and take, without doing it: `coldstart adapt --dry-run`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from coldstart_cli.bundles.adapting import notices
from coldstart_cli.bundles.adapting.changes import Earlier
from coldstart_cli.bundles.adapting.preparing import AdaptPlan, prepared
from coldstart_cli.bundles.judging.held_out_labels import Rehearsal, takes_steps
from coldstart_cli.runs.run import Run


@dataclass(frozen=True, slots=True)
class Outlook:
    """What adapting would do.

    Attributes:
        data: the task, in words.
        to_select, to_estimate: adaptations to parts of the labels.
        seconds: about; from one adaptation to all labels.
    """

    bundle: str
    strategy: str
    model: str
    data: str
    to_select: int
    to_estimate: int
    seconds: float
    notices: tuple[str, ...]


def outlook(config: Mapping[str, Any], plan: AdaptPlan, run: Run | None) -> Outlook:
    """Reads and builds everything, adapts once for the clock, and writes nothing.

    Raises:
        RequestError: see `prepared`.
    """
    ready = prepared(config, plan, run)
    rehearsal = Rehearsal(ready.strategy, ready.support, ready.together, lambda what, done, total: None)
    choosing = len(ready.candidates) > 1 and takes_steps(ready.strategy, ready.support)
    to_select = rehearsal.n_to_select(plan.folds_to_select) if choosing else 0
    to_estimate = rehearsal.n_to_estimate(plan.folds_to_estimate, plan.repeats_to_estimate)
    before = time.perf_counter()
    for _ in islice(ready.strategy.adapt(ready.support), max(ready.candidates) + 1):
        pass
    return Outlook(
        plan.bundle,
        config["names"]["strategy"],
        config["names"]["model"],
        ready.task.facts()["new"],
        to_select,
        to_estimate,
        (time.perf_counter() - before) * (to_select + to_estimate + 1),
        (
            *ready.said,
            *notices.of_data(ready.task.labelled, ready.together),
            *kept_there(ready.earlier, plan),
        ),
    )


def kept_there(earlier: Earlier | None, plan: AdaptPlan) -> tuple[str, ...]:
    """A line where a bundle is there that becomes an earlier version."""
    if earlier is None or not plan.keep_versions:
        return ()
    kept = f"{plan.bundle}/versions/{earlier.card.version}"
    return (f"{plan.bundle} is a bundle already, which is kept as {kept} where anything has changed",)
