"""Contestants at one k: intervals, gains over scratch, and the pairs that are judged."""

from __future__ import annotations

import math
import statistics as plain
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from coldstart_cli.comparison.contestants import REFERENCE, Contestant, Shot, task_key
from coldstart_cli.comparison.findings import AtK, Standing
from coldstart_cli.comparison.verdict import Contrast, by_mean, judged
from coldstart_cli.metrics import measures, significance
from coldstart_cli.metrics.measures import bank_digest
from coldstart_cli.metrics.numbers import MeanInterval, is_known, known
from coldstart_cli.metrics.results import Calibration

RELATIVE_ZONE = 0.05
"""The zone of equivalence of errors such as mse, which have no points: a share of the best mean."""

RESAMPLES = 1000

Matrix = NDArray[np.float64]
Origins = Sequence[str | None]
"""Of each task; tasks of one origin are a cluster (`significance.by_origin`)."""


@dataclass(frozen=True, slots=True)
class Terms:
    """On which terms the contestants of a setting are compared.

    Attributes:
        confidence: of all intervals and tests.
        zone: of equivalence; None: `RELATIVE_ZONE` of the best mean at each k.
    """

    higher_is_better: bool
    confidence: float
    zone: float | None

    @property
    def sign(self) -> int:
        """What makes a difference positive where the first is better."""
        return 1 if self.higher_is_better else -1

    def interval(self, values: Matrix, origins: Origins) -> MeanInterval:
        """Of the mean of (n_seeds, n_tasks) values, over seeds and the tasks or their origins."""
        estimate = significance.crossed(significance.by_origin(values, origins), self.confidence)
        return MeanInterval(known(estimate.mean), known(estimate.half_width))

    def margin(self, best: float | None) -> float:
        """Half the width of the zone at one k; nan where it is a share of a mean that is not known."""
        if self.zone is not None:
            return self.zone
        return math.nan if best is None else RELATIVE_ZONE * abs(best)


def at_one_k(
    members: Sequence[Contestant],
    k: int,
    tasks: Sequence[str],
    references: Mapping[str, Contestant],
    terms: Terms,
) -> AtK:
    """The contestants at k, compared on the tasks that they share.

    Args:
        tasks: by `task_key`.
        references: contestant -> what its gain is measured against (`references_of`).
    """
    # Rows by seed, columns by task: all intervals and tests take both as random (`significance.crossed`).
    values = {m.name: matrix(m.shots[k], tasks) for m in members}
    seeds = {m.name: sorted(m.shots[k]) for m in members}
    origins = next(iter(members[0].shots[k].values())).origins(tasks)
    intervals = {name: terms.interval(own, origins) for name, own in values.items()}
    order = by_mean(intervals, terms.higher_is_better)
    margin = terms.margin(intervals[order[0]].mean)

    def better_by(a: str, b: str) -> Matrix:
        return paired(values[a], seeds[a], values[b], seeds[b]) * terms.sign

    judgement = judged(
        order,
        [_contrast(a, b, better_by(a, b), origins, terms) for a, b in combinations(values, 2)],
        margin,
        terms.confidence,
    )
    gains = {name: terms.interval(better_by(name, of.name), origins) for name, of in references.items()}
    results = {
        m.name: _standing(m, k, tasks, origins, judgement.ranks[m.name], gains.get(m.name), terms)
        for m in members
    }
    return AtK(
        n_tasks=len(tasks),
        n_origins=significance.n_origins(origins),
        bank=bank_digest(hashes(tasks)),
        zone=known(margin),
        results={name: results[name] for name in order},
        pairs=judgement.pairs,
        winners=judgement.winners,
    )


def hashes(tasks: Iterable[str]) -> list[str]:
    """The content of each task, of its key alone."""
    return [task.rpartition(" ")[2] for task in tasks]


def _contrast(a: str, b: str, difference: Matrix, origins: Origins, terms: Terms) -> Contrast:
    clusters = significance.by_origin(difference, origins)
    estimate = significance.crossed(clusters, terms.confidence)
    clustered = clusters.shape != difference.shape
    return Contrast(a, b, estimate, significance.wilcoxon(clusters.mean(axis=0)), clustered)


def matrix(by_seed: Mapping[int, Shot], tasks: Sequence[str], step: int | None = None) -> Matrix:
    """(n_seeds, n_tasks) values of new tasks, at the chosen step or a given one."""
    shots = [shot for _, shot in sorted(by_seed.items())]
    values = [shot.adapted if step is None else shot.new[step] for shot in shots]
    return np.asarray([[of[task] for task in tasks] for of in values], dtype=float)


def paired(a: Matrix, a_seeds: Sequence[int], b: Matrix, b_seeds: Sequence[int]) -> Matrix:
    """(n_seeds, n_tasks) differences a - b over the seeds both have; without any, over their means."""
    common = [seed for seed in a_seeds if seed in b_seeds]
    if common:
        rows: Matrix = a[[a_seeds.index(s) for s in common]] - b[[b_seeds.index(s) for s in common]]
        return rows
    # One row: no two seeds can be paired, so that the result is conditional on those that were run.
    difference: Matrix = a.mean(axis=0, keepdims=True) - b.mean(axis=0, keepdims=True)
    return difference


