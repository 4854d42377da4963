"""The classes of a split: which examples each has, and how many of them a task may use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coldstart_cli.core.tasks import Split, TaskShape, Validation
from coldstart_cli.datasets.episodes.shapes import no_task

_DENSE_CHUNK = 1 << 18
"""Ids of a dense row that a digest sees at once: a megabyte."""


@dataclass(frozen=True, slots=True, eq=False)
class ClassTable:
    """The classes of one split and their examples, one class after another: memory is linear in examples.

    Attributes:
        ids: (n,) int32 example ids, class by class.
        sizes: (n_classes,) examples of each class.
        groups: (n,) int16 group of each example of `ids`, in [0, n_groups), or None. A task's support and
            query never share a group.
        n_groups: groups of the split, 0 without.
        quarter_turns: (n_classes,) int64 counter-clockwise turns by 90 degrees that make the class
            out of its images, or None.
        room: (support and unlabelled, query) examples of the poorest class, however groups fall.
            Without groups both draw on the same examples: the two numbers are equal, and shared.
        origins: (n_classes,) where each class comes from (alphabet, script), or empty: the groups that a
            strategy may choose its source from.
        names: (n_classes,) of the classes, one name for one class in every split; or empty.
        labels: (n_classes,) the label of each class, where classes of several origins share their labels
            (walking of one person, and of another); None where each class is a label of its own.
        label_names: of the labels, in their order; the same in every split.
        clusters: (n_classes,) the person, site or speaker that every example of the class comes from
            (`Task.origin`), where that is coarser than `origins`; or empty.
        starts: (n_classes,) where the examples of each class begin in `ids`.
        widest: examples of the largest class.
    """

    ids: NDArray[np.int32]
    sizes: NDArray[np.int64]
    groups: NDArray[np.int16] | None
    n_groups: int
    quarter_turns: NDArray[np.int64] | None
    room: tuple[int, int]
    origins: tuple[str, ...]
    names: tuple[str, ...] = ()
    labels: NDArray[np.int64] | None = None
    label_names: tuple[str, ...] = ()
    clusters: tuple[str, ...] = ()
    starts: NDArray[np.int64] = field(init=False)
    widest: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "starts", np.cumsum(self.sizes) - self.sizes)  # it is frozen
        object.__setattr__(self, "widest", int(self.sizes.max(initial=0)))

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def n_support_groups(self) -> int:
        """Groups on the support side of a task: half, rounded down (queries are more in number)."""
        return self.n_groups // 2

    def cluster(self, number: int) -> str | None:
        """The person, site or speaker that a task of this class comes from, or None where it is not known."""
        of = self.clusters or self.origins
        return of[number] if of else None

    def members(self, number: int) -> NDArray[np.int32]:
        """The example ids of one class."""
        start = int(self.starts[number])
        return self.ids[start : start + int(self.sizes[number])]

    @property
    def n_labels(self) -> int:
        """Classes of the pooled problem."""
        return len(self) if self.labels is None else len(self.label_names)

    @property
    def label_of(self) -> NDArray[np.int64]:
        """(n_classes,) the class of the pooled problem that each class is."""
        return np.arange(len(self)) if self.labels is None else self.labels

    def flat(self) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int64] | None]:
        """(n,) example ids, their labels and quarter turns, class by class."""
        labels = np.repeat(self.label_of.astype(np.int32), self.sizes)
        turns = None if self.quarter_turns is None else np.repeat(self.quarter_turns, self.sizes)
        return self.ids, labels, turns

    def dense_parts(self, values: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """Values of each example as rows (n_classes, widest) filled up with their first, chunk by chunk.

        Digests that name runs and task banks were first taken over such a table; written out, one large
        class would make it many times as large as the data.
        """
        for start, size in zip(self.starts.tolist(), self.sizes.tolist(), strict=True):
            yield values[start : start + size]
            left = self.widest - size
            padding = np.full(min(left, _DENSE_CHUNK), values[start], values.dtype)
            for at in range(0, left, _DENSE_CHUNK):
                yield padding[: left - at]


def class_table(
    classes: Sequence[Sequence[int] | NDArray[np.integer]],
    *,
    group_of: Sequence[int] | None,
    quarter_turns: Sequence[int] | None,
    origins: Sequence[str],
    names: Sequence[str] = (),
    labels: Sequence[int] | None = None,
    label_names: Sequence[str] = (),
    clusters: Sequence[str] = (),
) -> ClassTable:
    """Makes a table from the example ids of each class.

    Args:
        classes: example ids of each class; the place in this list is the class id.
        group_of: the group of every example of the data set, by example id, or None.
        quarter_turns: of each class, or None.
        origins: of each class, or empty.
        names: of each class, or empty.
        labels, label_names, clusters: see `ClassTable`.
    """
    sizes = np.array([len(ids) for ids in classes], dtype=np.int64)
    flat = np.concatenate([np.asarray(ids, dtype=np.int32) for ids in classes])
    least = int(sizes.min())
    groups: NDArray[np.int16] | None = None
    n_groups, room = 0, (least, least)
    if group_of is not None:
        present, of_group = np.unique(np.asarray(group_of)[flat], return_inverse=True)
        groups, n_groups = of_group.reshape(-1).astype(np.int16), len(present)
        room = _room_beside_groups(groups, sizes, n_groups)
    turns = None if quarter_turns is None else np.asarray(quarter_turns, dtype=np.int64)
    numbered = None if labels is None else np.asarray(labels, dtype=np.int64)
    return ClassTable(
        flat,
        sizes,
        groups,
        n_groups,
        turns,
        room,
        tuple(origins),
        tuple(names),
        numbered,
        tuple(label_names),
        tuple(clusters),
    )


def _room_beside_groups(
    groups: NDArray[np.int16], sizes: NDArray[np.int64], n_groups: int
) -> tuple[int, int]:
    """`ClassTable.room`: what the groups with the fewest examples of a class leave on either side."""
    counts = np.zeros((len(sizes), n_groups), dtype=np.int64)
    np.add.at(counts, (np.repeat(np.arange(len(sizes)), sizes), groups), 1)
    poorest_first = np.sort(counts, axis=1)
    n_support = n_groups // 2
    support = poorest_first[:, :n_support].sum(axis=1).min()
    query = poorest_first[:, : n_groups - n_support].sum(axis=1).min()
    return int(support), int(query)


def validation_of(splits: Mapping[Split, object], *, unshifted: bool) -> Validation:
    """`TaskSource.validation` of a data set with these splits."""
    if "validation" not in splits:
        return "none"
    return "unshifted" if unshifted else "as_new"


def queries_left(table: ClassTable, shape: TaskShape) -> int:
    """The queries a class that the table has room for beside support and unlabelled; may be < 1."""
    support, query = table.room
    wanted = shape.k_shot + shape.n_unlabelled
    if table.groups is None:
        return query - wanted
    return query if wanted <= support else 0


def class_shortage(where: str, table: ClassTable, shape: TaskShape) -> str | None:
    """Why the shape is no task, or has more classes than the table; or None. `where` as in `shortage`."""
    name, _, split = where.partition("/")
    if shape.n_way is None or shape.n_way < 2:
        return f"{name}: tasks need two classes or more; set n_way to 2 or more"
    if shape.n_way > len(table):
        has = f"which has {len(table)}; lower n_way"
        return f"{name}: {shape.n_way}-way tasks need {shape.n_way} classes on {split}, {has}"
    return no_task(name, shape)


def shortage(where: str, table: ClassTable, shape: TaskShape) -> str | None:
    """Why the table cannot serve the shape, or None; `where` is "data set/split", for the message."""
    name, _, split = where.partition("/")
    reason = class_shortage(where, table, shape)
    if reason is not None:
        return reason
    if queries_left(table, shape) >= shape.n_query:
        return None
    parts = [str(shape.k_shot), str(shape.n_query)]
    parts += [str(shape.n_unlabelled)] if shape.n_unlabelled else []
    support, query = table.room
    holds = f"the class holds {support}"
    if table.groups is not None:
        holds = f"the class holds {support} for support and {query} for query (no group serves both)"
    unlabelled = ", n_unlabelled" if shape.n_unlabelled else ""
    return (
        f"{name}: {shape.n_way}-way tasks need {' + '.join(parts)} examples a class on {split}, {holds}; "
        f"lower k_shot{unlabelled} or n_query"
    )
