"""The statistics of comparisons: against scipy, statsmodels and simulations in which the truth is known."""

from __future__ import annotations

import itertools
import math
import warnings
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from coldstart_cli.metrics.significance import (
    Design,
    Estimate,
    MeanSquares,
    Needed,
    crossed,
    crossed_bootstrap,
    holm,
    mean_squares,
    needed,
    ranks,
    variance_of_mean,
    verdict,
    wilcoxon,
)

if TYPE_CHECKING:
    import pandas

Array = NDArray[np.float64]
TASKS = 600
COMMON, OWN, RESIDUAL = 10.0, 4.2, 3.0
"""Spread in points: of tasks, for all strategies alike; of how a task suits one strategy; of the rest."""


def tables(
    n: int, n_seeds: int, spread: float, seed: int, *, own: float, n_tasks: int = TASKS
) -> tuple[Array, Array]:
    """n pairs of equal strategies with a true mean of 60 points, each (n, n_seeds, n_tasks)."""
    draw = np.random.default_rng(seed)
    common = COMMON * draw.standard_normal((n, 1, n_tasks))
    pair = [
        60
        + common
        + own * draw.standard_normal((n, 1, n_tasks))
        + spread * draw.standard_normal((n, n_seeds, 1))
        + RESIDUAL * draw.standard_normal((n, n_seeds, n_tasks), dtype=np.float32)
        for _ in range(2)
    ]
    return pair[0], pair[1]


def share_without(truth: float, values: Array) -> float:
    """How many of the 95 % intervals of tables (n, n_seeds, n_tasks) lack the truth."""
    variance, df = variance_of_mean(mean_squares(values), *values.shape[1:])
    return float(np.mean(np.abs(values.mean((1, 2)) - truth) > stats.t.ppf(0.975, df) * np.sqrt(variance)))


