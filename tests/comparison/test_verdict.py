"""From paired differences to verdicts, ranks and winners."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from coldstart_cli.comparison.verdict import Contrast, between, by_mean, judged, starred, unbeaten, wins
from coldstart_cli.metrics import significance
from coldstart_cli.metrics.numbers import MeanInterval
from tests.kit.verdicts import at_k, pair, setting, standing


def contrast(a: str, b: str, mean: float, *, spread: float = 0.01, seed: int = 0) -> Contrast:
    """Of 40 tasks and one seed."""
    return Contrast(a, b, significance.crossed(tasks((mean, seed), spread)[None], 0.95), 0.5)


def tasks(mean_and_seed: tuple[float, int], spread: float = 0.01) -> NDArray[np.float64]:
    mean, seed = mean_and_seed
    noise = np.random.default_rng(seed).normal(0, spread, 40)
    return noise - noise.mean() + mean


def test_verdicts_ranks_and_winners_follow_from_the_contrasts() -> None:
    contrasts = [contrast("a", "b", 0.2), contrast("a", "c", 0.0), contrast("c", "b", 0.2, seed=1)]
    found = judged(["a", "c", "b"], contrasts, 0.005, 0.95)
    assert [(p.a, p.b, p.verdict) for p in found.pairs] == [
        ("a", "b", "win"), ("a", "c", "tie"), ("c", "b", "win"),
    ]  # fmt: skip
    assert found.ranks == {"a": 1, "c": 1, "b": 3} and found.winners == ["a", "c"]
    assert found.pairs[0].difference == pytest.approx(0.2) and found.pairs[0].seeds == 1


def test_p_is_corrected_over_all_pairs_of_the_table() -> None:
    contrasts = [contrast("a", "b", 0.004), contrast("a", "c", 0.005), contrast("b", "c", 0.003, seed=3)]
    p = [stats.ttest_1samp(tasks(one), 0).pvalue for one in ((0.004, 0), (0.005, 0), (0.003, 3))]
    assert p[1] < p[0] < p[2]
    found = judged(["a", "b", "c"], contrasts, 0.0, 0.95)
    second = max(3 * p[1], 2 * p[0])
    assert [pair.p_holm for pair in found.pairs] == pytest.approx([second, 3 * p[1], max(second, p[2])])
    (alone,) = judged(["a", "b"], contrasts[:1], 0.0, 0.95).pairs
    assert alone.p_holm == alone.p == pytest.approx(p[0])


@pytest.mark.parametrize(("n_seeds", "seed_sd"), [(1, 0.0), (3, 0.1), (3, 2.0)])
@pytest.mark.parametrize(
    ("m", "n_tables"),
    [(5, 200), pytest.param(10, 300, marks=pytest.mark.slow), pytest.param(39, 150, marks=pytest.mark.slow)],
)
def test_equal_contestants_are_called_different_in_at_most_5_percent_of_tables(
    m: int, n_tables: int, n_seeds: int, seed_sd: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "coldstart_cli.comparison.verdict._needed", lambda *_: (None, None)
    )  # slow, not asked
    draw = np.random.default_rng(m)
    names = [str(i) for i in range(m)]
    false = 0
    for _ in range(n_tables):
        values = (
            seed_sd * draw.standard_normal((m, n_seeds, 1))
            + 4.2 * draw.standard_normal((m, 1, 100))
            + 3.0 * draw.standard_normal((m, n_seeds, 100))
        )
        contrasts = [
            Contrast(names[a], names[b], significance.crossed(values[a] - values[b], 0.95), 0.5)
            for a, b in combinations(range(m), 2)
        ]
        false += bool(wins(judged(names, contrasts, 0.0, 0.95).pairs))
    # 2.5 standard errors of such a simulation; corrected for each contestant alone it is .09, .16 and .37
    assert false / n_tables <= 0.05 + 2.5 * math.sqrt(0.05 * 0.95 / n_tables)


def test_a_difference_that_is_not_known_decides_nothing_and_spoils_no_other() -> None:
    gone = Contrast("a", "b", significance.crossed(np.full((2, 40), np.nan), 0.95), math.nan)
    found = judged(["a", "c", "b"], [gone, contrast("a", "c", 0.2)], 0.005, 0.95)
    first, second = found.pairs
    assert (first.difference, first.p, first.p_holm, first.p_wilcoxon) == (None, None, None, None)
    assert first.verdict == "undecided" and second.verdict == "win"


def test_only_what_is_undecided_says_what_would_decide() -> None:
    decided, open_ = judged(
        ["a", "b", "c"], [contrast("a", "b", 0.2), contrast("a", "c", 0.03, spread=0.15)], 0.005, 0.95
    ).pairs
    assert (decided.seeds_needed, decided.tasks_needed) == (None, None)
    assert open_.verdict == "undecided" and (open_.seeds_needed or open_.tasks_needed)


def test_wins_are_read_from_either_side() -> None:
    pairs = [pair("a", "b", 0.1, "win"), pair("c", "d", -0.1, "loss"), pair("a", "d", 0.0, "tie")]
    assert wins(pairs) == {("a", "b"), ("d", "c")}


def test_a_pair_is_seen_from_either_side() -> None:
    seen = between([pair("a", "b", 0.03, "win")], "b", "a")
    assert (seen.a, seen.b) == ("b", "a")
    assert (seen.difference, seen.verdict, seen.half_width) == (-0.03, "loss", 0.008)
    assert between([pair("a", "b", 0.03, "tie")], "b", "a").verdict == "tie"
    with pytest.raises(KeyError):
        between([], "a", "b")


def test_winners_are_those_that_nobody_beats_and_in_a_circle_the_first() -> None:
    assert unbeaten(["a", "b", "c"], {("a", "c")}) == ["a", "b"]
    assert unbeaten(["a", "b", "c"], {("b", "c"), ("a", "c")}) == ["a", "b"]
    assert unbeaten(["a", "b", "c"], {("a", "b"), ("b", "c"), ("c", "a")}) == ["a"]
    assert unbeaten(["a", "b"], {("z", "a")}) == ["a", "b"]  # who is not asked about beats nobody


def test_by_mean_puts_the_diverged_last() -> None:
    rows = {"a": standing(None), "b": standing(0.2), "c": standing(0.3)}
    assert by_mean(rows, True) == ["c", "b", "a"] and by_mean(rows, False) == ["b", "c", "a"]


def test_what_cannot_be_told_from_scratch_has_no_star() -> None:
    gains = {"a": MeanInterval(0.05, 0.01), "b": MeanInterval(0.01, 0.02), "scratch": None}
    results = {name: standing(0.9, gain=gain) for name, gain in gains.items()}
    at = replace(at_k({}, [], list(gains)), results=results)
    assert starred(setting({1: at}), at) == ["a"]
    alone = replace(at, winners=["scratch"])
    assert starred(setting({1: alone}), alone) == ["scratch"]


def test_winners_without_scratch_beside_them_keep_their_stars() -> None:
    at = at_k({"a": 0.9, "b": 0.9}, [], ["a", "b"])
    assert starred(setting({1: at}), at) == ["a", "b"]
