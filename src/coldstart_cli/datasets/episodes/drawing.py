"""What a task draws: its classes, and the examples of each class for support, query and unlabelled."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from coldstart_cli.core.tasks import TaskShape
from coldstart_cli.datasets.episodes.classes import ClassTable, class_shortage
from coldstart_cli.datasets.episodes.counter import Ids, Words, distinct, order, words

# Streams of the counter: every kind of choice has its own, so that none moves another.
_CLASSES, _GROUPS, _EXAMPLES, UNLABELLED, SUPPORT_SEED, _ORIGIN, _OF_ORIGIN = range(7)
_TOP_BIT = np.uint64(1 << 63)
_LAST = np.uint64(2**64 - 1)


@dataclass(frozen=True, slots=True)
class Parts:
    """Example ids of a batch of tasks: (n_tasks, n_way, k_shot | n_query | n_unlabelled).

    `asked` (n_tasks, n_way, n_query) says which of the queries are, where small classes have fewer; `known`
    (n_tasks, n_way, k_shot) which of the support, where tasks are unequal.
    """

    support: NDArray[np.int32]
    query: NDArray[np.int32]
    unlabelled: NDArray[np.int32]
    asked: NDArray[np.bool_] | None
    known: NDArray[np.bool_] | None = None


def drawn_classes(table: ClassTable, keys: Words, n_way: int, *, one_origin: bool) -> Ids:
    """Different classes of each task, (n_tasks, n_way); all of one origin where that is asked."""
    if not one_origin:
        return distinct(keys, _CLASSES, n_way, len(table))
    return _of_one_origin(table, keys, n_way, n_way)[0]


def drawn_unequal(table: ClassTable, keys: Words, n_way: int, *, one_origin: bool) -> tuple[Ids, Ids]:
    """Classes (n_tasks, n_way or fewer) as in `drawn_classes`, and how many of each row are the task's.

    As many (n_tasks,) as their origin has, n_way at most.
    """
    if one_origin:
        classes, counts = _of_one_origin(table, keys, 2, n_way)
        return classes, np.minimum(counts, n_way)
    n_way = min(n_way, len(table))
    return distinct(keys, _CLASSES, n_way, len(table)), np.full(len(keys), n_way)


def _of_one_origin(table: ClassTable, keys: Words, least: int, most: int) -> tuple[Ids, Ids]:
    """`most` classes of an origin that has `least`, and how many the origin has."""
    of_origin, counts = _by_origin(table)
    rich = np.flatnonzero(counts >= least)
    chosen = rich[(words(keys, _ORIGIN, 1)[:, 0] % np.uint64(len(rich))).astype(np.int64)]
    priorities = words(keys, _OF_ORIGIN, of_origin.shape[1])
    priorities = np.where(np.arange(of_origin.shape[1]) < counts[chosen][:, None], priorities, _LAST)
    return np.take_along_axis(of_origin[chosen], order(priorities)[:, :most], axis=1), counts[chosen]


def _by_origin(table: ClassTable) -> tuple[Ids, Ids]:
    """Classes of each origin (n_origins, widest), each row filled up with 0, and their numbers."""
    _, numbered = np.unique(np.array(table.origins), return_inverse=True)
    counts = np.bincount(numbered)
    classes = np.zeros((len(counts), int(counts.max())), dtype=np.int64)
    classes[np.arange(classes.shape[1]) < counts[:, None]] = np.argsort(numbered, kind="stable")
    return classes, counts


def largest_task(table: ClassTable) -> int:
    """Classes of the origin that has most."""
    return int(_by_origin(table)[1].max())


def origin_shortage(where: str, table: ClassTable, shape: TaskShape) -> str | None:
    """Why no origin has classes enough, or None; `where` is "data set/split"."""
    name, _, split = where.partition("/")
    most = largest_task(table)
    if shape.n_way is None or shape.n_way <= most:
        return None
    return (
        f"{name}: {shape.n_way}-way tasks need {shape.n_way} classes of one task on {split}, the richest has "
        f"{most}; lower n_way"
    )


def _reserve(table: ClassTable, n_query: int, reserved: int) -> int:
    """Examples of each class that no query takes.

    They depend on the number of queries but not on k, so that tasks over k share their queries; beyond what
    is asked, as many as the smallest class can give without losing a query.
    """
    return max(reserved, int(table.sizes.min()) - n_query)


def reserve_shortage(where: str, table: ClassTable, shape: TaskShape, reserved: int) -> str | None:
    """Why classes of unequal size cannot serve the shape, or None; `where` is "data set/split"."""
    name, _, split = where.partition("/")
    reason = class_shortage(where, table, shape)
    if reason is not None:
        return reason
    wanted, kept = shape.k_shot + shape.n_unlabelled, _reserve(table, shape.n_query, reserved)
    if wanted <= kept:
        return None
    return (
        f"{name}: {wanted} examples a class for support and unlabelled are too many on {split}, where "
        f"classes have {table.sizes.min()} and more; lower k_shot, or leave small classes out "
        f"(dataset.min_examples={wanted + 1})"
    )


def draw(table: ClassTable, classes: Ids, keys: Words, shape: TaskShape, reserved: int | None) -> Parts:
    """Example ids of each task. classes (n_tasks, n_way)."""
    members, sizes = table.members[classes], table.sizes[classes]
    priorities = words(keys, _EXAMPLES, *members.shape[1:])
    queries = np.full_like(sizes, shape.n_query)
    if reserved is not None:
        queries = np.minimum(queries, sizes - _reserve(table, shape.n_query, reserved))
    first_unlabelled = queries
    if table.groups is not None:
        supports = _support_side(table, classes, keys)
        # The top bit sends the examples of the support side behind those of the query side.
        priorities = (priorities & ~_TOP_BIT) | (supports.astype(np.uint64) << np.uint64(63))
        first_unlabelled = sizes - supports.sum(axis=-1)
    if int(table.sizes.min()) < members.shape[-1]:
        priorities = np.where(np.arange(members.shape[-1]) < sizes[..., None], priorities, _LAST)
    shuffled: NDArray[np.int32] = np.take_along_axis(members, order(priorities), axis=-1)
    back = sizes[..., None] - 1 - np.arange(shape.k_shot)
    between = first_unlabelled[..., None] + np.arange(shape.n_unlabelled)
    query = shuffled[..., : shape.n_query]
    asked = np.arange(query.shape[-1]) < queries[..., None]
    return Parts(
        support=np.take_along_axis(shuffled, back, axis=-1),
        query=query,
        unlabelled=np.take_along_axis(shuffled, between, axis=-1),
        asked=None if asked.all() else asked,
    )


def unequal_shortage(where: str, table: ClassTable, shape: TaskShape, *, one_origin: bool) -> str | None:
    """Why the table cannot serve unequal tasks of the shape at most, or None; `where` as above."""
    name = where.partition("/")[0]
    if shape.n_unlabelled:
        return f"{name}: unequal tasks have no unlabelled examples; set n_unlabelled=0 or unequal=false"
    most = largest_task(table) if one_origin else len(table)
    return class_shortage(where, table, replace(shape, n_way=min(most, int(shape.n_way or 0))))


def draw_unequal(table: ClassTable, classes: Ids, counts: Ids, keys: Words, shape: TaskShape) -> Parts:
    """Example ids of tasks that have the first `counts` (n_tasks,) of their `classes` (n_tasks, n_way).

    Half of a class is queries, n_query at most, whatever k is; the rest is support, k_shot at most.
    """
    members, sizes = table.members[classes], table.sizes[classes]
    priorities = words(keys, _EXAMPLES, *members.shape[1:])
    priorities = np.where(np.arange(members.shape[-1]) < sizes[..., None], priorities, _LAST)
    shuffled: NDArray[np.int32] = np.take_along_axis(members, order(priorities), axis=-1)
    queries = np.clip(sizes // 2, 1, shape.n_query)
    shots = np.minimum(shape.k_shot, sizes - queries)
    back = np.maximum(sizes[..., None] - 1 - np.arange(shape.k_shot), 0)
    there = (np.arange(classes.shape[1]) < counts[:, None])[..., None]
    query = shuffled[..., : shape.n_query]
    return Parts(
        support=np.take_along_axis(shuffled, back, axis=-1),
        query=query,
        unlabelled=shuffled[..., :0],
        asked=there & (np.arange(query.shape[-1]) < queries[..., None]),
        known=there & (np.arange(shape.k_shot) < shots[..., None]),
    )


def _support_side(table: ClassTable, classes: Ids, keys: Words) -> NDArray[np.bool_]:
    """Whether each example is on the support side, (n_tasks, n_way, widest); groups are drawn by task."""
    assert table.groups is not None
    ranked = order(words(keys, _GROUPS, table.n_groups))
    chosen = np.zeros((len(keys), table.n_groups), dtype=np.bool_)
    np.put_along_axis(chosen, ranked[:, : table.n_support_groups], True, axis=1)
    groups = table.groups[classes]
    side = np.take_along_axis(chosen, groups.reshape(len(keys), -1).astype(np.int64), axis=1)
    return side.reshape(groups.shape) & table.filled()[classes]
