"""Which your own examples train, validate and are new: by class, by task, or as the files say.

Pure functions of the examples' marks and a plan. Nothing is raised where examples are too few: the reason is
part of the result, for a table of ten rows is no data to learn from and still a task to adapt to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from coldstart_cli.core.tasks import Split, TaskShape
from coldstart_cli.datasets.episodes.classes import ClassTable, class_table
from coldstart_cli.datasets.own.labelled import Labelled, Marks

SplitBy = Literal["class", "task", "file"]
Members = dict[int, NDArray[np.int64]]
"""Example ids of each class (of a regression: of each task), by its number."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How examples become tasks.

    Attributes:
        shape: of a task; n_way None for all classes, as many as every split (or task) has.
        bank_seed: determines the tasks, not the data.
        split_by: `class`, `task`, or `file`: as the files say.
        split_seed: determines the splits.
        validation_share, new_share: of the classes or tasks.
        held_out_share: of the examples of each training class, for source_test.
        min_examples: classes with fewer are left out; None: those that k_shot and one query would empty.
        unequal: tasks have as many classes, and classes as many support examples, as they have; `shape` says
            how many at most.
        shared_labels: a label means the same in every task.
        leave_out: the person, site or task whose tasks are new, all others being the source; or None.
        elsewhere: where the source is other data, which a run was trained on, names of its classes, or none
            where new tasks have classes of their own; all examples are then new. None: it is here.
    """

    shape: TaskShape
    bank_seed: int
    split_by: SplitBy
    split_seed: int
    validation_share: float
    new_share: float
    held_out_share: float
    min_examples: int | None
    unequal: bool
    shared_labels: bool = False
    leave_out: str | None = None
    elsewhere: tuple[str, ...] | None = None

    @property
    def reserved(self) -> int:
        """Examples of a class that support and unlabelled may take."""
        least = (self.min_examples or 1) - 1
        if self.unequal:
            return max(1, least)
        return max(self.shape.k_shot + self.shape.n_unlabelled, least)


@dataclass(frozen=True, slots=True)
class Shares:
    """Splits of examples.

    Attributes:
        tables: of each split that there is.
        shares_labels: `new` has the classes of `train`, or labels of them.
        unshifted: `validation` was held out of a `train` whose domain is not that of `new`.
        left_out: classes that are too small, one line each.
        reason: why there are no splits, or None.
    """

    tables: Mapping[Split, ClassTable] = field(default_factory=dict)
    shares_labels: bool = False
    unshifted: bool = False
    left_out: tuple[str, ...] = ()
    reason: str | None = None


def share_out(marked: Marks | Labelled, plan: Plan) -> Shares:
    """The splits of the examples; the same for the same marks and plan."""
    random = np.random.default_rng(plan.split_seed)
    units = _Units(marked)
    if not len(marked):
        return Shares(reason="no example could be read")
    if plan.elsewhere is not None:
        return _alone(units, marked, plan, plan.elsewhere)
    if plan.split_by == "task" and not units.by_task:
        return Shares(reason="the files know no tasks; name the column or folders that do, or split by class")
    if plan.split_by == "file":
        if not marked.splits:
            return Shares(
                reason="the files name no split; name the column or folders that do, or split by class"
            )
        parts, shares_labels, reason = _by_file(units, marked, plan, random)
    else:
        parts, shares_labels, reason = _by_share(units, units.every(), plan, random)
    if plan.leave_out is not None and not (plan.split_by == "task" and units.by_task):
        reason = "leave_out names a task or origin; say what tells them apart, and dataset.split_by=task"
    shared = plan.shared_labels and not units.is_regression
    if shared and plan.split_by == "class":
        reason = "shared_labels=true shares classes that split_by=class divides; set split_by=task or file"
    if reason is not None:
        return Shares(reason=reason)
    parts, left_out = _large_enough(parts, units, plan, shares_labels and not shared)
    if shared:
        parts, unknown = _of_known_labels(parts, units)
        left_out, shares_labels = left_out + unknown, True
    if "source_test" not in parts and plan.held_out_share and parts.get("train"):
        parts, too_small = _held_out(parts, plan, random, shares_labels)
        left_out += tuple(f"{units.names[u]} ({n}, none to hold out)" for u, n in too_small.items())
    labels = units.labels_of(parts.get("train", {})) if shared else None
    tables = {split: units.table(members, labels) for split, members in parts.items() if members}
    # Rows of the very tasks that are trained on; persons of its own, or rows that the files name, are as new.
    rows_of_train = bool(parts.get("validation", {}).keys() & parts.get("train", {}).keys())
    unshifted = shares_labels and rows_of_train and "validation" not in marked.splits
    return Shares(tables, shares_labels, unshifted, left_out, _too_few(tables, units, left_out, plan))


def _alone(units: _Units, marked: Marks | Labelled, plan: Plan, labels: tuple[str, ...]) -> Shares:
    """New examples alone: those that the files call so, or all; of classes among `labels`, if any."""
    every = units.every()
    if "new" in marked.splits:
        every = units.among(np.flatnonzero(marked.split_of == marked.splits.index("new")))
    parts, left_out = _large_enough({"new": every}, units, plan, False)
    shared = bool(labels) and not units.is_regression
    if shared:
        known = {unit: ids for unit, ids in parts["new"].items() if units.label(unit) in labels}
        unknown = [units.names[unit] for unit in parts["new"] if unit not in known]
        left_out += tuple(f"{name} (no class of the run's source)" for name in unknown)
        parts = {"new": known}
    if len(parts["new"]) < (1 if units.is_regression else 2):
        return Shares(
            reason=f"fewer than two {units.things} are left for new; left out: {', '.join(left_out)}"
        )
    return Shares({"new": units.table(parts["new"], labels if shared else None)}, shared, left_out=left_out)


def fitted_rows(marked: Marks, plan: Plan | None) -> NDArray[np.int64]:
    """Examples that means, deviations and categories may be known from: those of the training split.

    Args:
        plan: None for one task, whose training examples are those that the files call so; all where none are.
    """
    if plan is not None:
        train = share_out(marked, plan).tables.get("train")
        if train is not None:
            return train.flat()[0].astype(np.int64)
    elif "train" in marked.splits:
        return np.flatnonzero(marked.split_of == marked.splits.index("train"))
    return np.arange(len(marked))


class _Units:
    """Classes with their tasks, or the tasks of a regression: what has examples."""

    def __init__(self, marked: Marks | Labelled) -> None:
        self.by_task = bool(marked.tasks)
        self.is_regression = not marked.classes
        self.of = marked.task_of if self.is_regression else marked.targets.numpy()
        self.names = (marked.tasks or ("all rows",)) if self.is_regression else marked.classes
        numbers, first = np.unique(self.of, return_index=True)
        self.task_of = dict(zip(numbers.tolist(), marked.task_of[first].tolist(), strict=True))
        self.tasks = marked.tasks
        self.things = "tasks" if self.is_regression else "classes"
        self.origin_of = _origins(marked)
        self.places = {name: i for i, name in enumerate(sorted(set(self.origin_of.values())))}

    def every(self) -> Members:
        return self.among(np.arange(len(self.of)))

    def among(self, ids: NDArray[np.int64]) -> Members:
        """The examples `ids` by their class."""
        ids = ids[np.argsort(self.of[ids], kind="stable")]
        numbers, starts = np.unique(self.of[ids], return_index=True)
        return dict(zip(numbers.tolist(), np.split(ids, starts[1:]), strict=True))

    def label(self, unit: int) -> str:
        """Of a class its name without that of its task."""
        name = self.names[unit]
        return name.removeprefix(f"{self.tasks[self.task_of[unit]]}/") if self.by_task else name

    def labels_of(self, members: Members) -> tuple[str, ...]:
        """The labels of these classes in alphabetical order."""
        return tuple(sorted({self.label(unit) for unit in members}))

    def table(self, members: Members, labels: tuple[str, ...] | None) -> ClassTable:
        """A table of these classes; with `labels`, each is one of them."""
        origins = [self.tasks[self.task_of[unit]] for unit in members] if self.by_task else ()
        names = [self.names[unit] for unit in members]
        number_of = {label: number for number, label in enumerate(labels or ())}
        return class_table(
            [*members.values()],
            group_of=None,
            quarter_turns=None,
            origins=origins,
            names=names,
            labels=None if labels is None else [number_of[self.label(unit)] for unit in members],
            label_names=labels or (),
            clusters=[self.origin(self.task_of[unit]) for unit in members] if self.origin_of else (),
        )

    def origin(self, task: int) -> str:
        """The person, session or document that a task is from; the task itself where it is of several."""
        return self.origin_of.get(task, self.tasks[task])

    def group(self, unit: int) -> int:
        """What shares by task are made of: whole origins, so that no person is learned from and new."""
        task: int = self.task_of[unit]
        if task not in self.origin_of:
            return task
        return len(self.tasks) + self.places[self.origin_of[task]]

    def group_name(self, unit: int) -> str:
        """Of the group of a unit: its person, session or document, or else its task."""
        return self.origin(self.task_of[unit])


def _origins(marked: Marks | Labelled) -> dict[int, str]:
    """Task -> the origin of all its examples, for those that have one."""
    if marked.origins is None or not marked.tasks:
        return {}
    pairs = np.unique(np.stack([marked.task_of, marked.origins]), axis=1)
    tasks, counts = np.unique(pairs[0], return_counts=True)
    alone = set(tasks[counts == 1].tolist())
    return {task: marked.origin_names[origin] for task, origin in pairs.T.tolist() if task in alone}


def _by_share(
    units: _Units, members: Members, plan: Plan, random: np.random.Generator
) -> tuple[dict[Split, Members], bool, str | None]:
    """Shares of the classes or tasks; at least two classes or one task where a share is asked."""
    by_task = (plan.split_by == "task" and units.by_task) or units.is_regression
    group = {unit: units.group(unit) if by_task else unit for unit in members}
    groups = random.permutation(sorted({group[unit] for unit in members})).tolist()
    least = 1 if by_task else 2
    n_new, n_validation = (
        max(least, round(share * len(groups))) if share else 0
        for share in (plan.new_share, plan.validation_share)
    )
    if plan.leave_out is not None:
        names = {units.group_name(unit): group[unit] for unit in members}
        if plan.leave_out not in names:
            known = ", ".join(sorted(names)[:8]) + (", ..." if len(names) > 8 else "")
            return {}, False, f"leave_out={plan.leave_out} is none of {len(names)}: {known}"
        left = names[plan.leave_out]
        groups, n_new = [left, *(one for one in groups if one != left)], 1
    chosen: dict[Split, set[int]] = {
        "new": set(groups[:n_new]),
        "validation": set(groups[n_new : n_new + n_validation]),
        "train": set(groups[n_new + n_validation :]),
    }
    return (
        {split: _of(members, group, chosen[split]) for split in ("train", "validation", "new")},
        False,
        None,
    )


def _of(members: Members, group: Mapping[int, int], chosen: Iterable[int]) -> Members:
    return {unit: ids for unit, ids in members.items() if group[unit] in chosen}


def _by_file(
    units: _Units, marked: Marks | Labelled, plan: Plan, random: np.random.Generator
) -> tuple[dict[Split, Members], bool, str | None]:
    """The files' splits; where they name no validation, it is held out of `train`."""
    parts: dict[Split, Members] = {
        name: units.among(np.flatnonzero(marked.split_of == number))  # type: ignore[misc]
        for number, name in enumerate(marked.splits)
    }
    train, new = parts.get("train", {}), parts.get("new", {})
    both = train.keys() & new.keys()
    shares_labels = bool(both) and train.keys() == new.keys()
    if both and not shares_labels and not plan.shared_labels:
        name = units.names[min(both)]
        return (
            {},
            False,
            (
                f"{name} is in train and in new, {len(both)} {units.things} are and others are not; "
                "splits share all of them or none"
            ),
        )
    if "validation" not in parts and train and plan.validation_share:
        several = units.by_task and len({units.task_of[unit] for unit in train}) > 1
        if shares_labels or (plan.shared_labels and not several):
            parts["train"], parts["validation"] = _cut(train, plan, plan.validation_share, random)
        else:
            split_by: SplitBy = "task" if several else "class"
            inner = replace(plan, bank_seed=0, split_by=split_by, split_seed=0, new_share=0.0, leave_out=None)
            parts |= {k: v for k, v in _by_share(units, train, inner, random)[0].items() if k != "new"}
    return parts, shares_labels, None


