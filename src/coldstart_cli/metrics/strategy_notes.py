"""What strategies note beside their predictions: means over tasks, and what similarities foretold."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from coldstart_cli.metrics.names import SIMILARITY
from coldstart_cli.metrics.records import Score
from coldstart_cli.metrics.results import Similarity

Noted = tuple[str, Mapping[str, float]]
"""A task, and what the strategy noted of its predictor for it."""


def mean_notes(rows: Sequence[Score], step: int) -> dict[str, list[float | None]]:
    """Note -> its means over tasks at the first step and at `step`; None where it was not noted then."""
    first = min((r.step for r in rows), default=0)
    names = dict.fromkeys(name for r in rows for name in r.notes)

    def mean(name: str, at: int) -> float | None:
        values = [r.notes[name] for r in rows if r.step == at and name in r.notes]
        return float(np.mean(values)) if values else None

    return {name: [mean(name, first), mean(name, step)] for name in names}


def similarity_check(
    noted: Iterable[Noted],
    beside: Mapping[tuple[str, str], float],
    baseline: Mapping[str, float],
    higher_is_better: bool,
) -> Similarity | None:
    """Whether a similarity foretold the gain: Spearman's rank correlation over pairs of group and task.

    Args:
        noted: notes of the strategy for each task, with `similarity of GROUP` among them.
        beside: (group, task) -> value of the predictor that learned from the group alone.
        baseline: task -> value from scratch; the real gain of a pair is measured against it.

    Returns:
        rho and its two-sided p over all pairs, as if they were independent, which pairs of one task are
        not; their number; the mean rho within a task (does it rank the groups for one task? nan where no
        task has two different values of both); the mean gain lost by taking the most similar group instead
        of the best; and both of these again for the best constant ranking, which orders the groups alike for
        every task: by their mean gain on the other tasks. A similarity that is not above it tells nothing
        about a task. None where there are no pairs, or all similarities or all gains are equal.
    """
    pairs = similarity_pairs(noted, beside, baseline, higher_is_better)
    flat = np.array([pair[2:] for pair in pairs]).reshape(-1, 2)
    # A constant has no ranks to correlate: scipy would warn and give nan. Empty columns end here as well.
    if any(len(np.unique(column)) < 2 for column in flat.T):
        return None
    from scipy.stats import spearmanr  # .7 s to import, which most runs need not

    whole = spearmanr(flat[:, 0], flat[:, 1])
    within, regret = _within_tasks([(task, similarity, gain) for task, _, similarity, gain in pairs])
    constant = _within_tasks(_constant_ranking(pairs))
    compared = len({task for task, *_ in pairs}) > 1
    return Similarity(
        rho=float(whole.statistic),
        p=float(whole.pvalue),
        pairs=len(flat),
        within_task_rho=within,
        regret=regret,
        constant_rho=constant[0] if compared else None,
        constant_regret=constant[1] if compared else None,
    )


def _within_tasks(ranked: Iterable[tuple[str, float, float]]) -> tuple[float, float]:
    """Of (task, what ranks, gain): the mean rho within a task; the mean gain that its first choice loses."""
    from scipy.stats import spearmanr

    tasks: dict[str, list[tuple[float, float]]] = {}
    for task, ranks, gain in ranked:
        tasks.setdefault(task, []).append((ranks, gain))
    several = [np.array(task) for task in tasks.values() if len(task) > 1]
    varied = [t for t in several if all(len(np.unique(column)) > 1 for column in t.T)]
    within = [float(spearmanr(t[:, 0], t[:, 1]).statistic) for t in varied]
    # The gain of the best group for the task less that of the group that would be chosen.
    regret = [float(t[:, 1].max() - t[t[:, 0].argmax(), 1]) for t in several]
    return float(np.mean(within)) if within else math.nan, float(np.mean(regret)) if regret else 0.0


def _constant_ranking(pairs: Sequence[tuple[str, str, float, float]]) -> Iterator[tuple[str, float, float]]:
    """(task, mean gain of the group on all other tasks, gain): what ranks has not seen the task."""
    gains: dict[str, list[float]] = {}
    for _, group, _, gain in pairs:
        gains.setdefault(group, []).append(gain)
    for task, group, _, gain in pairs:
        others = len(gains[group]) - 1
        if others:
            yield task, (sum(gains[group]) - gain) / others, gain


def similarity_pairs(
    noted: Iterable[Noted],
    beside: Mapping[tuple[str, str], float],
    baseline: Mapping[str, float],
    higher_is_better: bool,
) -> list[tuple[str, str, float, float]]:
    """(task, source group, similarity, real gain over the baseline); arguments as `similarity_check`."""
    sign = 1.0 if higher_is_better else -1.0
    pairs = []
    for task, notes in noted:
        for name, similarity in notes.items():
            group = name.removeprefix(SIMILARITY)
            if name.startswith(SIMILARITY) and (group, task) in beside and task in baseline:
                gain = sign * (beside[group, task] - baseline[task])
                pairs.append((task, group, similarity, gain))
    return pairs
