"""Comparing strategies honestly: what other seeds and other tasks would have shown.

Every seed sees the same tasks, so that the values of a strategy, or the paired differences of two, are a
table (n_seeds, n_tasks) with two random effects, value = mean + seed + task + residual. A test over tasks
alone mistakes the luck of the seeds for a property of the strategy: at a spread of half a point between
seeds it calls equal strategies different in 29 % of cases.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over seeds and tasks, in the units of the values, and its uncertainty.

    Attributes:
        mean, half_width: of the two-sided t interval; the half-width is infinite where nothing can be said.
        standard_error, df: of the mean, and the degrees of freedom of its t.
        p: two-sided, against a mean of 0.
        p_family: the same, never too small however small it is: for corrections over many comparisons.
        n_seeds, n_tasks: with one seed, the interval holds only for that seed's weights.
        seed_sd, task_sd, residual_sd: estimated components; nan where they cannot be told apart. With
            one seed `task_sd` is the spread of its values over tasks, residual included.
    """

    mean: float
    half_width: float
    standard_error: float
    df: float
    p: float
    p_family: float
    n_seeds: int
    n_tasks: int
    seed_sd: float
    task_sd: float
    residual_sd: float


class MeanSquares(NamedTuple):
    """The mean squares of a two-way table without replicates, each of shape (...).

    Their expectations, with n_seeds = S and n_tasks = T, are seeds: residual² + T seed², tasks:
    residual² + S task², rest: residual² (Searle, Casella and McCulloch 1992, Variance Components).
    """

    seeds: Array
    tasks: Array
    rest: Array


def by_origin(values: NDArray[np.floating], origins: Sequence[str | None]) -> Array:
    """The tasks of each origin made one: (..., n_tasks) -> (..., n_origins), in order of first appearance.

    Of the G origins, one that has n of the N tasks gets the value m + G (n / N) (its mean - m), where m is
    the grand mean: its own mean where all have equally many. The mean over origins is then m, and its
    variance the cluster-robust G / (G - 1) sum over origins of (sum of its residuals / N)^2 (Liang and
    Zeger 1986, Biometrika 73:13). A task without an origin is its own. Where all tasks have one origin they
    stay as they are: what follows is conditional on it, as it is on a single seed.

    Args:
        origins: of each task.
    """
    table = np.asarray(values, dtype=np.float64)
    names = [("task", str(i)) if o is None else ("origin", o) for i, o in enumerate(origins)]
    number = {name: i for i, name in enumerate(dict.fromkeys(names))}
    if len(number) in (1, len(names)):
        return table
    shares = np.zeros((len(names), len(number)))
    shares[np.arange(len(names)), [number[name] for name in names]] = 1 / len(names)
    mean = table.mean()
    return np.asarray(mean + len(number) * ((table - mean) @ shares))


def n_origins(origins: Sequence[str | None]) -> int | None:
    """How many different origins tasks have, or None where some has none."""
    return None if None in origins or not origins else len(set(origins))


def mean_squares(values: Array) -> MeanSquares:
    """The mean squares of tables (..., n_seeds, n_tasks), both sizes at least 2."""
    n_seeds, n_tasks = values.shape[-2:]
    # Centred first: squares of the values themselves would cancel where the mean is large against the
    # spread.
    centred = values - values.mean((-2, -1), keepdims=True)
    seeds, tasks = centred.mean(-1, keepdims=True), centred.mean(-2, keepdims=True)
    rest = centred - seeds - tasks
    return MeanSquares(
        n_tasks * np.square(seeds).sum((-2, -1)) / (n_seeds - 1),
        n_seeds * np.square(tasks).sum((-2, -1)) / (n_tasks - 1),
        np.square(rest).sum((-2, -1)) / ((n_seeds - 1) * (n_tasks - 1)),
    )