@pytest.mark.parametrize("own", [0.0, OWN])
@pytest.mark.parametrize("spread", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("n_seeds", [3, 5, 10])
def test_intervals_cover_and_equal_strategies_are_rarely_called_different(
    n_seeds: int, spread: float, own: float
) -> None:
    missed, false = [], []
    for part in range(8):  # 2000 experiments, in pieces that fit the cache
        ours, theirs = tables(250, n_seeds, spread, 1000 * n_seeds + part, own=own)
        missed.append(share_without(60.0, ours))
        false.append(share_without(0.0, ours - theirs))
    assert 0.93 <= 1 - np.mean(missed) <= 0.97
    assert 0.03 <= np.mean(false) <= 0.06


def test_tasks_alone_call_equal_strategies_different_in_29_percent() -> None:
    tasks_alone, both = [], []
    for part in range(8):
        ours, theirs = tables(250, 3, 0.5, 50 + part, own=OWN)
        differences = ours - theirs
        tasks_alone.append(np.mean(stats.ttest_1samp(differences.mean(1), 0.0, axis=1).pvalue < 0.05))
        both.append(share_without(0.0, differences))
    assert np.mean(tasks_alone) == pytest.approx(0.29, abs=0.025)
    assert np.mean(both) <= 0.06


def drawn_squares(
    n: int,
    n_seeds: int,
    n_tasks: int,
    seed_sd: float,
    task_sd: float,
    rest_sd: float,
    draw: np.random.Generator,
) -> tuple[Array, MeanSquares]:
    """Means and mean squares of n normal tables by their exact distribution, without the tables."""
    seeds, tasks = n_seeds - 1, n_tasks - 1
    sd = math.sqrt(seed_sd**2 / n_seeds + task_sd**2 / n_tasks + rest_sd**2 / (n_seeds * n_tasks))
    squares = MeanSquares(
        (rest_sd**2 + n_tasks * seed_sd**2) * draw.chisquare(seeds, n) / seeds,
        (rest_sd**2 + n_seeds * task_sd**2) * draw.chisquare(tasks, n) / tasks,
        rest_sd**2 * draw.chisquare(seeds * tasks, n) / (seeds * tasks),
    )
    return sd * draw.standard_normal(n), squares


@pytest.mark.parametrize(("n_seeds", "n_tasks"), [(3, 600), (5, 600), (10, 600), (3, 10), (10, 10), (10, 4)])
def test_intervals_cover_whatever_the_mixture_of_spreads(n_seeds: int, n_tasks: int) -> None:
    draw = np.random.default_rng(0)
    found = {}
    for seed_sd, task_sd in itertools.product([0.0, 0.1, 0.3, 0.5, 1.0, 2.0], [0.0, 1.0, 2.0, 5.0, 10.0]):
        scaled = seed_sd * math.sqrt(TASKS / n_tasks)
        means, squares = drawn_squares(20_000, n_seeds, n_tasks, scaled, task_sd, 4.0, draw)
        variance, df = variance_of_mean(squares, n_seeds, n_tasks)
        inside = np.abs(means) <= stats.t.ppf(0.975, df) * np.sqrt(variance)
        found[seed_sd, task_sd] = np.mean(inside)
    assert min(found.values()) >= 0.944, found
    assert max(found.values()) <= (0.97 if n_tasks == TASKS else 0.98), found


def test_satterthwaite_would_be_too_sure_of_three_seeds() -> None:
    # Why variance_of_mean does not weigh by the squares of shares.
    means, squares = drawn_squares(50_000, 3, TASKS, 2.0, 10.0, 4.0, np.random.default_rng(1))
    variance, df = variance_of_mean(squares, 3, TASKS)
    many = np.maximum(squares.tasks - squares.rest, 0.0)
    squared = (squares.seeds + many) ** 2 / (squares.seeds**2 / 2 + many**2 / (TASKS - 1))
    covered = [np.mean(np.abs(means) <= stats.t.ppf(0.975, d) * np.sqrt(variance)) for d in (squared, df)]
    assert covered[0] < 0.926
    assert covered[1] > 0.945


def test_intervals_cover_for_accuracies_of_few_queries() -> None:
    # Bounded, discrete, and wider in the middle than at the edge: no normal anywhere.
    draw = np.random.default_rng(3)
    false = []
    for _ in range(4):
        logits = draw.normal(2.0, 1.2, (500, 1, 200))
        chances = [
            1
            / (
                1
                + np.exp(
                    -logits - 0.03 * draw.standard_t(5, (500, 3, 1)) - 0.2 * draw.normal(size=(500, 1, 200))
                )
            )
            for _ in range(2)
        ]
        ours, theirs = (draw.binomial(25, p) * 4.0 for p in chances)
        false.append(share_without(0.0, ours - theirs))
    assert 0.03 <= np.mean(false) <= 0.07


def seen_table(
    seed: int, shape: tuple[int, int] = (4, 9), seed_sd: float = 2.0, task_sd: float = 3.0
) -> Array:
    draw = np.random.default_rng(seed)
    return (
        1.0
        + seed_sd * draw.standard_normal((shape[0], 1))
        + task_sd * draw.standard_normal((1, shape[1]))
        + draw.standard_normal(shape)
    )


def frame(values: Array) -> pandas.DataFrame:
    import pandas

    rows = [(value, seed, task) for (seed, task), value in np.ndenumerate(values)]
    return pandas.DataFrame(rows, columns=["value", "seed", "task"])


@pytest.fixture(scope="module")
def oracle() -> ModuleType:
    """Of the dev extra; a fixture, so that importing it is no example's time."""
    pytest.importorskip("statsmodels.formula.api", reason="statsmodels is the oracle; install the extra dev")
    return pytest.importorskip("statsmodels.stats.api", reason="statsmodels is the oracle")


def test_mean_squares_are_those_of_the_analysis_of_variance(oracle: ModuleType) -> None:
    from statsmodels.formula.api import ols

    values = seen_table(0)
    table = oracle.anova_lm(ols("value ~ C(seed) + C(task)", frame(values)).fit())
    ours = mean_squares(values)
    assert ours.seeds == pytest.approx(table["mean_sq"]["C(seed)"])
    assert ours.tasks == pytest.approx(table["mean_sq"]["C(task)"])
    assert ours.rest == pytest.approx(table["mean_sq"]["Residual"])
    stacked = mean_squares(np.stack([values, 2 * values]))
    np.testing.assert_allclose(stacked.tasks, [ours.tasks, 4 * ours.tasks])


def test_components_and_error_are_those_of_a_mixed_model(oracle: ModuleType) -> None:
    from statsmodels.formula.api import mixedlm

    values = seen_table(1, (6, 12))
    ours = crossed(values, 0.95)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about its optimiser; the comparison tells whether it arrived
        fitted = mixedlm(
            "value ~ 1",
            frame(values),
            groups=np.ones(values.size),
            vc_formula={"seed": "0 + C(seed)", "task": "0 + C(task)"},
        ).fit(reml=True)
    # Restricted likelihood and mean squares agree where the table is balanced and no component is 0.
    assert ours.mean == pytest.approx(float(fitted.params["Intercept"]))
    assert ours.standard_error == pytest.approx(float(fitted.bse["Intercept"]), rel=1e-3)
    assert [ours.seed_sd**2, ours.task_sd**2] == pytest.approx(list(fitted.vcomp), rel=1e-2)
    assert ours.residual_sd**2 == pytest.approx(float(fitted.scale), rel=1e-3)


def test_crossed_by_hand() -> None:
    # Seed means 1, 3, 5 about 3; task means 1, 2, 6; no residual but what is added: +-1 in one square.
    values = np.array([[-1.0, 0.0, 4.0], [1.0, 2.0, 6.0], [3.0, 4.0, 8.0]])
    values += np.array([[1.0, -1.0, 0.0], [-1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    ours = crossed(values, 0.95)
    # Mean squares: seeds 3 * 8 / 2 = 12, tasks 3 * (4 + 1 + 9) / 2 = 21, rest 4 / 4 = 1.
    assert (ours.n_seeds, ours.n_tasks, ours.mean) == (3, 3, pytest.approx(3.0))
    assert ours.standard_error == pytest.approx(math.sqrt((12 + 21 - 1) / 9))
    assert (ours.seed_sd, ours.task_sd) == (
        pytest.approx(math.sqrt(11 / 3)),
        pytest.approx(math.sqrt(20 / 3)),
    )
    assert ours.residual_sd == pytest.approx(1.0)
    assert ours.df == pytest.approx(2.0)  # both factors have 2
    assert ours.half_width == pytest.approx(4.302653 * math.sqrt(32 / 9), rel=1e-6)
    assert ours.p == pytest.approx(2 * stats.t.sf(3 / math.sqrt(32 / 9), 2))


def test_degrees_of_freedom_lie_between_those_of_the_two_factors() -> None:
    def df(seeds: float, tasks: float) -> float:
        squares = MeanSquares(np.array(seeds), np.array(tasks), np.array(1.0))
        return float(variance_of_mean(squares, 3, 101)[1])

    assert df(5.0, 1.0) == 2.0  # tasks do not differ
    assert df(5.0, 0.3) == 2.0
    assert df(0.0, 9.0) == pytest.approx(100.0)
    assert df(6.0, 7.0) == pytest.approx(1 / (0.625 / 2 + 0.375 / 100))


@given(st.integers(0, 1000), st.integers(2, 6), st.integers(2, 6))
def test_crossed_does_not_care_which_factor_is_called_seeds(seed: int, n_seeds: int, n_tasks: int) -> None:
    values = seen_table(seed, (n_seeds, n_tasks), 1.0, 1.0)
    ours, turned = crossed(values, 0.9), crossed(values.T, 0.9)
    assert (ours.seed_sd, ours.task_sd) == (pytest.approx(turned.task_sd), pytest.approx(turned.seed_sd))
    if n_seeds != n_tasks:
        assert ours.half_width == pytest.approx(turned.half_width)


@given(st.integers(0, 1000), st.floats(-5, 5), st.floats(0.1, 100))
def test_crossed_shifts_and_scales_with_its_values(seed: int, shift: float, scale: float) -> None:
    values = seen_table(seed)
    one, two = crossed(values, 0.95), crossed(scale * values + shift, 0.95)
    assert two.mean == pytest.approx(scale * one.mean + shift, abs=1e-9)
    assert two.half_width == pytest.approx(scale * one.half_width)
    assert two.df == pytest.approx(one.df)


def test_one_seed_or_one_task_is_the_ordinary_t() -> None:
    values = seen_table(2, (1, 20))
    ours = crossed(values, 0.9)
    test = stats.ttest_1samp(values[0], 0.0)
    low, high = test.confidence_interval(0.9)
    assert (ours.mean - ours.half_width, ours.mean + ours.half_width) == (
        pytest.approx(low),
        pytest.approx(high),
    )
    assert (ours.p, ours.df) == (pytest.approx(test.pvalue), 19.0)
    assert (math.isnan(ours.seed_sd), ours.task_sd) == (True, pytest.approx(np.std(values, ddof=1)))
    turned = crossed(values.T, 0.9)
    assert (turned.half_width, turned.p) == (ours.half_width, ours.p)
    assert (turned.seed_sd, math.isnan(turned.task_sd)) == (ours.task_sd, True)


@pytest.mark.parametrize(
    "values",
    [
        [[1.0]],
        [[1.0, math.nan]],
        [[1.0, 2.0], [math.inf, 3.0]],
        [[math.inf, -math.inf]],
        np.zeros((0, 5)),
        np.zeros((3, 0)),
    ],
)
def test_crossed_claims_nothing_of_too_few_or_of_what_is_not_finite(values: object) -> None:
    ours = crossed(np.asarray(values), 0.95)
    assert ours.half_width == math.inf
    assert math.isnan(ours.p)
    assert verdict(ours, ours.p, 0.5, 0.95) == "undecided"
    assert needed(ours, 1.0, 0.95, n_tasks_possible=10) == Needed(None, None, None)


def test_crossed_of_equal_values_has_no_width() -> None:
    zeros, ones = crossed(np.zeros((3, 4)), 0.95), crossed(np.ones((3, 4)), 0.95)
    assert (zeros.half_width, zeros.p) == (0.0, 1.0)
    assert (ones.mean, ones.half_width, ones.p) == (1.0, 0.0, 0.0)
    assert verdict(zeros, 1.0, 0.0, 0.95) == "tie"
    assert verdict(ones, 0.0, 0.5, 0.95) == "win"


def test_crossed_refuses_what_is_no_table() -> None:
    with pytest.raises(ValueError, match="give a table"):
        crossed(np.zeros(5), 0.95)


def test_bootstrap_of_one_seed_is_that_of_its_tasks() -> None:
    values = seen_table(4, (1, 200))
    low, high = crossed_bootstrap(values, 0.9, n_resamples=10_000, seed=0)
    theirs = stats.bootstrap(
        (values[0],), np.mean, confidence_level=0.9, n_resamples=10_000, method="percentile", rng=1
    ).confidence_interval
    assert (low, high) == (pytest.approx(theirs.low, abs=0.03), pytest.approx(theirs.high, abs=0.03))


def test_bootstrap_has_owens_variance() -> None:
    # Of resampled means, exactly: sum of squared row means' spread, of columns', and of the residual's.
    values = seen_table(5, (6, 15))
    rows, columns = values.mean(1), values.mean(0)
    rest = values - rows[:, None] - columns + values.mean()
    exact = rows.var() / 6 + columns.var() / 15 + np.square(rest).mean() / 90
    low, high = crossed_bootstrap(values, 0.6826895, n_resamples=20_000, seed=1)  # +- one sd, if normal
    assert (high - low) / 2 == pytest.approx(math.sqrt(exact), rel=0.05)


def test_bootstrap_is_a_function_of_its_seed() -> None:
    values = seen_table(6)
    one, again, other = (crossed_bootstrap(values, 0.95, n_resamples=1500, seed=s) for s in (0, 0, 1))
    assert one == again != other
    assert crossed_bootstrap(np.ones((3, 4)), 0.95, n_resamples=10, seed=0) == (1.0, 1.0)
    assert crossed_bootstrap(np.array([[1.0, math.nan]]), 0.95, n_resamples=10, seed=0) == (
        -math.inf,
        math.inf,
    )


def test_wilcoxon_is_scipys_with_zeros_ranked() -> None:
    draw = np.random.default_rng(0)
    values = draw.normal(0.3, 1.0, 80)
    assert wilcoxon(values) == pytest.approx(stats.wilcoxon(values).pvalue)
    values[:5] = 0.0
    assert wilcoxon(values) == pytest.approx(stats.wilcoxon(values, zero_method="pratt").pvalue)


def test_wilcoxon_by_hand() -> None:
    # Six positive differences: one of 2^6 signings is as extreme on either side.
    assert wilcoxon(np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])) == pytest.approx(2 / 64)
    assert wilcoxon(np.array([3.0])) == 1.0


def test_wilcoxon_takes_rounding_for_ties() -> None:
    exact = np.array([1.0, 1.0, 2.0, -1.0, 0.0, 2.0, 1.0, 3.0] * 3)
    rounded = exact * (1 + 1e-15 * np.arange(24)) + 1e-16
    assert len(np.unique(rounded)) > len(np.unique(exact))
    assert wilcoxon(rounded) == wilcoxon(exact)


@pytest.mark.parametrize(("values", "p"), [([0.0, 0.0], 1.0), ([], math.nan), ([1.0, math.nan], math.nan)])
def test_wilcoxon_of_nothing(values: list[float], p: float) -> None:
    assert wilcoxon(np.array(values)) == pytest.approx(p, nan_ok=True)


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=6))
def test_wilcoxon_is_symmetric_and_a_probability(values: list[int]) -> None:
    p = wilcoxon(np.array(values, dtype=float))
    assert 0.0 <= p <= 1.0
    assert p == pytest.approx(wilcoxon(-np.array(values, dtype=float)))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_the_step_down_procedure_of_its_paper(p_values: list[float]) -> None:
    """Holm (1979): at level a, reject from the smallest p on while p_(i) <= a / (m - i + 1)."""

    def rejected(level: float) -> set[int]:
        found: set[int] = set()
        for place, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
            if p_values[i] > level / (len(p_values) - place):
                break
            found.add(i)
        return found

    adjusted = holm(p_values)
    for level in (0.01, 0.05, 0.3, *(p * 1.000001 for p in adjusted), *(p * 0.999999 for p in adjusted)):
        if level < 1 and all(abs(p - level) > 1e-9 for p in adjusted):
            assert {i for i, p in enumerate(adjusted) if p <= level} == rejected(level)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    without = holm([math.nan, 0.01, 0.04, math.nan, 0.03])
    assert without == pytest.approx([math.nan, 0.03, 0.06, math.nan, 0.06], nan_ok=True)
    assert holm([]) == []


