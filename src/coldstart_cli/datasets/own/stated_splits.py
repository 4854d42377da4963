"""Splits that names of files and folders state (`train.csv`, `test.csv`), and what they leave to learn from.

Only names that all say a split count, `train` among them: one file called `test.csv` is a table like any.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from coldstart_cli.core.objectives import Classification
from coldstart_cli.core.tasks import map_inputs
from coldstart_cli.datasets.own.filled_in import further
from coldstart_cli.datasets.own.labelled import SPLIT_NAMES, Labelled, split_named
from coldstart_cli.datasets.readers.problems import Problems
from coldstart_cli.datasets.readers.tables import SUFFIXES, files_of
from coldstart_cli.digests import digest

_SHARD = re.compile(r"[-_.]\d+([-_.]of[-_.]\d+)?$")
"""What numbers the parts of one split: `train-00000-of-00002.parquet`."""


@dataclass(frozen=True, slots=True)
class Parted:
    """What files that state splits leave to one task.

    Attributes:
        learned: what is learned from: all examples, or those of the stated `train`.
        test: those of the stated `new` (test) whose class is learned, or None.
        said: what was kept apart or left out, one line each.
    """

    learned: Labelled
    test: Labelled | None
    said: tuple[str, ...]


def names_splits(names: Iterable[str]) -> bool:
    """Whether all of these are names of splits, with `train` and another one among them."""
    found = {SPLIT_NAMES.get(name.lower()) for name in names}
    return None not in found and "train" in found and len(found) > 1


def split_columns(values: Mapping[str, Iterable[str]]) -> list[str]:
    """Of columns nobody names as such, those all of whose values are names of splits."""
    return [name for name, found in values.items() if names_splits(found)]


def _split_tokens(stems: Sequence[str]) -> list[str]:
    """Of each stem the word that names a split, where they differ in it alone (`x_train`, `x_test`)."""
    parts = [re.split(r"[-_. ]", stem) for stem in stems]
    named = [[word for word in words if word.lower() in SPLIT_NAMES] for words in parts]
    others = {tuple(w for w in words if w.lower() not in SPLIT_NAMES) for words in parts}
    return [found[0] for found in named] if len(others) == 1 and all(len(n) == 1 for n in named) else [*stems]


def stated_files(root: str | None, problems: Problems | None = None) -> list[tuple[Path, str | None]]:
    """The tables of a file or folder (`files_of`), each with the split that its or its folder's name says.

    Args:
        problems: where files that are left out are said.

    Raises:
        RequestError: where there is none.
    """
    folder = None if root is None else Path(root).expanduser()
    if folder is None or not folder.is_dir():
        return [(path, None) for path in files_of(root, problems)]
    entries = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    folders = [path for path in entries if path.is_dir()]
    tables = [path for path in entries if path.suffix.lower() in SUFFIXES]
    if not tables and names_splits(path.name for path in folders):
        return [(path, inside.name) for inside in folders for path in files_of(str(inside), problems)]
    files = files_of(root, problems)
    stems = _split_tokens([_SHARD.sub("", path.stem) for path in files])
    if names_splits(stems):
        return list(zip(files, stems, strict=True))
    of_splits = [path.name for path, stem in zip(files, stems, strict=True) if names_splits(["train", stem])]
    if of_splits and "train" in {SPLIT_NAMES.get(stem.lower()) for stem in stems}:
        other = next(f.name for f, stem in zip(files, stems, strict=True) if stem.lower() not in SPLIT_NAMES)
        warnings.warn(
            f"{root}: {', '.join(of_splits)} is read as training examples, for {other} lies beside it and is "
            "not named after a split; take one of them out, or name a column that says the split",
            RuntimeWarning,
            stacklevel=2,
        )
    return [(path, None) for path in files]


def files_with(
    root: str | None, labelled: Sequence[str], problems: Problems
) -> list[tuple[Path, str | None, bool]]:
    """The same, and after them the tables of `dataset.labelled`, which alone may have rows without a label.

    Raises:
        RequestError: where there is none, or one is not there.
    """
    more = further(labelled)
    files = [] if root is None and more else stated_files(root, problems)
    split = "train" if any(split is not None for _, split in files) else None
    return [*((path, of, False) for path, of in files), *((path, split, True) for path in more)]


def parted(labelled: Labelled, published: Sequence[str] | None = None) -> Parted:
    """The part to learn from and the part to be scored on, as files, a column or a publisher state them.

    Args:
        published: the split of each example, in place of what the files say.
    """
    if published is not None:
        names = sorted(set(map(split_named, published)))
        of = np.array([names.index(split_named(name)) for name in published], dtype=np.int64)
        labelled = replace(labelled, splits=tuple(names), split_of=of)
    if "train" not in labelled.splits or len(labelled.splits) < 2:
        return Parted(labelled, None, ())
    rows = {name: np.flatnonzero(labelled.split_of == i) for i, name in enumerate(labelled.splits)}
    said = [
        f"{len(ids):,} examples stated as {name} are kept apart and not used"
        for name, ids in rows.items()
        if name not in ("train", "new")
    ]
    train, new = rows["train"], rows.get("new", np.empty(0, dtype=np.int64))
    classes = np.unique(labelled.targets.numpy()[train]).tolist() if labelled.classes else []
    scored = new[np.isin(labelled.targets.numpy()[new], classes)] if labelled.classes else new
    unknown = len(new) - len(scored)
    if published is None:  # a publisher's test examples are scored as they are, for others scored them
        scored, repeated = _apart(labelled.near_equal(), train, scored)
        said += [
            f"{repeated:,} of {len(new):,} test examples are among the training examples, exactly or nearly, "
            "and are not scored"
        ][: bool(repeated)]
    if labelled.origins is not None and len(scored):
        seen = int(np.isin(labelled.origins[scored], labelled.origins[train]).sum())
        said += [
            f"{seen:,} of {len(scored):,} test examples are of persons or sessions that are learned from as "
            "well (dataset.group_column): their score says nothing of new ones"
        ][: bool(seen)]
    if unknown:
        said.append(f"{unknown:,} test examples are of classes that train has not, and are not scored")
    test = _part(labelled, scored, classes) if len(scored) else None
    return Parted(_part(labelled, train, classes), test, tuple(said))


def _apart(
    groups: NDArray[np.int64], train: NDArray[np.int64], test: NDArray[np.int64]
) -> tuple[NDArray[np.int64], int]:
    """The test examples that are nothing that was learned from, and how many others there are."""
    new = ~np.isin(groups[test], groups[train])
    return test[new], int(len(test) - new.sum())


def _part(labelled: Labelled, rows: NDArray[np.int64], classes: Sequence[int]) -> Labelled:
    """The examples `rows`, their classes numbered as in `classes`."""
    at = torch.from_numpy(rows)
    targets, names, objective = labelled.targets[at], labelled.classes, labelled.objective
    read, labels = labelled.names, labelled.labels
    if labelled.classes:
        number_of = torch.full((len(names),), -1, dtype=torch.long)
        number_of[list(classes)] = torch.arange(len(classes))
        targets, names = number_of[targets], tuple(names[number] for number in classes)
        labels = tuple(labels[number] for number in classes)
        objective = Classification(len(classes))
        read = None if read is None else map_inputs(lambda tensor: tensor[list(classes)], read)
    return replace(
        labelled,
        inputs=map_inputs(lambda tensor: tensor[at], labelled.inputs),
        targets=targets,
        objective=objective,
        classes=names,
        task_of=labelled.task_of[rows],
        alike=None if labelled.alike is None else labelled.alike[rows],
        origins=None if labelled.origins is None else labelled.origins[rows],
        splits=(),
        split_of=np.zeros(len(rows), dtype=np.int64),
        places=[labelled.places[row] for row in rows.tolist()],
        fingerprint=digest([labelled.fingerprint, "part", rows]),
        labels=labels,
        names=read,
        nameless=tuple(label for label in labelled.nameless if label in labels),
        naming=None if labelled.naming is None else labelled.naming[rows],
        contents=None if labelled.contents is None else labelled.contents[rows],
    )
