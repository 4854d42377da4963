"""Tasks over your own examples, whatever the layout they were read from.

Splits and tasks are made when they are asked for: a small table is a support set to adapt to, and would be
refused as data to learn from.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence
from functools import cached_property
from operator import itemgetter
from typing import final

import numpy as np

from coldstart_cli.core.objectives import Classification, Regression
from coldstart_cli.core.tasks import Inputs, Objective, Pool, Split, Task, TaskShape, TaskSource, map_inputs
from coldstart_cli.datasets.episodes.classes import ClassTable, queries_left, validation_of
from coldstart_cli.datasets.episodes.drawing import largest_task
from coldstart_cli.datasets.episodes.episodes import Episodes
from coldstart_cli.datasets.episodes.functions import Functions, map_shapes
from coldstart_cli.datasets.own.input_range import ranges_of, shift_from
from coldstart_cli.datasets.own.labelled import Labelled
from coldstart_cli.datasets.own.splits import Plan, Shares, share_out
from coldstart_cli.datasets.readers.problems import warn_of
from coldstart_cli.digests import Part, digest
from coldstart_cli.errors import RequestError

_NAMED = 6
"""Classes that `facts` names."""


@final
class Own(TaskSource):
    """Few-shot tasks over `labelled`: classes, or regressions, one for each task of the files.

    Classes that are too small for k_shot and one query are left out by name. Classes may differ in size:
    on `validation` and `new` small ones have fewer queries. Where the files know tasks and the split is
    not by class, the classes of a task are drawn from one of them; with `plan.unequal` a task has as many of
    them as there are.

    Args:
        name: starts messages.
        labelled: all examples, also those that no split has; `adapt` takes them as they are.
        plan: how they become tasks.
        published: the publisher's split of each example, which `adapt` learns from and is scored on; or None.
    """

    def __init__(
        self, name: str, labelled: Labelled, plan: Plan, published: Sequence[str] | None = None
    ) -> None:
        self.name, self.labelled, self.plan, self.published = name, labelled, plan, published
        self.shares: Shares = share_out(labelled, plan)
        self.shares_labels = self.shares.shares_labels or not labelled.classes
        self.has_source = "train" in self.shares.tables
        self.validation = validation_of(self.shares.tables, unshifted=self.shares.unshifted)
        self.one_origin = bool(labelled.classes and labelled.tasks) and plan.split_by != "class"
        self.unequal = plan.unequal and bool(labelled.classes)
        self.input_shape = map_shapes(labelled.inputs)
        self.named, self.nameless = labelled.names is not None, labelled.nameless
        self.shape = self._resolved(plan.shape)
        self.fingerprint = self._fingerprint()

    @property
    def objective(self) -> Objective:
        """Of one of its tasks, not of all classes (which `labelled.objective` is)."""
        return (
            Classification(int(self.shape.n_way or 0)) if self.labelled.classes else self.labelled.objective
        )

    def tasks(self, split: Split, indices: Sequence[int]) -> list[Task]:
        return self._source.tasks(split, indices)

    def pool(self, split: Split) -> Pool:
        return self._source.pool(split)

    def refusal(self, split: Split, shape: TaskShape) -> str | None:
        return self._source.refusal(split, shape)

    def with_shape(self, shape: TaskShape) -> TaskSource:
        return self._source.with_shape(shape)

    def facts(self) -> dict[str, str]:
        """Of each split its classes, their sizes and the first names; the smallest; and what was left out."""
        things = "classes" if self.labelled.classes else "tasks"
        facts: dict[str, str] = {}
        for split, table in self.shares.tables.items():
            facts[split] = _described(table, things)
            served = queries_left(table, self.plan.shape)
            if split == "train" and served < self.plan.shape.n_query:
                facts[split] += f", {served} queries for its smallest class (dataset.min_examples)"
        facts["smallest"] = _first(self._smallest())
        if self.shares.left_out:
            n = len(self.shares.left_out)
            facts["left out"] = f"{n} with too few examples: {_first(self.shares.left_out)}"
        if self.labelled.skipped:
            facts["skipped"] = f"{len(self.labelled.skipped)} unreadable: {_first(self.labelled.skipped)}"
        return facts

    def _smallest(self) -> list[str]:
        """The classes (a regression: tasks) of all examples by size, each with its number of examples."""
        labelled = self.labelled
        of = labelled.targets.numpy() if labelled.classes else labelled.task_of
        names = labelled.classes or labelled.tasks or ("all rows",)
        sizes = np.bincount(of, minlength=len(names))
        return [f"{names[number]} ({sizes[number]})" for number in np.argsort(sizes, kind="stable")]

    @cached_property
    def _source(self) -> Episodes | Functions:
        """
        Raises:
            RequestError: where the examples cannot serve the tasks that are asked.
        """
        if self.shares.reason is not None:
            raise RequestError(f"dataset: {self.name}: {self.shares.reason} (E14)")
        # Lines end in a number of examples, or in the reason that a label is not one of the source's.
        unknown = any("(no " in line for line in self.shares.left_out)
        why = f"with too few examples{', or no label of the source,' if unknown else ''} are"
        warn_of(self.name, self.shares.left_out, why)
        if self.plan.split_by != "file" and len(self.labelled.splits) > 1:
            named = ", ".join(self.labelled.splits)
            warnings.warn(
                f"dataset.split_by: the files of {self.name} name the splits {named}, which "
                f"split_by={self.plan.split_by} does not keep apart; split_by=file does",
                RuntimeWarning,
                stacklevel=3,
            )
        labelled, plan = self.labelled, self.plan
        self._warn_of_shift()
        if isinstance(labelled.objective, Regression):
            return Functions(
                self.name,
                labelled.inputs,
                labelled.targets,
                self.shares.tables,
                objective=labelled.objective,
                shape=self.shape,
                bank_seed=plan.bank_seed,
                reserved=plan.reserved,
                fingerprint=self.fingerprint,
            )
        return Episodes(
            self.name,
            labelled.inputs,
            self.shares.tables,
            shape=self.shape,
            bank_seed=plan.bank_seed,
            shares_labels=self.shares_labels,
            one_origin=self.one_origin,
            reserved=plan.reserved,
            unequal=self.unequal,
            unshifted=self.shares.unshifted,
            names=self._names(),
            nameless=self.nameless,
            contents=labelled.contents,
        )

    def _names(self) -> dict[Split, Inputs] | None:
        """What the classes of each split are called, in the order of its table."""
        names, row_of = self.labelled.names, {name: row for row, name in enumerate(self.labelled.classes)}
        if names is None:
            return None
        rows = {s: [row_of[name] for name in table.names] for s, table in self.shares.tables.items()}
        return {s: map_inputs(itemgetter(chosen), names) for s, chosen in rows.items()}

    def _warn_of_shift(self) -> None:
        """A line where the new domain's inputs lie far outside those of the source."""
        tables = self.shares.tables
        if not self.shares.shares_labels or not {"train", "new"} <= tables.keys():
            return  # other classes look different
        known = ranges_of(self.labelled.inputs, tables["train"].ids)
        shift = shift_from(known, self.labelled.inputs, tables["new"].ids)
        if shift is not None:
            warnings.warn(f"dataset: {self.name}: of the new domain {shift}", RuntimeWarning, stacklevel=4)

    def _resolved(self, shape: TaskShape) -> TaskShape:
        """With n_way: null is as many as every split, or the largest task of every split, has.

        Of unequal tasks, as many as the largest task of any split has.
        """
        if not self.labelled.classes:
            return TaskShape(None, shape.k_shot, shape.n_query, shape.n_unlabelled)
        if shape.n_way is not None:
            return shape
        tables = self.shares.tables.values()
        most = max if self.unequal else min
        n_way = most((largest_task(t) if self.one_origin else len(t) for t in tables), default=None)
        n_way = len(self.labelled.classes) if n_way is None else n_way
        return TaskShape(n_way, shape.k_shot, shape.n_query, shape.n_unlabelled)

    def _fingerprint(self) -> str:
        parts: list[Part] = [f"{self.labelled.fingerprint} {self.plan.reserved} {self.one_origin}"]
        if self.unequal:
            parts.append("unequal")
        if self.plan.shared_labels:
            parts.append("shared labels")
        of_splits = (
            itertools.chain([split], table.dense_parts(table.ids), [table.sizes])
            for split, table in sorted(self.shares.tables.items())
        )
        return digest(itertools.chain(parts, *of_splits))


def _described(table: ClassTable, things: str) -> str:
    least, most = int(table.sizes.min()), int(table.sizes.max())
    examples = f"{least} examples" if least == most else f"{least} to {most} examples"
    tasks = f" of {len(set(table.origins))} tasks" if table.origins else ""
    shared = f" with {table.n_labels} shared labels" if table.labels is not None else ""
    return f"{len(table)} {things}{tasks}{shared} x {examples} ({_first(table.names)})"


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