def estimated(mean: float, standard_error: float, df: float = 20.0) -> Estimate:
    p = 2 * float(stats.t.sf(abs(mean) / standard_error, df))
    width = float(stats.t.ppf(0.975, df)) * standard_error
    return Estimate(mean, width, standard_error, df, p, p, 5, 600, 0.5, 4.0, 3.0)


@pytest.mark.parametrize(
    ("mean", "standard_error", "expected"),
    [
        (2.0, 0.3, "win"),
        (-2.0, 0.3, "loss"),
        (0.1, 0.1, "tie"),
        (0.3, 0.05, "tie"),  # different for certain, and too little to matter
        (0.7, 0.1, "win"),
        (0.2, 0.5, "undecided"),  # no evidence of a difference is none of a tie
        (0.45, 0.3, "undecided"),
    ],
)
def test_verdict_of_clear_cases(mean: float, standard_error: float, expected: str) -> None:
    ours = estimated(mean, standard_error)
    assert verdict(ours, ours.p, 0.5, 0.95) == expected


def test_verdict_obeys_the_adjusted_p() -> None:
    ours = estimated(2.0, 0.9)
    assert ours.p < 0.05
    assert verdict(ours, ours.p, 0.5, 0.95) == "win"
    assert verdict(ours, 0.06, 0.5, 0.95) == "undecided"
    assert verdict(ours, math.nan, 0.5, 0.95) == "undecided"


