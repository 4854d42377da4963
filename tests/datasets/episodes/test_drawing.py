from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coldstart_cli.core.tasks import TaskShape
from coldstart_cli.datasets.episodes.classes import ClassTable, class_table
from coldstart_cli.datasets.episodes.counter import task_keys
from coldstart_cli.datasets.episodes.drawing import (
    draw,
    drawn_classes,
    largest_task,
    origin_shortage,
    reserve_shortage,
)

GOLD: dict[str, object] = {
    "classes": [[0, 1], [2, 0]],
    "support": [[[2], [6]], [[17], [0]]],
    "query": [[[1, 5], [7, 11]], [[16, 13], [3, 4]]],
    "unlabelled": [[[3], [9]], [[15], [2]]],
}
SIZES = st.lists(st.integers(3, 30), min_size=2, max_size=8)


def table(sizes: list[int], origins: tuple[str, ...] = ()) -> ClassTable:
    ends = np.cumsum(sizes).tolist()
    ids = [list(range(end - size, end)) for end, size in zip(ends, sizes, strict=True)]
    return class_table(ids, group_of=None, quarter_turns=None, origins=origins)


def test_draws_are_those_of_the_first_version() -> None:
    """Ids that were drawn before classes could differ in their queries: banks of tasks stay what they are."""
    known = table([6, 7, 5])
    keys = task_keys(3, "new", [0, 11])
    classes = drawn_classes(known, keys, 2, one_origin=False)
    parts = draw(known, classes, keys, TaskShape(2, 1, 2, 1), None)
    assert classes.tolist() == GOLD["classes"]
    assert parts.support.tolist() == GOLD["support"] and parts.query.tolist() == GOLD["query"]
    assert parts.unlabelled.tolist() == GOLD["unlabelled"] and parts.asked is None


@settings(deadline=None, max_examples=60)
@given(SIZES, st.integers(1, 2), st.integers(0, 1), st.integers(1, 40), st.integers(0, 10**6))
def test_unequal_classes_have_disjoint_parts_and_queries_that_k_does_not_move(
    sizes: list[int], k: int, free: int, n_query: int, index: int
) -> None:
    known, keys = table(sizes), task_keys(0, "new", [index])
    shape = TaskShape(2, k, n_query, free)
    if reserve_shortage("x/new", known, shape, 2) is not None:
        assert k + free > max(2, min(sizes) - n_query)
        return
    classes = drawn_classes(known, keys, 2, one_origin=False)
    parts = draw(known, classes, keys, shape, 2)
    fewer = draw(known, classes, keys, TaskShape(2, 1, n_query, 0), 2)
    for number, of_class in enumerate(classes[0].tolist()):
        asked = np.ones(parts.query.shape, bool) if parts.asked is None else parts.asked
        query = parts.query[0, number][asked[0, number]].tolist()
        everything = query + parts.support[0, number].tolist() + parts.unlabelled[0, number].tolist()
        assert len(set(everything)) == len(everything)
        members = known.members(of_class).tolist()
        assert set(everything) <= set(members)
        assert 1 <= len(query) <= n_query
        asked = np.ones(fewer.query.shape, bool) if fewer.asked is None else fewer.asked
        assert fewer.query[0, number][asked[0, number]].tolist() == query
        assert fewer.support[0, number, 0] == parts.support[0, number, 0]


def test_classes_of_a_task_have_one_origin_and_all_that_are_rich_enough_occur() -> None:
    origins = ("a",) * 3 + ("b",) * 2 + ("c",) * 4
    known = table([4] * 9, origins)
    classes = drawn_classes(known, task_keys(0, "new", range(400)), 3, one_origin=True)
    of = np.array(origins)[classes]
    assert (of == of[:, :1]).all() and set(of[:, 0]) == {"a", "c"}
    assert all(len(set(row)) == 3 for row in classes.tolist())
    assert {row for row in map(frozenset, classes.tolist()) if 5 in row or 6 in row} == {
        frozenset(c) for c in ([5, 6, 7], [5, 6, 8], [5, 7, 8], [6, 7, 8])
    }
    assert largest_task(known) == 4
    assert origin_shortage("x/new", known, TaskShape(4, 1, 1, 0)) is None
    assert origin_shortage("x/new", known, TaskShape(5, 1, 1, 0)) == (
        "x: 5-way tasks need 5 classes of one task on new, the richest has 4; lower n_way"
    )


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        (TaskShape(None, 1, 1, 0), "set n_way"),
        (TaskShape(2, 1, 0, 0), "is not a task"),
        (TaskShape(3, 1, 1, 0), "3-way tasks need 3 classes on new, which has 2; lower n_way"),
        (TaskShape(2, 5, 9, 0), r"5 examples a class .* classes have 5 .*dataset.min_examples=6"),
    ],
)
def test_shapes_beyond_unequal_classes_are_refused(shape: TaskShape, reason: str) -> None:
    said = reserve_shortage("x/new", table([5, 30]), shape, 1)
    assert said is not None and re.search(reason, said)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(12, 60), min_size=2, max_size=5), st.integers(1, 3), st.integers(0, 9))
def test_draws_that_keep_the_prior_are_equally_many_and_apart(
    sizes: list[int], free: int, index: int
) -> None:
    known, shape = table(sizes), TaskShape(2, 2, 4, free)
    keys = task_keys(0, "new", [index, index + 1])
    classes = drawn_classes(known, keys, 2, one_origin=False)
    parts = draw(known, classes, keys, shape, 2 + free, keep_prior=True)
    assert parts.free is not None
    for task in range(2):
        unlabelled = parts.unlabelled[task][parts.free[task]].tolist()
        query = parts.query[task] if parts.asked is None else parts.query[task][parts.asked[task]]
        other = [*parts.support[task].ravel().tolist(), *query.ravel().tolist()]
        assert len(set(unlabelled)) == len(unlabelled) == 2 * free
        assert not set(unlabelled) & set(other)


def test_draws_keep_the_prior_of_classes_of_unequal_size() -> None:
    known, shape = table([300, 30]), TaskShape(2, 1, 5, 5)
    keys = task_keys(0, "new", range(200))
    classes = drawn_classes(known, keys, 2, one_origin=False)
    parts = draw(known, classes, keys, shape, 6, keep_prior=True)
    assert parts.free is not None
    common = parts.free.sum(axis=-1)[classes == 0].mean() / 10
    # A class has min(5, size - kept) queries, 1 support example and 25 kept: what is left is 294 to 24.
    assert common == pytest.approx(294 / (294 + 24), abs=0.02)
