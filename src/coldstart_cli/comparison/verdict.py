"""Who wins at one k: from paired differences to verdicts, ranks, winners, and what would have to be run.

The winners are the contestants that no other beats. Holm's correction is over all m (m - 1) / 2 pairs of
contestants at one k, since the report shows them all: that any two equal contestants of the table are called
different has a probability of at most 1 - confidence (Holm 1979, Scandinavian Journal of Statistics 6:65).
Corrected levels lie far below .05, where the t of few seeds is not accurate: hence `Estimate.p_family`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from coldstart_cli.comparison.contestants import REFERENCE
from coldstart_cli.comparison.findings import AtK, Pair, Setting
from coldstart_cli.metrics import significance
from coldstart_cli.metrics.numbers import Estimated, known

MOST_SEEDS, MOST_TASKS = 50, 10_000
"""More seeds or tasks than these are not advised: hardly anyone could run them."""

_TURNED: Mapping[significance.Verdict, significance.Verdict] = {"win": "loss", "loss": "win"}


@dataclass(frozen=True, slots=True)
class Contrast:
    """The paired difference a - b, positive where a is better, and p of the signed rank test beside it.

    over_origins: both are over the origins of the tasks, of which nobody can ask for more.
    """

    a: str
    b: str
    estimate: significance.Estimate
    p_wilcoxon: float
    over_origins: bool = False


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the contrasts say together; ranks: contestant -> 1 + the number of those that beat it."""

    pairs: Sequence[Pair]
    ranks: Mapping[str, int]
    winners: Sequence[str]


def judged(names: Sequence[str], contrasts: Sequence[Contrast], zone: float, confidence: float) -> Judgement:
    """The verdict on every pair, and who wins.

    Args:
        names: of all contestants, the best mean first; the winners keep this order.
        contrasts: every two of them once.
        zone: a difference within +-zone does not matter.
    """
    single = len(contrasts) == 1
    adjusted = significance.holm([c.estimate.p if single else c.estimate.p_family for c in contrasts])
    pairs = [_pair(*one, zone, confidence, len(contrasts)) for one in zip(contrasts, adjusted, strict=True)]
    beats = wins(pairs)
    return Judgement(pairs, significance.ranks(names, beats), unbeaten(names, beats))


def _pair(contrast: Contrast, p_holm: float, zone: float, confidence: float, n_pairs: int) -> Pair:
    estimate = contrast.estimate
    verdict = significance.verdict(estimate, p_holm, zone, confidence)
    seeds, tasks = _needed(estimate, zone, confidence, n_pairs) if verdict == "undecided" else (None, None)
    return Pair(
        a=contrast.a,
        b=contrast.b,
        p_wilcoxon=known(contrast.p_wilcoxon),
        difference=known(estimate.mean),
        half_width=known(estimate.half_width),
        p=known(estimate.p),
        p_holm=known(p_holm),
        verdict=verdict,
        seeds=estimate.n_seeds,
        seeds_needed=seeds,
        tasks_needed=None if contrast.over_origins else tasks,
    )


def _needed(
    estimate: significance.Estimate, zone: float, confidence: float, n_pairs: int
) -> tuple[int | None, int | None]:
    """(seeds of as many tasks, tasks of as many seeds) that would decide, if the estimates are the truth."""
    reach = abs(estimate.mean)
    # A clear difference has to be told from zero at Holm's hardest step, the first of all pairs. A small one
    # has to be shown to lie within the zone: a tie takes the (1 - 2 alpha) interval, uncorrected.
    clear = reach > zone / 2
    found = significance.needed(
        estimate,
        reach if clear else zone - reach,
        confidence if clear else 2 * confidence - 1,
        n_tasks_possible=MOST_TASKS,
        n_comparisons=n_pairs if clear else 1,
    )
    seeds = None if found.seeds is None or found.seeds.n_seeds > MOST_SEEDS else found.seeds.n_seeds
    return seeds, None if found.tasks is None else found.tasks.n_tasks


def wins(pairs: Sequence[Pair]) -> set[tuple[str, str]]:
    """(winner, loser) of every pair that was decided."""
    won = {(pair.a, pair.b) for pair in pairs if pair.verdict == "win"}
    return won | {(pair.b, pair.a) for pair in pairs if pair.verdict == "loss"}


def unbeaten(names: Sequence[str], beats: Collection[tuple[str, str]]) -> list[str]:
    """Those that no other of them beats; the first where every one is beaten, as in a circle."""
    found = [name for name in names if not any((other, name) in beats for other in names)]
    return found or list(names[:1])


def starred(setting: Setting, at: AtK) -> list[str]:
    """Winners that deserve a mark: what cannot be told from scratch does not, nor scratch beside others.

    Nothing beats such a contestant, and still it is not known to gain anything from its source.
    """
    return [name for name in at.winners if _gains(setting, at, name)] if len(at.results) > 1 else []


def star_means(setting: Setting) -> str:
    """What the mark of `starred` says of the rows that this setting has.

    Gains are spoken of only where some are known, and several marks in a column only where there are some;
    empty where no column has two results.
    """
    if all(len(at.results) < 2 for at in setting.shots.values()):
        return ""
    marked = [(at, starred(setting, at)) for at in setting.shots.values()]
    if not any(names for _, names in marked):
        return "none, for no gain over scratch is shown"
    gains = [
        at.results[name].gain is not None
        for at, names in marked
        for name in names
        if setting.contestant(name).strategy != REFERENCE
    ]
    said = "no other is shown to be better at that k"
    if any(gains):
        said += ", and its gain over scratch excludes zero" + ("" if all(gains) else ", where that was run")
    if any(len(names) > 1 for _, names in marked):
        said += "; several in a column: the data do not tell which is best"
    return said


def _gains(setting: Setting, at: AtK, name: str) -> bool:
    gain = at.results[name].gain
    if gain is None:  # scratch itself, or nothing to measure a gain against
        return len(at.winners) == 1 or setting.contestant(name).strategy != REFERENCE
    return gain.mean is not None and gain.half_width is not None and gain.mean > gain.half_width


def by_mean(results: Mapping[str, Estimated], higher_is_better: bool) -> list[str]:
    """Names, best mean first; those without one last."""
    sign = -1.0 if higher_is_better else 1.0

    def place(name: str) -> tuple[bool, float]:
        mean = results[name].mean
        return mean is None, 0.0 if mean is None else sign * mean

    return sorted(results, key=place)


def between(pairs: Sequence[Pair], a: str, b: str) -> Pair:
    """The pair seen from a: difference and verdict turned where it is kept the other way round.

    Raises:
        KeyError: where the pair is missing.
    """
    for pair in pairs:
        if (pair.a, pair.b) == (a, b):
            return pair
        if (pair.a, pair.b) == (b, a):
            difference = None if pair.difference is None else -pair.difference
            verdict = _TURNED.get(pair.verdict, pair.verdict)
            return replace(pair, a=a, b=b, difference=difference, verdict=verdict)
    raise KeyError(f"{a}, {b}")