def _standing(
    member: Contestant,
    k: int,
    tasks: Sequence[str],
    origins: Origins,
    rank: int,
    gain: MeanInterval | None,
    terms: Terms,
) -> Standing:
    by_seed = member.shots[k]
    shots = [by_seed[seed] for seed in sorted(by_seed)]
    adapted = matrix(by_seed, tasks)
    interval = terms.interval(adapted, origins)
    # Seeds may have been evaluated at different steps, some tasks at fewer: a point needs all of them.
    steps = sorted(set.intersection(*(set(shot.new) for shot in shots)))
    curve = {
        step: terms.interval(matrix(by_seed, tasks, step), origins)
        for step in steps
        if all(task in shot.new[step] for shot in shots for task in tasks)
    }
    means = {step: at.mean for step, at in curve.items() if at.mean is not None}
    chosen = sorted({shot.step for shot in shots})
    return Standing(
        mean=interval.mean,
        half_width=interval.half_width,
        bootstrap=_bootstrap(significance.by_origin(adapted, origins), terms.confidence),
        rank=rank,
        steps=chosen[0] if len(chosen) == 1 else chosen,
        source_test=None if member.baseline else _source_test(shots, terms),
        before=curve.get(steps[0]) if steps else None,
        curve=curve,
        area=measures.area_under(means) if means else None,
        steps_to_95=mean_known(shot.outcome.steps_to_95 for shot in shots),
        calibration=_calibration(shots),
        gain=gain,
        metrics=_other_metrics(member, k, tasks, origins, terms),
    )


def _bootstrap(values: Matrix, confidence: float) -> list[float | None]:
    """[low, high]: an interval that assumes no distribution, beside the other."""
    ends = significance.crossed_bootstrap(values, confidence, n_resamples=RESAMPLES, seed=0)
    return [known(end) for end in ends]


def _source_test(shots: Sequence[Shot], terms: Terms) -> MeanInterval | None:
    """On held-out source tasks; None where seeds have different numbers of them, or fewer than two."""
    rows = [
        [values[task] for task in sorted(values)] for s in shots for values in [s.source_test.get(s.step, {})]
    ]
    even = len(rows[0]) > 1 and len({len(row) for row in rows}) == 1
    # Held-out examples of the classes that it learned from: there are no other origins to speak of.
    return terms.interval(np.asarray(rows), [None] * len(rows[0])) if even else None


def _other_metrics(
    member: Contestant, k: int, tasks: Sequence[str], origins: Origins, terms: Terms
) -> dict[str, MeanInterval]:
    """Name -> interval of each metric beside the headline; nothing where a run was evaluated without."""
    by_seed: list[dict[str, Mapping[str, float]]] = []
    for _, shot in sorted(member.shots[k].items()):
        rows = measures.reported([row for row in shot.rows if row.role == member.role], shot.step)
        by_seed.append({task_key(row): row.metrics for row in rows})
    # A metric counts where every seed has it on every task: a mean over fewer would not be comparable.
    named = [[of[task] for task in tasks] for of in by_seed]
    return {
        name: terms.interval(np.asarray([[one[name] for one in row] for row in named], dtype=float), origins)
        for name in named[0][0]
        if all(name in one for row in named for one in row)
    }


def _calibration(shots: Sequence[Shot]) -> Calibration | None:
    """Means over seeds of what the summaries say; None of runs that were evaluated without."""
    parts = [shot.outcome.calibration for shot in shots if shot.outcome.calibration is not None]
    if not parts:
        return None
    means = {f.name: mean_known(getattr(part, f.name) for part in parts) for f in fields(Calibration)}
    return Calibration(**{name: math.nan if mean is None else mean for name, mean in means.items()})


def references_of(members: Sequence[Contestant], k: int, higher: bool) -> dict[str, Contestant]:
    """Contestant -> what its gain is measured against: the scratch of its own network.

    The baseline beside it, else a run of scratch; of several (rates), validation tasks choose.
    """
    found = {}
    for member in members:
        own = [m for m in members if m.strategy == REFERENCE and m.model == member.model]
        own = [m for m in own if m.baseline] or own
        if own and member.strategy != REFERENCE:
            # Never the best on new tasks: a baseline that saw the answers would make every gain too small.
            found[member.name] = max(own, key=lambda m: _on_validation(m, k, higher))
    return found


def _on_validation(member: Contestant, k: int, higher: bool) -> float:
    """Its mean on validation tasks, larger where it is better; what was not validated comes last."""
    values = [
        row.value
        for shot in member.shots[k].values()
        for row in shot.result.records
        if (row.split, row.role, row.k_shot, row.step) == ("validation", member.role, k, shot.step)
        and not math.isnan(row.value)
    ]
    return plain.fmean(values) * (1 if higher else -1) if values else -math.inf


def mean_known(values: Iterable[float | None]) -> float | None:
    """The mean of those that are known; None where none is."""
    found = [value for value in values if is_known(value)]
    return plain.fmean(found) if found else None