@given(st.integers(0, 10_000), st.floats(0.05, 1.0), st.floats(-0.5, 0.5))
def test_tie_is_that_of_two_one_sided_tests(oracle: ModuleType, seed: int, sd: float, shift: float) -> None:
    draw = np.random.default_rng(seed)
    ours, theirs = draw.normal(shift, sd, 15), draw.normal(0.0, sd, 15)
    p = oracle.ttost_paired(ours, theirs, -0.5, 0.5)[0]
    estimate = crossed((ours - theirs)[None], 0.95)
    assert (verdict(estimate, 1.0, 0.5, 0.95) == "tie") == (p <= 0.05)


def test_ranks_count_who_beats_whom() -> None:
    beats = {("a", "c"), ("b", "c"), ("a", "d"), ("b", "d"), ("c", "d")}
    assert ranks(["d", "c", "b", "a"], beats) == {"d": 4, "c": 3, "b": 1, "a": 1}
    assert ranks(["a", "b"], []) == {"a": 1, "b": 1}
    assert ranks(["a", "b"], [("a", "b"), ("a", "b")]) == {"a": 1, "b": 2}
    assert ranks(["a", "b", "c"], [("a", "c")]) == {"a": 1, "b": 1, "c": 2}  # undecided is not transitive


def components(n_seeds: int, n_tasks: int, seed_sd: float, task_sd: float, residual_sd: float) -> Estimate:
    return Estimate(0.4, 1.0, 0.4, 5.0, 0.3, 0.3, n_seeds, n_tasks, seed_sd, task_sd, residual_sd)