def variance_of_mean(squares: MeanSquares, n_seeds: int, n_tasks: int) -> tuple[Array, Array]:
    """The variance of the grand mean and its degrees of freedom, each of shape (...).

    variance = (few + max(many - rest, 0)) / (n_seeds n_tasks), where `few` is the mean square of the
    factor with fewer levels, seeds as a rule: the ANOVA estimator, kept from falling below what the few
    levels show. With u the share of `few` in that sum and w = u (1 + u (1 - u)),
    1 / df = w / (levels_few - 1) + (1 - w) / (levels_many - 1).

    Satterthwaite 1946 (Biometrics Bulletin 2:110) has the squares of the shares here. For 2 degrees of
    freedom that is too narrow: where the spread of three seeds dominates, its 95 % intervals cover in 92.1 %.
    The shares themselves give, to first order in 1 / df, the quantile of Cochran and Cox 1950
    (Experimental Designs), the mean of the two t quantiles weighted by the variances; they cover in 94.2 %.
    The term u (1 - u) is ours, for the rest. Over 60 mixtures of the three spreads, from none to nearly all
    of the variance, 200,000 normal tables each, 95 % intervals then cover in 94.9-96.6 % (3 seeds),
    94.9-96.4 % (5) and 94.9-95.9 % (10) with 600 tasks, in 94.5-97.4 % with 10. Two seeds: 91.7-96.4 %.
    """
    few, many, n_few, n_many = _parts(squares, n_seeds, n_tasks)
    # Var(mean) = seed² / S + task² / T + residual² / (S T); (seeds + tasks - rest) / (S T) is unbiased.
    return (few + many) / (n_seeds * n_tasks), _df(few, many, n_few, n_many)


def _parts(squares: MeanSquares, n_seeds: int, n_tasks: int) -> tuple[Array, Array, int, int]:
    """(few, many, levels of few, levels of many) of `variance_of_mean`."""
    few, many, n_few, n_many = squares.seeds, squares.tasks, n_seeds, n_tasks
    if n_tasks < n_seeds:
        few, many, n_few, n_many = many, few, n_many, n_few
    # `few` keeps its residual and `many` loses its own, or the residual would be counted twice.
    return few, np.maximum(many - squares.rest, 0.0), n_few, n_many


def _limit(few: Array, many: Array, n_few: Array | int, n_many: Array | int, p: float) -> Array:
    """What |mean| exceeds with a probability of at most p, where few and many are variances of the mean.

    sqrt(few t(n_few - 1)² + many t(n_many - 1)²), t the two-sided quantile at p of each factor alone, as
    in intervals of sums of variances (Howe 1974, JASA 69:789). One t with degrees of freedom in between, as
    `variance_of_mean` has it, is accurate at .05 and not far below: of three seeds that dominate, 600 tasks,
    it is exceeded 2.3 times too often at .05 / 10 and 46 times at .05 / 741, this one .8 and .7 times.
    """
    tails = [stdtrit(np.maximum(n - 1, 1), p / 2) for n in (n_few, n_many)]
    return np.asarray(np.sqrt(few * tails[0] ** 2 + many * tails[1] ** 2))


SMALLEST_P = 1e-30


def _p_family(mean: float, parts: tuple[Array, Array, int, int], size: int) -> float:
    """The p at which `_limit` is |mean|."""
    few, many, n_few, n_many = parts
    if float(few + many) == 0.0:
        return float(mean == 0.0)

    def beyond(log_p: float) -> float:
        return float(_limit(few / size, many / size, n_few, n_many, math.exp(log_p))) - abs(mean)

    low = math.log(SMALLEST_P)
    from scipy.optimize import brentq  # as slow to import as the signed ranks below

    return SMALLEST_P if beyond(low) <= 0.0 else math.exp(brentq(beyond, low, 0.0, xtol=1e-9))


def _df(few: Array, many: Array, n_few: Array | int, n_many: Array | int) -> Array:
    total = few + many
    share = few / np.where(total == 0.0, 1.0, total)  # where all values are equal, any df will do
    weight = share * (1 + share * (1 - share))
    return np.asarray(1 / (weight / (n_few - 1) + (1 - weight) / (n_many - 1)))


def crossed(values: NDArray[np.floating], confidence: float) -> Estimate:
    """The mean of a table (n_seeds, n_tasks) with seeds and tasks both random: see `variance_of_mean`.

    With one seed, or one task, it is the ordinary t over the other factor, conditional on that. The
    half-width is infinite and p is nan where a value is not finite or there are fewer than two.

    Raises:
        ValueError: where values are not a table.
    """
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2:
        raise ValueError(f"values: {table.ndim} dimensions; give a table (n_seeds, n_tasks)")
    n_seeds, n_tasks = table.shape
    if table.size < 2 or not np.isfinite(table).all():
        # An infinity among the values would make the mean one; nan says that there is none.
        mean = float(table.mean()) if table.size and not np.isinf(table).any() else math.nan
        nothing = (math.inf, math.inf, math.nan, math.nan, math.nan)
        return Estimate(mean, *nothing, n_seeds, n_tasks, math.nan, math.nan, math.nan)
    mean = float(table.mean())
    seed_sd = task_sd = residual_sd = math.nan
    if n_seeds == 1 or n_tasks == 1:
        sd, df = float(table.std(ddof=1)), float(table.size - 1)
        seed_sd, task_sd = (seed_sd, sd) if n_seeds == 1 else (sd, task_sd)
        error = sd / math.sqrt(table.size)
        p = p_family = t_test(mean, error, df)
    else:
        squares = mean_squares(table)
        variance, degrees = variance_of_mean(squares, n_seeds, n_tasks)
        error, df, rest = math.sqrt(variance), float(degrees), float(squares.rest)
        p = t_test(mean, error, df)
        p_family = max(p, _p_family(mean, _parts(squares, n_seeds, n_tasks), table.size))
        # By the expectations of the mean squares. Differences below 0 are noise around no spread at all.
        seed_sd = math.sqrt(max(float(squares.seeds) - rest, 0.0) / n_tasks)
        task_sd = math.sqrt(max(float(squares.tasks) - rest, 0.0) / n_seeds)
        residual_sd = math.sqrt(rest)
    half_width = float(stdtrit(df, 0.5 + confidence / 2)) * error
    return Estimate(mean, half_width, error, df, p, p_family, n_seeds, n_tasks, seed_sd, task_sd, residual_sd)