def _cut(members: Members, plan: Plan, share: float, random: np.random.Generator) -> tuple[Members, Members]:
    """(what stays, what is held out) of each class: a share of its examples, two or more."""
    stays, held = {}, {}
    for unit, ids in members.items():
        shuffled = random.permutation(ids)
        n = min(max(2, int(share * len(ids))), len(ids) - plan.reserved - 1)
        stays[unit], held[unit] = np.sort(shuffled[max(0, n) :]), np.sort(shuffled[: max(0, n)])
    return stays, held


def _large_enough(
    parts: dict[Split, Members], units: _Units, plan: Plan, shares_labels: bool
) -> tuple[dict[Split, Members], tuple[str, ...]]:
    """Without classes that are too small, and tasks with less than two classes; and what was left out."""
    lines: dict[str, None] = {}
    kept = dict(parts)
    for split, members in parts.items():
        small = {unit for unit, ids in members.items() if len(ids) <= plan.reserved}
        if split == "source_test":
            continue
        lines |= dict.fromkeys(f"{units.names[unit]} ({len(members[unit])})" for unit in small)
        own = {unit: ids for unit, ids in members.items() if unit not in small}
        if units.by_task and plan.split_by != "class" and not units.is_regression:
            tasks = [units.task_of[unit] for unit in own]
            lonely = {task for task, n in Counter(tasks).items() if n < 2}
            lines |= dict.fromkeys(f"task {units.tasks[task]} (one class)" for task in sorted(lonely))
            own = {unit: ids for unit, ids in own.items() if units.task_of[unit] not in lonely}
        kept[split] = own
    if shares_labels:
        common = set.intersection(*(set(m) for split, m in kept.items() if split != "source_test"))
        kept = {s: {u: ids for u, ids in m.items() if u in common} for s, m in kept.items()}
    if "source_test" in kept:  # of all classes of train, in their order
        held = kept.pop("source_test")
        if kept.get("train") and kept["train"].keys() <= held.keys():
            kept["source_test"] = {unit: held[unit] for unit in kept["train"]}
    return kept, tuple(lines)


