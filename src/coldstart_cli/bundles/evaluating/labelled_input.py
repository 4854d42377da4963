"""Labelled files of a bundle's layout, read as its own data were, with its columns, scales and classes."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from coldstart_cli.datasets.own.image_list import is_list
from coldstart_cli.datasets.own.labelled import Labelled
from coldstart_cli.datasets.own.layouts import read_labelled
from coldstart_cli.datasets.own.raw import Recipe
from coldstart_cli.datasets.own.raw_text import TextRecipe
from coldstart_cli.datasets.own.stated_splits import parted, stated_files
from coldstart_cli.datasets.own.table_rows import TableRecipe
from coldstart_cli.datasets.readers.problems import OnBad, Problems
from coldstart_cli.datasets.readers.tables import rows_of
from coldstart_cli.errors import RequestError, suggestion

if TYPE_CHECKING:
    from coldstart_cli.bundles.bundle import Bundle

_MARKS = ("task_column", "split_column", "group_column")
"""Columns beside the label that the bundle's own data had and others may lack."""


@dataclass(frozen=True, slots=True)
class Scored:
    """Labelled rows that a bundle is compared with.

    Attributes:
        numbers: (n,) class of each row by the bundle's numbers, -1 where it has none such; zeros of reals.
        unknown: (n,) the label of each row as the file has it; empty of reals.
        recipe: by which the file was read.
        said: what was kept apart, left out or guessed.
    """

    labelled: Labelled
    numbers: NDArray[np.int64]
    unknown: Sequence[str]
    recipe: Recipe
    said: tuple[str, ...]


def read_scored(bundle: Bundle, path: str, label_column: str | None, on_bad: OnBad) -> Scored:
    """All labelled rows; of files that state splits, the test rows.

    Raises:
        RequestError: for what cannot be read, and where no row has a label that the bundle knows.
    """
    recipe, said = _recipe(bundle.card.build.recipe, path, label_column)
    try:
        whole = read_labelled(recipe, bundle.preprocess, path, unlabelled=None, on_bad=on_bad)
    except RequestError as error:
        raise RequestError(_in_words_of_evaluate(str(error))) from error
    found = parted(whole)
    labelled, said = found.test or found.learned, [*said, *found.said]
    if found.test is not None:
        said.append(f"{path} states splits: its {len(labelled):,} test rows are scored, no others")
    if labelled.skipped:
        n = len(labelled.skipped)
        said.append(
            f"{n:,} {'row' if n == 1 else 'rows'} could not be read and {'is' if n == 1 else 'are'} left out"
        )
    labels = bundle.card.labels
    if bool(labels) != bool(labelled.classes):
        kind, other = ("classes", "reals") if labels else ("reals", "classes")
        raise RequestError(
            f"input: {path} has {other} where the bundle answers with {kind}; name a file that has these"
        )
    if bundle.card.data.hash == whole.fingerprint:
        said.append(
            "these are the rows that the bundle has learned from: nothing here tells how it does on others"
        )
    if not labels:
        return Scored(labelled, np.zeros(len(labelled), np.int64), (), recipe, tuple(said))
    names = labelled.classes if {*labelled.classes} & {*labels} else labelled.labels
    number_of = {name: number for number, name in enumerate(labels)}
    of_class = np.array([number_of.get(name, -1) for name in names], dtype=np.int64)
    targets = labelled.targets.numpy()
    _check_labels(names, labels, of_class, targets, path)
    return Scored(
        labelled, of_class[targets], [names[number] for number in targets.tolist()], recipe, tuple(said)
    )


def _check_labels(
    names: Sequence[str],
    labels: Sequence[str],
    of_class: NDArray[np.int64],
    targets: NDArray[np.int64],
    path: str,
) -> None:
    """
    Raises:
        RequestError: where the bundle knows none of the labels.
    """
    if (of_class >= 0).any():
        return
    first = names[int(np.bincount(targets, minlength=len(names)).argmax())]
    raise RequestError(
        f"input: {path} has no label that the bundle knows (the most frequent is {first!r:.60}; "
        f"{suggestion(first, labels)}); correct them, or name another column (label_column=)"
    )


def _recipe(known: Recipe, path: str, label_column: str | None) -> tuple[Recipe, list[str]]:
    """The bundle's recipe, with the label where this file has it, and without marks that it lacks."""
    recipe, said = dict(known), list[str]()
    if label_column is not None:
        if recipe["layout"] == "image_folder" and not is_list(Path(path)):
            raise RequestError("label_column: folders name the classes of images; leave it out")
        key = "y_key" if recipe["layout"] == "arrays" else "label_column"
        key = "target_column" if recipe.get("target_column") is not None else key
        recipe[key] = label_column
    marks = [key for key in _MARKS if recipe.get(key) is not None]
    if not marks or recipe["layout"] not in ("text", "tabular"):
        return recipe, said
    first = next((row for _, row in rows_by(recipe, path)), None)
    for key in marks if first is not None else ():
        if recipe[key] not in (first or {}):
            said.append(
                f"{path} has no column {recipe[key]}, the {key} of the bundle's own data: none is used"
            )
            recipe[key] = None
    return recipe, said


def rows_at(recipe: Recipe, path: str, places: Collection[str]) -> dict[str, Mapping[str, Any]]:
    """The rows of a table of texts or of numbers that were read at these places; none of other layouts."""
    if recipe["layout"] not in ("text", "tabular") or not places:
        return {}
    return {place: dict(row) for place, row in rows_by(recipe, path) if place in places}


def rows_by(recipe: Recipe, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The rows of a table of texts or of numbers, each with its place; what cannot be read is passed over."""
    form = (TextRecipe if recipe["layout"] == "text" else TableRecipe).from_json(recipe).form
    problems = Problems("skip")
    for file, _ in stated_files(path):
        yield from rows_of(file, form, problems)


def _in_words_of_evaluate(message: str) -> str:
    """A refusal that names the keys of this command."""
    message = message.replace("dataset.root", "input")
    return re.sub(r"dataset\.(label_column|target_column|y_key)", "label_column", message)