def t_test(mean: float, standard_error: float, df: float) -> float:
    """Two-sided p of a mean against 0; without any spread, 1 where the mean is 0 and else 0."""
    if standard_error == 0.0:
        return float(mean == 0.0)
    return 2 * float(stdtr(df, -abs(mean) / standard_error))


def crossed_bootstrap(
    values: NDArray[np.floating], confidence: float, *, n_resamples: int, seed: int
) -> tuple[float, float]:
    """Percentile interval of the mean, rows and columns of (n_seeds, n_tasks) resampled independently.

    The pigeonhole bootstrap of Owen 2007 (Annals of Applied Statistics 1:386). It does not assume
    normality, but accompanies `crossed` rather than replacing it, for a few seeds cannot represent all: of
    95 % intervals dominated by the spread of seeds, those of 3 seeds cover in 74 %, of 5 in 83 %, of 10 in
    90 %; of those dominated by the residual, more than 99 %.
    Infinite where a value is not finite or there is none.
    """
    table = np.asarray(values, dtype=np.float64)
    if table.size == 0 or not np.isfinite(table).all():
        return -math.inf, math.inf
    n_seeds, n_tasks = table.shape
    generator = np.random.default_rng(seed)
    counts = generator.multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), size=n_resamples)
    means = []
    # `some @ table` is the task means of resampled seeds: weights of rows are cheaper than drawn rows.
    for some in np.array_split(counts / n_seeds, math.ceil(n_resamples / 1000)):  # bounds the memory
        columns = generator.integers(n_tasks, size=(len(some), n_tasks))
        means.append(np.take_along_axis(some @ table, columns, 1).mean(1))
    low, high = np.quantile(np.concatenate(means), [0.5 - confidence / 2, 0.5 + confidence / 2])
    return float(low), float(high)