def half_width(n_seeds: int, n_tasks: int, seed_sd: float, task_sd: float, residual_sd: float) -> float:
    """By hand, for fewer seeds than tasks."""
    few = (seed_sd**2 + residual_sd**2 / n_tasks) / n_seeds
    many = task_sd**2 / n_tasks
    share = few / (few + many)
    weight = share + share**2 - share**3
    df = 1 / (weight / (n_seeds - 1) + (1 - weight) / (n_tasks - 1))
    return float(stats.t.ppf(0.975, df)) * math.sqrt(few + many)


def test_needed_is_the_smallest_design_that_reaches_the_target() -> None:
    parts = (0.5, 5.0, 4.0)
    found = needed(components(3, 600, *parts), 0.6, 0.95, n_tasks_possible=5000)
    assert found.tasks is None  # three seeds differ too much
    assert found.seeds is not None
    assert found.both is not None
    assert (found.seeds.n_tasks, found.both.n_tasks) == (600, 5000)
    for design in (found.seeds, found.both):
        assert half_width(*design, *parts) <= 0.6 < half_width(design.n_seeds - 1, design.n_tasks, *parts)
    assert found.both.n_seeds < found.seeds.n_seeds < 20


def test_needed_tasks_alone_where_seeds_do_not_differ() -> None:
    parts = (0.0, 5.0, 4.0)
    found = needed(components(5, 100, *parts), 0.3, 0.95, n_tasks_possible=5000)
    assert found.tasks is not None
    assert (found.tasks.n_seeds, found.seeds) == (5, None)  # of 100 tasks no number of seeds would do
    assert half_width(*found.tasks, *parts) <= 0.3 < half_width(5, found.tasks.n_tasks - 1, *parts)
    assert needed(components(5, 100, *parts), 0.3, 0.95, n_tasks_possible=200).tasks is None


