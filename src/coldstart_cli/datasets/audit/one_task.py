"""What is to be known of one labelled task before it is adapted to: duplicates, conflicts, sizes of classes.

Benchmarks are audited for leaks between splits (`audit`). One task has no splits: what misleads there are
examples that say the same, which an estimate by cross-validation takes for independent ones.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coldstart_cli.datasets.audit.findings import FIRST, counted
from coldstart_cli.datasets.own.labelled import Labelled
from coldstart_cli.datasets.readers.equality import equal_groups

FEW = 5
"""Labels of a class below which its own accuracy cannot be told."""
_NAMED = 5


@dataclass(frozen=True, slots=True)
class Observation:
    """One thing that was looked for.

    Attributes:
        check: what.
        n_found: how often it is there.
        first: up to `FIRST` of them, one line each.
        note: what follows from it.
    """

    check: str
    n_found: int
    first: tuple[str, ...]
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskAudit:
    """What is to be known of one task, as `data check --adapt --json` prints it.

    Attributes:
        name, root: of the data set's config.
        fingerprint: of the data's content.
        facts: how many examples and classes there are, in words.
        remarks: what was guessed or left aside in reading, a line each.
        unreadable: what could not be read, a line each.
        n_found: of all observations and all that could not be read.
    """

    name: str
    root: str | None
    fingerprint: str
    facts: str
    observations: Sequence[Observation]
    remarks: Sequence[str]
    unreadable: Sequence[str]
    n_found: int


def observations(labelled: Labelled) -> list[Observation]:
    """All that is looked for in one task."""
    exact = equal_groups(labelled.inputs)
    near = labelled.near_equal()
    found = [
        _repeated(labelled, exact, "equal examples under one label"),
        _repeated(labelled, near, "equal but for case, spaces and punctuation, under one label", known=exact),
        _conflicts(labelled, near),
    ]
    return found + ([_small(labelled)] if labelled.classes else [])


def _repeated(
    labelled: Labelled, groups: NDArray[np.int64], check: str, known: NDArray[np.int64] | None = None
) -> Observation:
    """Examples beyond the first of their group and label.

    Args:
        known: groups that were told before; pairs of one of them are not counted again.
    """
    first: dict[tuple[int, object], int] = {}
    lines, n_found = list[str](), 0
    for i, key in enumerate(zip(groups.tolist(), _labels(labelled), strict=True)):
        earlier = first.setdefault(key, i)
        if earlier == i or (known is not None and known[earlier] == known[i]):
            continue
        n_found += 1
        if len(lines) < FIRST:
            lines.append(f"{labelled.places[i]} repeats {labelled.places[earlier]}")
    note = "folds keep them together; they count as one label each" if n_found else ""
    return Observation(check, n_found, tuple(lines), note)


def _conflicts(labelled: Labelled, groups: NDArray[np.int64]) -> Observation:
    """Groups whose examples have several labels, or targets."""
    members: dict[int, dict[object, int]] = defaultdict(dict)
    labels = _labels(labelled)
    for i, group in enumerate(groups.tolist()):
        members[group].setdefault(labels[i], i)
    torn = [list(by_label.items()) for by_label in members.values() if len(by_label) > 1]
    lines = tuple(
        " and ".join(f"{labelled.places[i]} is {_name(labelled, label)}" for label, i in pairs[:_NAMED])
        for pairs in torn[:FIRST]
    )
    note = "no predictor can be right about both; settle them" if torn else ""
    return Observation("the same example under several labels", len(torn), lines, note)


def _small(labelled: Labelled) -> Observation:
    """Classes of few labels, by size, and the share of the largest."""
    sizes = np.bincount(labelled.targets.numpy(), minlength=len(labelled.classes))
    order = np.argsort(sizes, kind="stable")
    small = [
        f"{labelled.classes[i]} has {counted(int(sizes[i]), 'example')}" for i in order if sizes[i] < FEW
    ]
    largest = int(order[-1])
    note = (
        f"{len(sizes)} classes of {sizes[order[0]]} to {sizes[largest]} examples; always saying "
        f"{labelled.classes[largest]} is right for {sizes[largest] / sizes.sum():.1%}"
    )
    return Observation(f"classes of fewer than {FEW} examples", len(small), tuple(small[:FIRST]), note)


def _labels(labelled: Labelled) -> list[object]:
    """What each example says, as a key."""
    values = labelled.targets.tolist()
    return [tuple(value) if isinstance(value, list) else value for value in values]


def _name(labelled: Labelled, label: object) -> str:
    return labelled.classes[label] if isinstance(label, int) and labelled.classes else str(label)
