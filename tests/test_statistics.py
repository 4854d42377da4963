"""Intervals that cover, tests that do not cry wolf, and oracles for both."""

from __future__ import annotations

import itertools
import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from coldstart_cli import statistics
from coldstart_cli.statistics import Estimate, crossed

N_TASKS = 600
TASK_SD, REST_SD = 5.0, 6.0  # points, of a paired difference


def tables(n: int, n_seeds: int, spread: float, seed: int, n_tasks: int = N_TASKS) -> np.ndarray:
    """n paired differences (n_seeds, n_tasks) of two equal strategies, whose seeds spread by `spread` each."""
    g = np.random.default_rng(seed)
    seeds = g.normal(0, math.sqrt(2) * spread, (n, n_seeds, 1)) if spread else np.zeros((n, n_seeds, 1))
    return seeds + g.normal(0, TASK_SD, (n, 1, n_tasks)) + g.normal(0, REST_SD, (n, n_seeds, n_tasks))


@pytest.mark.parametrize("spread", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("n_seeds", [3, 5, 10])
def test_intervals_cover_and_equals_are_seldom_called_different(n_seeds: int, spread: float) -> None:
    found = [
        crossed(table, 0.95)
        for part in range(10)
        for table in tables(250, n_seeds, spread, 1000 * part + n_seeds)
    ]
    covered = np.mean([abs(e.mean) <= e.half_width for e in found])
    assert 0.93 <= covered <= 0.97
    assert np.mean([statistics.verdict(e, e.p, 0.0, 0.95) != "undecided" for e in found]) <= 0.06


def test_over_tasks_alone_equals_are_called_different_in_three_of_ten() -> None:
    wrong = [stats.ttest_1samp(t.mean(axis=0), 0).pvalue < 0.05 for t in tables(400, 5, 0.5, 3)]
    assert 0.2 <= np.mean(wrong) <= 0.45


def test_bootstrap_covers_about_as_often() -> None:
    inside = []
    for table in tables(150, 10, 0.5, 11, n_tasks=200):
        low, high = statistics.crossed_bootstrap(table, 0.95, n_resamples=300, seed=0)
        inside.append(low <= 0 <= high)
    assert 0.88 <= np.mean(inside) <= 1.0


def test_components_are_those_of_an_analysis_of_variance() -> None:
    pd = pytest.importorskip("pandas", reason="statsmodels is the oracle")
    anova = pytest.importorskip("statsmodels.stats.anova", reason="statsmodels is the oracle")
    formula = pytest.importorskip("statsmodels.formula.api", reason="statsmodels is the oracle")
    y = tables(1, 4, 1.0, 5, n_tasks=12)[0] + 3
    rows = [(s, t, y[s, t]) for s in range(4) for t in range(12)]
    frame = pd.DataFrame(rows, columns=["seed", "task", "y"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = anova.anova_lm(formula.ols("y ~ C(seed) + C(task)", frame).fit())
    ms = table["sum_sq"] / table["df"]
    seed, task, rest = ms["C(seed)"], ms["C(task)"], ms["Residual"]
    found = crossed(y, 0.95)
    assert found.residual_sd == pytest.approx(math.sqrt(rest))
    assert found.seed_sd == pytest.approx(math.sqrt(max(seed - rest, 0) / 12))
    assert found.task_sd == pytest.approx(math.sqrt(max(task - rest, 0) / 4))
    assert found.standard_error**2 == pytest.approx((seed + max(task - rest, 0)) / 48)
    assert found.mean == pytest.approx(y.mean())


def test_the_critical_value_lies_between_the_two_classic_ones() -> None:
    y = tables(1, 3, 1.0, 8)[0]
    found = crossed(y, 0.95)
    a = y.mean(axis=1).var(ddof=1) / 3
    b = found.standard_error**2 - a
    satterthwaite = stats.t.ppf(0.975, (a + b) ** 2 / (a**2 / 2 + b**2 / 599))
    cochran = (a * stats.t.ppf(0.975, 2) + b * stats.t.ppf(0.975, 599)) / (a + b)
    assert found.half_width / found.standard_error == pytest.approx((satterthwaite + cochran) / 2)


def test_one_seed_is_students_t_over_tasks() -> None:
    y = tables(1, 1, 0.0, 4, n_tasks=30)
    found, oracle = crossed(y[0], 0.9), stats.ttest_1samp(y[0, 0], 0)
    interval = oracle.confidence_interval(0.9)
    assert (found.p, found.df) == (pytest.approx(oracle.pvalue), 29)
    assert found.half_width == pytest.approx((interval.high - interval.low) / 2)
    assert math.isnan(found.seed_sd)


@given(st.integers(2, 6), st.integers(2, 9), st.integers(0, 2**16), st.floats(0.5, 0.999))
@settings(max_examples=60, deadline=None)
def test_p_and_interval_agree(n_seeds: int, n_tasks: int, seed: int, confidence: float) -> None:
    y = np.random.default_rng(seed).normal(0.3, 1, (n_seeds, n_tasks))
    found = crossed(y, confidence)
    assert (found.p < 1 - confidence) == (abs(found.mean) > found.half_width)
    turned = crossed(-y, confidence)
    assert (turned.mean, turned.p) == (pytest.approx(-found.mean), pytest.approx(found.p))
    assert crossed(y[::-1, ::-1], confidence).half_width == pytest.approx(found.half_width)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_has_no_interval(value: float) -> None:
    found = crossed(np.array([[1.0, value]]), 0.95)
    assert found.half_width == math.inf and statistics.verdict(found, 0.0, 1.0, 0.95) == "undecided"
    assert crossed(np.array([[1.0]]), 0.95).half_width == math.inf


def test_the_same_everywhere_is_certain() -> None:
    assert crossed(np.zeros((3, 5)), 0.95).p == 1.0
    found = crossed(np.full((3, 5), 0.25), 0.95)
    assert (found.p, found.half_width) == (0.0, 0.0)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
@settings(max_examples=60, deadline=None)
def test_holm_equals_its_oracle(p_values: list[float]) -> None:
    oracle = pytest.importorskip("statsmodels.stats.multitest", reason="statsmodels is the oracle")
    assert statistics.holm(p_values) == pytest.approx(oracle.multipletests(p_values, method="holm")[1])


def test_holm_does_not_count_what_is_not_known() -> None:
    first, second, third = statistics.holm([0.01, math.nan, 0.04])
    assert (first, third) == (0.02, 0.04) and math.isnan(second)


def test_wilcoxon_leaves_zeros_out() -> None:
    d = np.array([0.1, -0.2, 0.3, 0.4, 0.5, 0.7, 0.8])
    assert statistics.wilcoxon(np.concatenate([d, np.zeros(5)])) == stats.wilcoxon(d).pvalue
    assert statistics.wilcoxon(np.zeros(4)) == 1.0 and math.isnan(statistics.wilcoxon(np.array([math.nan])))


def estimate(mean: float, error: float, df: float = 1000.0) -> Estimate:
    return Estimate(mean, 1.96 * error, error, df, 0.0, 5, 600, 0.1, 1.0, 1.0)


@pytest.mark.parametrize(
    ("mean", "error", "p", "expected"),
    [(2.0, 0.1, 0.0, "win"), (-2.0, 0.1, 0.0, "loss"), (2.0, 0.1, 0.06, "undecided"), (0.1, 0.1, 0.3, "tie"),
     (0.3, 0.05, 0.0001, "tie"), (0.45, 0.05, 0.0001, "win"), (0.1, 0.4, 0.8, "undecided"),
     (2.0, 0.1, math.nan, "undecided")],
)  # fmt: skip
def test_verdicts(mean: float, error: float, p: float, expected: str) -> None:
    assert statistics.verdict(estimate(mean, error), p, 0.5, 0.95) == expected


def test_a_tie_is_two_one_sided_tests() -> None:
    weights = pytest.importorskip("statsmodels.stats.weightstats", reason="statsmodels is the oracle")
    for seed in range(12):
        d = np.random.default_rng(seed).normal(0.25, 1.6, 120)
        p = weights.DescrStatsW(d).ttost_mean(-0.5, 0.5)[0]
        found = crossed(d[None], 0.95)
        assert (statistics.verdict(found, 1.0, 0.5, 0.95) == "tie") == (p < 0.05)


def test_ranks_are_shared_by_who_is_beaten_by_equally_many() -> None:
    assert statistics.ranks(["a", "b", "c"], {("a", "c"), ("b", "c")}) == {"a": 1, "b": 1, "c": 3}


def test_what_is_needed_is_enough() -> None:
    pilot = crossed(tables(1, 3, 0.5, 21)[0], 0.95)
    seeds, _ = statistics.needed(pilot, 0.6, 0.95)
    assert seeds is not None and seeds > 3
    truth = Estimate(0, 1, 1, 1, 1, 3, N_TASKS, math.sqrt(0.5), TASK_SD, REST_SD)
    seeds, tasks = statistics.needed(truth, 0.9, 0.95)
    assert seeds is not None and tasks is None  # no number of tasks averages three seeds away
    widths = [crossed(t, 0.95).half_width for t in tables(100, seeds, 0.5, 31)]
    assert np.median(widths) < 0.95
    _, tasks = statistics.needed(estimate_of_tasks_alone(), 0.2, 0.95)
    assert tasks is not None and abs(tasks - (1.96 * 5 / 0.2) ** 2) <= 2
    assert statistics.needed(pilot, 0.0, 0.95) == (None, None)


def estimate_of_tasks_alone() -> Estimate:
    return Estimate(0.1, 0.4, 0.2, 599, 0.5, 1, 600, math.nan, 5.0, math.nan)


@given(st.lists(st.integers(2, 7), min_size=1, max_size=5), st.integers(2, 8), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_folds_are_stratified_and_hold_everything_out_once(counts: list[int], n: int, seed: int) -> None:
    targets = np.repeat(np.arange(len(counts)), counts)
    found = statistics.folds(targets, n, seed)
    assert len(found) == min(n, *counts)
    assert sorted(itertools.chain.from_iterable(held.tolist() for _, held in found)) == list(
        range(len(targets))
    )
    for seen, held in found:
        assert not set(seen) & set(held) and len(seen) + len(held) == len(targets)
        assert set(targets[seen]) == set(targets[held]) == set(range(len(counts)))
    sizes = [len(held) for _, held in found]
    assert max(sizes) - min(sizes) <= 1


def test_folds_need_two_of_every_class() -> None:
    assert statistics.folds(np.array([0, 0, 1]), 3, 0) == []
    assert len(statistics.folds(np.zeros((6, 1)), 3, 0)) == 3 and statistics.folds(np.zeros(0), 3, 0) == []


def test_cross_validation_widens_the_interval_for_what_folds_share() -> None:
    scores, fold_of = np.array([1.0, 0, 1, 1, 0, 0, 1, 1]), np.repeat([0, 1, 2, 3], 2)
    found = statistics.cross_validated(scores, fold_of, 0.95)
    means = np.array([0.5, 1.0, 0.0, 1.0])
    error = means.std(ddof=1) * math.sqrt(1 / 4 + 2 / 6)
    assert found.mean == 0.625 and found.standard_error == pytest.approx(error)
    assert found.half_width == pytest.approx(stats.t.ppf(0.975, 3) * error)
    assert statistics.cross_validated(scores, np.zeros(8), 0.95).half_width == math.inf
