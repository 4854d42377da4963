"""What a task draws: its classes, and the examples of each class for support, query and unlabelled."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from coldstart_cli.core.tasks import TaskShape
from coldstart_cli.datasets.episodes.classes import ClassTable, class_shortage
from coldstart_cli.datasets.episodes.counter import Ids, Words, distinct, order, words, words_from

# Streams of the counter: every kind of choice has its own, so that none moves another.
_CLASSES, _GROUPS, _EXAMPLES, UNLABELLED, SUPPORT_SEED, _ORIGIN, _OF_ORIGIN, _PRIOR = range(8)
_TOP_BIT = np.uint64(1 << 63)
_LAST = np.uint64(2**64 - 1)
_AT_ONCE = 1 << 20
"""Random words that are sorted in one call: 8 MiB."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Example ids of a batch of tasks: (n_tasks, n_way, k_shot | n_query | n_unlabelled).

    `asked` (n_tasks, n_way, n_query) says which of the queries are, where small classes have fewer; `known`
    (n_tasks, n_way, k_shot) which of the support, where tasks are unequal; `free` (n_tasks, n_way, widest)
    which of the unlabelled, equally many in each task, where they keep the prior.
    """

    support: NDArray[np.int32]
    query: NDArray[np.int32]
    unlabelled: NDArray[np.int32]
    asked: NDArray[np.bool_] | None
    known: NDArray[np.bool_] | None = None
    free: NDArray[np.bool_] | None = None


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


def unlabelled_left(table: ClassTable, shape: TaskShape, reserved: int) -> int:
    """Unlabelled examples a class that its reserve has room for beside the support; may be < 1."""
    return _reserve(table, shape.n_query, reserved) - shape.k_shot


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


def draw(
    table: ClassTable,
    classes: Ids,
    keys: Words,
    shape: TaskShape,
    reserved: int | None,
    *,
    keep_prior: bool = False,
) -> Parts:
    """Example ids of each task. classes (n_tasks, n_way).

    keep_prior: the n_way * n_unlabelled unlabelled examples are drawn from all that is left of the classes,
    a common class more often than a rare one, as whoever collects unlabelled examples meets them.
    """
    sizes = table.sizes[classes]
    queries = np.full_like(sizes, shape.n_query)
    if reserved is not None:
        queries = np.minimum(queries, sizes - _reserve(table, shape.n_query, reserved))
    free = None
    if keep_prior and shape.n_unlabelled:
        drawn = _by_prior(sizes - queries - shape.k_shot, keys, classes.shape[1] * shape.n_unlabelled)
        shape = replace(shape, n_unlabelled=int(drawn.max()))
        free = np.arange(shape.n_unlabelled) < drawn[..., None]
    query, unlabelled, support = _parts(table, classes, keys, shape, queries)
    asked = np.arange(query.shape[-1]) < queries[..., None]
    return Parts(support, query, unlabelled, None if asked.all() else asked, free=free)


def _by_prior(left: Ids, keys: Words, n: int) -> Ids:
    """Of n examples drawn from what is `left` (n_tasks, n_way), not put back: how many of each class."""
    left, drawn = left.copy(), np.zeros_like(left)
    tasks = np.arange(len(left))
    for word in words(keys, _PRIOR, n).T:
        at = (word % left.sum(axis=1).astype(np.uint64)).astype(np.int64)
        of_class = (left.cumsum(axis=1) <= at[:, None]).sum(axis=1)
        drawn[tasks, of_class] += 1
        left[tasks, of_class] -= 1
    return drawn


def unequal_shortage(where: str, table: ClassTable, shape: TaskShape, *, one_origin: bool) -> str | None:
    """Why the table cannot serve unequal tasks of the shape at most, or None; `where` as above."""
    name, _, split = where.partition("/")
    if shape.n_unlabelled:
        return f"{name}: unequal tasks have no unlabelled examples; set n_unlabelled=0 or unequal=false"
    most = largest_task(table) if one_origin else len(table)
    if most < 2:
        return f"{name}: no task on {split} has two classes with a label and a query each; give more examples"
    return class_shortage(where, table, replace(shape, n_way=min(most, int(shape.n_way or 0))))


def draw_unequal(table: ClassTable, classes: Ids, counts: Ids, keys: Words, shape: TaskShape) -> Parts:
    """Example ids of tasks that have the first `counts` (n_tasks,) of their `classes` (n_tasks, n_way).

    Half of a class is queries, n_query at most, whatever k is; the rest is support, k_shot at most.
    """
    sizes = table.sizes[classes]
    queries = np.clip(sizes // 2, 1, shape.n_query)
    shots = np.minimum(shape.k_shot, sizes - queries)
    there = (np.arange(classes.shape[1]) < counts[:, None])[..., None]
    query, unlabelled, support = _parts(table, classes, keys, replace(shape, n_unlabelled=0), queries)
    return Parts(
        support,
        query,
        unlabelled,
        asked=there & (np.arange(query.shape[-1]) < queries[..., None]),
        known=there & (np.arange(shape.k_shot) < shots[..., None]),
    )


def _parts(
    table: ClassTable, classes: Ids, keys: Words, shape: TaskShape, queries: Ids
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """Query, unlabelled and support ids, (n_tasks, n_way, .) each, of one random order of each class.

    Queries are its front, unlabelled examples stand behind the `queries` (n_tasks, n_way) of the class (with
    groups, at the front of the support side), the support is its back. Where a class ends too soon, its first
    example fills up.
    """
    n_query = min(shape.n_query, table.widest)
    widths = np.cumsum([n_query, shape.n_unlabelled])
    found = np.empty((classes.size, n_query + shape.n_unlabelled + shape.k_shot), dtype=np.int32)
    of_task, of_way = np.divmod(np.arange(classes.size), classes.shape[1])
    flat, queries = classes.reshape(-1), queries.reshape(-1)
    all_sizes, starts = table.sizes[flat], table.starts[flat]
    sides = None if table.groups is None else _support_groups(table, keys)
    for block in _blocks(all_sizes):
        sizes, start = all_sizes[block, None], starts[block, None]
        column = np.arange(int(sizes.max()))
        # The word of an example is that of a table as wide as the largest class: tasks stay what they were.
        first = of_way[block] * table.widest
        priorities = words_from(keys[of_task[block]], _EXAMPLES, first, len(column))
        unlabelled = queries[block, None]
        if sides is not None and table.groups is not None:
            groups = table.groups[start + np.minimum(column, sizes - 1)]
            support = sides[of_task[block, None], groups] & (column < sizes)
            # The top bit sends the examples of the support side behind those of the query side.
            priorities = (priorities & ~_TOP_BIT) | (support.astype(np.uint64) << np.uint64(63))
            unlabelled = sizes - support.sum(axis=1, keepdims=True)
        if int(sizes.min()) < len(column):
            priorities = np.where(column < sizes, priorities, _LAST)
        places = np.concatenate(
            [
                np.broadcast_to(np.arange(n_query), (len(block), n_query)),
                unlabelled + np.arange(shape.n_unlabelled),
                np.maximum(sizes - 1 - np.arange(shape.k_shot), 0),
            ],
            axis=1,
        )
        ranked = order(priorities, table.widest)
        at = np.take_along_axis(ranked, np.minimum(places, len(column) - 1), axis=1)
        found[block] = table.ids[start + np.where(places < sizes, at, 0)]
    query, free, support_ids = np.split(found.reshape(*classes.shape, -1), widths, axis=-1)
    return query, free, support_ids


def _blocks(sizes: Ids) -> Iterator[Ids]:
    """Numbers of classes to be shuffled in one call: as wide as the largest of them, and of bounded size.

    Sorted by size, so that one large class does not make all small ones as wide as itself.
    """
    if len(sizes) * int(sizes.max(initial=0)) <= _AT_ONCE:
        yield np.arange(len(sizes))
        return
    largest_first, at = np.argsort(-sizes, kind="stable"), 0
    while at < len(sizes):
        n = max(1, _AT_ONCE // int(sizes[largest_first[at]]))
        yield largest_first[at : at + n]
        at += n


def _support_groups(table: ClassTable, keys: Words) -> NDArray[np.bool_]:
    """(n_tasks, n_groups): whether a group is on the support side; groups are drawn by task."""
    ranked = order(words(keys, _GROUPS, table.n_groups))
    chosen = np.zeros((len(keys), table.n_groups), dtype=np.bool_)
    np.put_along_axis(chosen, ranked[:, : table.n_support_groups], True, axis=1)
    return chosen