def test_needed_is_what_there_is_where_that_is_enough() -> None:
    now = Design(3, 600)
    assert needed(components(3, 600, 0.1, 1.0, 1.0), 9.0, 0.95, n_tasks_possible=600) == Needed(now, now, now)


def test_needed_over_many_comparisons_meets_the_limit_by_hand() -> None:
    parts = (0.5, 5.0, 4.0)
    design = needed(components(3, 600, *parts), 1.0, 0.95, n_tasks_possible=600, n_comparisons=45).seeds
    assert design is not None

    def limit(n_seeds: int) -> float:
        few = (0.5**2 + 4.0**2 / 600) / n_seeds
        seeds, tasks = (float(stats.t.ppf(1 - 0.05 / 90, df)) for df in (n_seeds - 1, 599))
        return math.sqrt(few * seeds**2 + 5.0**2 / 600 * tasks**2)

    assert limit(design.n_seeds) <= 1.0 < limit(design.n_seeds - 1)


def test_p_for_a_family_by_hand() -> None:
    table = seen_table(3, (3, 40), seed_sd=0.5) + 6.0
    found = crossed(table, 0.95)
    rows, columns = table.mean(1), table.mean(0)
    rest = ((table - rows[:, None] - columns + table.mean()) ** 2).sum() / (2 * 39)
    few, many = rows.var(ddof=1) / 3, max(columns.var(ddof=1) / 40 - rest / 120, 0.0)
    quantiles = [stats.t.isf(found.p_family / 2, df) for df in (2, 39)]
    assert math.sqrt(few * quantiles[0] ** 2 + many * quantiles[1] ** 2) == pytest.approx(abs(found.mean))
    assert found.p < found.p_family < 1
    one = crossed(seen_table(3, (1, 40)), 0.95)
    assert one.p_family == one.p
    assert crossed(np.ones((2, 3)), 0.95).p_family == 0.0  # no spread at all


def test_needed_of_one_seed_knows_tasks_only() -> None:
    one = crossed(seen_table(7, (1, 30)), 0.95)
    found = needed(one, one.half_width / 2, 0.95, n_tasks_possible=1000)
    assert (found.seeds, found.both) == (None, Design(1, 1000))
    assert found.tasks is not None
    assert 110 <= found.tasks.n_tasks <= 125  # half the width, four times the tasks, a little less for t
    one_task = crossed(seen_table(7, (5, 1)), 0.95)
    assert needed(one_task, 0.01, 0.95, n_tasks_possible=10) == Needed(None, None, None)


def test_needed_comes_true() -> None:
    # The design asked for, drawn anew from the same components, has about the width that was promised.
    parts = (1.0, 4.0, 3.0)
    design = needed(components(3, 200, *parts), 0.9, 0.95, n_tasks_possible=200).seeds
    assert design is not None
    draw = np.random.default_rng(0)
    _, squares = drawn_squares(4000, design.n_seeds, design.n_tasks, *parts, draw)
    variance, df = variance_of_mean(squares, design.n_seeds, design.n_tasks)
    assert np.median(stats.t.ppf(0.975, df) * np.sqrt(variance)) == pytest.approx(0.9, rel=0.1)
