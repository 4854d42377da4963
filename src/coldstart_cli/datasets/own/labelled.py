"""Your own examples, read whole: what every layout (folder of images, text, table, arrays) comes to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coldstart_cli.core.objectives import Classification, Regression
from coldstart_cli.core.tasks import Inputs, Objective, Split
from coldstart_cli.datasets.own.raw import Recipe
from coldstart_cli.datasets.own.targets import warn_of_names
from coldstart_cli.datasets.readers.equality import Groups, Hashes, equal_groups, hashes_of
from coldstart_cli.digests import digest, tensor_parts
from coldstart_cli.errors import RequestError

SPLIT_NAMES: dict[str, Split] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("new", "test", "testing"), "new"),
    "source_test": "source_test",
}
"""What files, folders and columns call a split -> the split."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """n examples with their labels.

    Attributes:
        inputs: as the model's preprocess made them, (n, ...).
        targets: (n,) class ids, or (n, n_outputs) reals of a regression.
        objective: over all classes, or the regression.
        classes: names by class id, `task/label` where there are tasks; empty for a regression.
        tasks: names of the tasks the examples belong to, or empty where they are one task.
        task_of: (n,) the task of each example; zeros where they are one task.
        splits: names of the splits that the files say, or empty.
        split_of: (n,) the split of each example; zeros where the files say none.
        places: where each example was read (`intents.csv row 3`, `cats/a.png`), for messages.
        unlabelled: inputs without a label, or None.
        skipped: what could not be read and was left out, one line each.
        fingerprint: a digest of inputs and labels.
        recipe: how raw inputs are read so that they come out like these, and no more than JSON holds.
        alike: (n,) groups of examples that are nearly equal, where the layout can tell more than inputs do.
        remarks: what was said of them when they were read, one line each.
        origins: (n,) groups of examples of one person, session or document, where the files say so.
        origin_names: of these groups, by number.
        labels: of each class its name without that of its task; empty for a regression.
        names: (n_classes, ...) what the classes are called, without their tasks (`Support.names`), or None.
        nameless: labels that are read as names and say nothing in words.
        naming: (n,) whether the name of its class stands in an example, where examples are texts.
        contents: (n,) a hash of each example as the files have it, whatever the model makes of it; None: of
            the inputs (`content_hashes`).
    """

    inputs: Inputs
    targets: Tensor
    objective: Objective
    classes: tuple[str, ...]
    tasks: tuple[str, ...]
    task_of: NDArray[np.int64]
    splits: tuple[str, ...]
    split_of: NDArray[np.int64]
    places: Sequence[str]
    unlabelled: Inputs | None
    skipped: tuple[str, ...]
    fingerprint: str
    recipe: Recipe
    alike: Groups | None = None
    remarks: tuple[str, ...] = ()
    origins: Groups | None = None
    origin_names: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    names: Inputs | None = None
    nameless: tuple[str, ...] = ()
    naming: NDArray[np.bool_] | None = None
    contents: Hashes | None = None

    def __post_init__(self) -> None:
        # A part of the examples needs that part of the groups: others' would silently join what differs.
        assert self.alike is None or len(self.alike) == len(self.targets)

    def __len__(self) -> int:
        return len(self.targets)

    def near_equal(self) -> Groups:
        """(n,) the group of each example among those that are equal or nearly so.

        Texts differ in more than case, spaces and punctuation; examples of other layouts in any bit of their
        inputs.
        """
        return equal_groups(self.inputs) if self.alike is None else self.alike

    def content_hashes(self) -> Hashes:
        """(n,) a hash of each example, by which it is known again in another version of the data."""
        return hashes_of(self.inputs, None) if self.contents is None else self.contents


@dataclass(frozen=True, slots=True)
class Marks:
    """What the files say of n examples beside their content; fields as in `Labelled`.

    `by_name`: the splits are those of names of files or folders, which a fingerprint leaves out: the examples
    are the same, and were read before such names said anything. `labels`: of each class its name without that
    of its task.
    """

    targets: Tensor
    objective: Objective
    classes: tuple[str, ...]
    tasks: tuple[str, ...]
    task_of: NDArray[np.int64]
    splits: tuple[str, ...]
    split_of: NDArray[np.int64]
    places: Sequence[str]
    by_name: bool = False
    origins: Groups | None = None
    origin_names: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.targets)

    def from_origins(self, names: Sequence[str] | None) -> Marks:
        """With the person, session or document that each example is from, where the files say so."""
        if names is None:
            return self
        known, numbers = _numbered(names, len(names))
        return replace(self, origins=numbers, origin_names=known)

    def scaled(self, mean: float, deviation: float) -> Marks:
        """Of a regression: with targets (value - mean) / deviation, in single precision."""
        targets = ((self.targets - mean) / deviation).float()
        return replace(self, targets=targets, objective=Regression(targets.shape[1], mean, deviation))

    def labelled(
        self,
        inputs: Inputs,
        unlabelled: Inputs | None,
        skipped: Sequence[str],
        recipe: Recipe,
        alike: Groups | None = None,
        remarks: Sequence[str] = (),
        contents: Hashes | None = None,
    ) -> Labelled:
        """With the inputs of the same examples."""
        return Labelled(
            inputs,
            self.targets,
            self.objective,
            self.classes,
            self.tasks,
            self.task_of,
            self.splits,
            self.split_of,
            self.places,
            unlabelled,
            tuple(skipped),
            _fingerprint(inputs, self),
            recipe,
            alike,
            tuple(remarks),
            self.origins,
            self.origin_names,
            self.labels,
            contents=contents,
        )


def marks(
    targets: Sequence[str] | Tensor,
    tasks: Sequence[str] | None,
    splits: Sequence[str] | None,
    places: Sequence[str],
    *,
    by_name: bool = False,
) -> Marks:
    """Numbers names in alphabetical order, so that the order of rows and files does not matter.

    Args:
        targets: the label of each example, or (n, n_outputs) reals.
        tasks: the task of each; a class then is a label of one task.
        splits: the split of each, as the files call it.
        by_name: see `Marks`.

    Raises:
        RequestError: at an unknown split.
    """
    n = len(targets)
    task_names, task_of = _numbered(tasks, n)
    split_names, split_of = _numbered(None if splits is None else [split_named(s) for s in splits], n)
    if isinstance(targets, Tensor):
        objective: Objective = Regression(targets.shape[1])
        return Marks(targets, objective, (), task_names, task_of, split_names, split_of, places, by_name)
    # pairs, for a/b of task c and b of task c/a would be one text
    pairs = [("", c) for c in targets] if tasks is None else list(zip(tasks, targets, strict=True))
    known = {pair: number for number, pair in enumerate(sorted(set(pairs)))}
    classes = tuple("/".join(pair) if tasks is not None else pair[1] for pair in known)
    class_of = np.fromiter((known[pair] for pair in pairs), np.int64, n)
    warn_of_names(targets, classes)
    objective = Classification(len(classes))
    target = torch.from_numpy(class_of)
    return Marks(
        target,
        objective,
        classes,
        task_names,
        task_of,
        split_names,
        split_of,
        places,
        by_name,
        labels=tuple(label for _, label in known),
    )


def split_named(name: str) -> Split:
    """`train`, `validation` (valid, val, dev), `new` (test) or `source_test`.

    Raises:
        RequestError: at any other name.
    """
    if name.lower() not in SPLIT_NAMES:
        known = "train, validation (val, dev), new (test) and source_test"
        raise RequestError(f"dataset.split_by: {name!r} is not a split; splits are {known}")
    return SPLIT_NAMES[name.lower()]


def _numbered(names: Sequence[str] | None, n: int) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    if names is None:
        return (), np.zeros(n, dtype=np.int64)
    known = {name: number for number, name in enumerate(sorted(set(names)))}
    return tuple(known), np.fromiter((known[name] for name in names), np.int64, n)


def _fingerprint(inputs: Inputs, marked: Marks) -> str:
    splits, split_of = marked.splits, marked.split_of
    if marked.by_name:
        splits, split_of = (), np.zeros_like(split_of)
    names = repr((marked.classes, marked.tasks, splits))
    return digest([*tensor_parts(inputs), marked.targets, marked.task_of, split_of, names])