def wilcoxon(differences: NDArray[np.floating]) -> float:
    """Two-sided p of Wilcoxon's signed-rank test over tasks, of differences (n_tasks,) of seed means.

    It assumes less of the differences than t, but like every test over tasks alone it is conditional on the
    seeds (Demsar 2006, JMLR 7, for tests over data sets). Zeros are ranked, then dropped (Pratt 1959).
    Differences that differ only by rounding count as ties. p is 1 where all are zero, nan where one is not
    finite or there is none.
    """
    values = np.asarray(differences, dtype=np.float64).ravel()
    if values.size == 0 or not np.isfinite(values).all():
        return math.nan
    largest = np.abs(values).max()
    if largest == 0.0:
        return 1.0
    from scipy.stats import wilcoxon as signed_rank

    # Relative to the largest, 12 digits: 0.3 - 0.2 and 0.2 - 0.1 are a tie to the ranks.
    return float(signed_rank(np.round(values / largest, 12), zero_method="pratt").pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p, in the order given: max over j <= i of min(1, (m - j + 1) p_(j)) (Holm 1979).

    A nan stays nan and is not counted in m.
    """
    adjusted = list(map(float, p_values))
    order = sorted((i for i, p in enumerate(adjusted) if not math.isnan(p)), key=adjusted.__getitem__)
    highest = 0.0
    for rank, i in enumerate(order):
        # The running maximum: an adjusted p may not fall below that of a smaller p.
        highest = max(highest, min(1.0, (len(order) - rank) * adjusted[i]))
        adjusted[i] = highest
    return adjusted


Verdict = Literal["win", "loss", "tie", "undecided"]


def verdict(estimate: Estimate, p_adjusted: float, zone: float, confidence: float) -> Verdict:
    """What a difference, positive where ours is better, says; with alpha = 1 - confidence.

    Args:
        p_adjusted: of `estimate.p` among all comparisons made (`holm`).
        zone: the largest difference that does not matter, in the units of the values.

    Returns:
        tie: the (1 - 2 alpha) interval lies within +-zone (two one-sided tests, Schuirmann 1987), even
        where p is small: a difference for certain, and too small to matter. Else win or loss where
        p_adjusted < alpha. Else undecided: absence of evidence does not make a tie. Ties are not adjusted for
        their number.
    """
    reach = abs(estimate.mean)
    if estimate.standard_error > 0.0:
        # One-sided quantile at `confidence`: the (1 - 2 alpha) interval of two one-sided tests.
        reach += float(stdtrit(estimate.df, confidence)) * estimate.standard_error
    if math.isfinite(estimate.half_width) and reach <= zone:
        return "tie"
    if p_adjusted < 1 - confidence:
        return "win" if estimate.mean > 0 else "loss"
    return "undecided"


def ranks(names: Sequence[str], beats: Collection[tuple[str, str]]) -> dict[str, int]:
    """Name -> 1 + number of contestants that beat it, from (winner, loser) pairs: ties share a rank."""
    return {name: 1 + len({winner for winner, loser in beats if loser == name}) for name in names}


class Design(NamedTuple):
    """A number of seeds, each of which sees the same number of tasks."""

    n_seeds: int
    n_tasks: int


class Needed(NamedTuple):
    """The smallest designs that would suffice: more tasks, more seeds, or more seeds with all tasks."""

    tasks: Design | None
    seeds: Design | None
    both: Design | None


MOST_SEEDS = 1000
"""The search ends here: a difference that needs more seeds than this is of no use to anyone."""


def needed(
    estimate: Estimate,
    target_half_width: float,
    confidence: float,
    *,
    n_tasks_possible: int,
    n_comparisons: int = 1,
) -> Needed:
    """What would bring the half-width down to the target, if the components are as estimated.

    Estimates are rough, above all from three seeds: say "about". To tell a difference from 0 the target
    is |mean|, at the hardest step of `holm` over n_comparisons; to call it a tie, zone - |mean| with the
    confidence 2 c - 1. None where no such design would suffice: no number of tasks makes up for few seeds
    that differ. One seed says nothing about others, so then only tasks can be added.
    """
    if not math.isfinite(estimate.half_width):
        return Needed(None, None, None)
    now = Design(estimate.n_seeds, estimate.n_tasks)
    tasks = np.arange(now.n_tasks, max(now.n_tasks, n_tasks_possible) + 1)
    seeds = np.arange(now.n_seeds, MOST_SEEDS + 1)

    def first(n_seeds: NDArray[np.int64], n_tasks: NDArray[np.int64]) -> Design | None:
        width = predicted_half_width(estimate, n_seeds, n_tasks, confidence, n_comparisons)
        enough = width <= target_half_width
        # argmax of booleans is the first True.
        at = int(enough.argmax())
        return Design(int(n_seeds[at]), int(n_tasks[at])) if enough.any() else None

    return Needed(
        first(np.full_like(tasks, now.n_seeds), tasks),
        first(seeds, np.full_like(seeds, now.n_tasks)),
        first(seeds, np.full_like(seeds, tasks[-1])),
    )


def predicted_half_width(
    estimate: Estimate,
    n_seeds: NDArray[np.int64],
    n_tasks: NDArray[np.int64],
    confidence: float,
    n_comparisons: int,
) -> Array:
    """The half-width of designs (n,) with the components of `estimate`; nan where these do not tell it."""
    p = (1 - confidence) / n_comparisons
    if estimate.n_seeds == 1:
        width = stdtrit(np.maximum(n_tasks - 1, 1), 1 - p / 2) * estimate.task_sd / np.sqrt(n_tasks)
        return np.where(n_seeds == 1, width, np.nan)
    rest = estimate.residual_sd**2 / (n_seeds * n_tasks)
    of_seeds, of_tasks = estimate.seed_sd**2 / n_seeds, estimate.task_sd**2 / n_tasks
    # Which factor has fewer levels may change from one design to the next; cf. `variance_of_mean`.
    seeds_few = n_seeds <= n_tasks
    few, many = np.where(seeds_few, [of_seeds, of_tasks], [of_tasks, of_seeds])
    n_few, n_many = np.where(seeds_few, [n_seeds, n_tasks], [n_tasks, n_seeds])
    if n_comparisons > 1:
        return _limit(few + rest, many, n_few, n_many, p)
    df = _df(few + rest, many, n_few, n_many)
    return np.asarray(stdtrit(df, 1 - p / 2) * np.sqrt(few + rest + many))
