"""Nested parts of the labels, and the curve over them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldstart_cli.choosing.learning_curve import Point, foretold, parts, sizes_of
from coldstart_cli.choosing.requests import choose
from tests.choosing.conftest import TABLE, write_table


@given(st.lists(st.integers(2, 12), min_size=2, max_size=5), st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_parts_are_nested_and_divide_no_group(counts: list[int], together: int, seed: int) -> None:
    targets = np.repeat(np.arange(len(counts)), counts)
    groups = np.arange(len(targets)) // together  # some groups have examples of two classes
    seen, judges = parts(targets, groups, [0.3, 0.6], np.random.default_rng(seed))
    assert set(seen[0]) <= set(seen[1]) and not set(seen[1]) & set(judges)
    assert not set(groups[judges]) & set(groups[seen[1]])
    for part in seen:
        assert set(targets[part]) == set(range(len(counts)))


def test_sizes_leave_labels_to_judge_by() -> None:
    assert sizes_of(np.array([2, 2])) == []
    assert sizes_of(np.array([4, 4])) == [0.25, 0.5, 0.75]
    found = sizes_of(np.array([3, 40, 100]))
    assert found[0] == 1 / 40 and found[-1] == 0.75 and len(found) == 6


def test_a_curve_needs_two_points() -> None:
    assert foretold("x", [Point(1, 0.5)], 4, 2, 0.5) is None
    found = foretold("x", [Point(1, 0.5), Point(2, 0.6), Point(3, 0.65)], 40, 4, 0.68)
    assert found is not None and [gain.k for gain in found.gains] == [9]
    assert list(found.needed) == ["0.7"] and 4 < found.needed["0.7"] < 8  # 80 % is too far away


def test_more_labels_are_foretold_from_those_there_are(here: Path) -> None:
    write_table(Path("table.csv"), 8, 0.9)
    verdict, _ = choose([*TABLE, "candidates=[ridge]", "bundle=b"], [])
    more = verdict.more
    assert more is not None and more.of == verdict.winner
    assert [round(point.k, 6) for point in more.points] == [1, 2, 3, 4, 6]
    assert more.points[0].share < more.points[-1].share + 0.1
    assert [gain.k for gain in more.gains] == [13, 16] and more.gains[0].low < more.gains[0].high


@pytest.mark.parametrize("n", [1, 2])
def test_too_few_labels_say_nothing_of_more(here: Path, n: int) -> None:
    write_table(Path("table.csv"), n, 0.4)
    verdict, _ = choose([*TABLE, "candidates=[ridge]", "bundle=b"], [])
    assert verdict.more is None