def _of_known_labels(
    parts: dict[Split, Members], units: _Units
) -> tuple[dict[Split, Members], tuple[str, ...]]:
    """Without classes of a label that `train` lacks, of which the source's head knows nothing; and which."""
    known = set(units.labels_of(parts.get("train", {})))
    lines: dict[str, None] = {}
    kept = {}
    for split, members in parts.items():
        kept[split] = {unit: ids for unit, ids in members.items() if units.label(unit) in known}
        unknown = (unit for unit in members if unit not in kept[split])
        lines |= dict.fromkeys(f"{units.names[unit]} (no label of train)" for unit in unknown)
    return kept, tuple(lines)


def _held_out(
    parts: dict[Split, Members], plan: Plan, random: np.random.Generator, shares_labels: bool
) -> tuple[dict[Split, Members], dict[int, int]]:
    """With source_test, two examples a class or more; and sizes of classes that leave train for it.

    Where fewer than two classes could spare them, or not all whose labels are shared, there is none, and
    train stays as it is.
    """
    stays, held = _cut(parts["train"], plan, plan.held_out_share, random)
    rich = {unit for unit, ids in held.items() if len(ids) >= 2}
    if len(rich) < (len(held) if shares_labels else 2):
        return parts, {}
    small = {unit: len(ids) for unit, ids in parts["train"].items() if unit not in rich}
    train, test = ({unit: ids for unit, ids in m.items() if unit in rich} for m in (stays, held))
    return {**parts, "train": train, "source_test": test}, small


def _too_few(
    tables: Mapping[Split, ClassTable], units: _Units, left_out: Sequence[str], plan: Plan
) -> str | None:
    """Why no cold start can be made of this; what is left out is counted, for it may be the cause."""
    if units.is_regression and not units.by_task and plan.split_by != "file":
        return "a regression is split by task; name the column that tells tasks apart"
    without = f", {len(left_out)} with fewer than {plan.reserved + 1} examples left out" if left_out else ""
    if not units.is_regression:
        n = sum(len(table) for split, table in tables.items() if split != "source_test")
        if n < 2:
            classes = "class" if len(units.names) == 1 else "classes"
            remedy = "give more examples or lower k_shot"
            return f"{len(units.names)} {classes}{without}, two are needed; {remedy}"
    for split in ("new",) if plan.split_by == "file" else ("train", "validation", "new"):
        asked = {"validation": plan.validation_share, "new": plan.new_share}.get(split, 1)
        if split not in tables and asked:
            groups = "tasks" if plan.split_by == "task" or units.is_regression else "classes"
            return f"no {groups} are left for {split}{without}; give more of them, or lower the other shares"
    return None
