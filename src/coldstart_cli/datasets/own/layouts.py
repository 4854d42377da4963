"""The layouts of your own data by the name that a recipe says: labelled to adapt to, raw to predict.

A recipe (`Labelled.recipe`) is all that is to be known of a source to read further examples as its own were
read: columns, means, categories, sizes. It is JSON, and is kept in a bundle.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import torch

from coldstart_cli.core.objectives import Classification
from coldstart_cli.core.tasks import map_inputs
from coldstart_cli.datasets.own import in_memory
from coldstart_cli.datasets.own.arrays import ArrayRecipe, raw_array, raw_arrays, read_arrays
from coldstart_cli.datasets.own.image_folder import ImageRecipe, raw_images, raw_pictures, read_images
from coldstart_cli.datasets.own.labelled import Labelled, Marks
from coldstart_cli.datasets.own.raw import Raw, Recipe
from coldstart_cli.datasets.own.raw_text import TextRecipe, raw_lines, raw_texts
from coldstart_cli.datasets.own.table_rows import TableRecipe
from coldstart_cli.datasets.own.tabular import raw_rows, raw_table, read_table
from coldstart_cli.datasets.own.text import read_texts
from coldstart_cli.datasets.readers.problems import OnBad, Problems
from coldstart_cli.errors import RequestError, suggestion
from coldstart_cli.models.preprocess import Preprocess

LEARNED = ("layout", "columns", "categories", "ignore", "max_categories", "size", "channels", "resize",
           "example_shape", "images", "target_scale", "standardise", "scale")  # fmt: skip
"""Keys of a recipe that a run's own data have settled; the others say where the new files hold what."""

LAYOUTS = ("arrays", "image_folder", "tabular", "text")


def read_labelled(
    recipe: Recipe, preprocess: Preprocess, root: str, *, unlabelled: str | None, on_bad: OnBad
) -> Labelled:
    """All labelled examples at `root`, read as the recipe says.

    Args:
        recipe: of the data that the model was trained on; change its keys where these files name their
            columns otherwise.
        unlabelled: a path with examples of the same kind without labels, or None.

    Raises:
        RequestError: naming file and row.
    """
    match _layout(recipe):
        case "image_folder":
            images = ImageRecipe.from_json(recipe)
            return read_images(preprocess, root, images, unlabelled=unlabelled, on_bad=on_bad)
        case "text":
            texts = TextRecipe.from_json(recipe)
            return read_texts(preprocess, root, texts, unlabelled=unlabelled, on_bad=on_bad)
        case "tabular":
            table = TableRecipe.from_json(recipe)
            return read_table(preprocess, root, table, None, unlabelled=unlabelled, on_bad=on_bad)
        case _:
            arrays = ArrayRecipe.from_json(recipe)
            return read_arrays(preprocess, root, arrays, None, unlabelled=unlabelled, on_bad=on_bad)


def fresh_recipe(layout: str, node: Mapping[str, Any]) -> Recipe:
    """How a data set's config asks its files to be read, before anything is known of them.

    Args:
        node: of the layout; keys that are no part of a recipe are passed over.
    """
    kind = {"arrays": ArrayRecipe, "image_folder": ImageRecipe, "tabular": TableRecipe, "text": TextRecipe}
    unknown = {"columns": None, "target_scale": None, "example_shape": None, "images": False, "scale": None}
    unknown["split_folders"] = node.get("split_by") == "file"
    named = {field.name for field in fields(kind[layout])}
    return {"layout": layout, **{key: v for key, v in {**unknown, **node}.items() if key in named}}


def recipe_like(known: Recipe | None, layout: str, node: Mapping[str, Any]) -> Recipe:
    """How files are read as those of a run were: where they hold what, as `node` says, the rest as learned.

    Args:
        known: the run's recipe; one of another layout, or none, says nothing.
    """
    fresh = fresh_recipe(layout, node)
    if not known or known["layout"] != layout:
        return fresh
    # A recipe of an earlier version lacks keys of today, which the new files are asked by all the same.
    return {**fresh, **known, **{key: value for key, value in fresh.items() if key not in LEARNED}}


def without_labels(
    recipe: Recipe, preprocess: Preprocess, path: str | None, *, classes: Sequence[str], on_bad: OnBad
) -> Labelled:
    """A task of these classes without a label: of unlabelled examples, or (no path) of their names alone.

    Raises:
        RequestError: naming file and row.
    """
    problems = Problems(on_bad)
    unlabelled = None
    if path is not None:
        found = list(read_raw(recipe, preprocess, path, problems=problems, chunk=1 << 30))
        problems.warn(path)
        if not found:
            raise RequestError(f"dataset.unlabelled: no example of {path} can be read; see what they are")
        unlabelled = found[0].inputs
    # Names are like examples where both are texts; over images a folder of unlabelled ones says what is read.
    names = preprocess.names(classes) if preprocess.reads_text else None
    like = names if unlabelled is None else unlabelled
    if like is None:
        raise RequestError(
            "dataset.descriptions: this model reads no texts as examples; choose one that does "
            "(model=minilm_frozen), or name examples (dataset.root=PATH, dataset.unlabelled=PATH)"
        )
    none = map_inputs(lambda tensor: tensor[:0], like)
    objective = Classification(len(classes))
    targets = torch.zeros(0, dtype=torch.long)
    nowhere = np.zeros(0, dtype=np.int64)
    marked = Marks(targets, objective, tuple(classes), (), nowhere, (), nowhere, [], labels=tuple(classes))
    return marked.labelled(none, unlabelled, problems.skipped, recipe)


def read_raw(
    recipe: Recipe, preprocess: Preprocess, path: str, *, problems: Problems, chunk: int
) -> Iterator[Raw]:
    """Examples without labels, `chunk` at a time, in the order of the file; labels are not looked at.

    Args:
        path: a file or a folder of the recipe's layout; `-` is standard input (text: one a line, or a table;
            tabular: a table), whose examples are answered as they come.
        problems: ends at the first row that cannot be read, or collects them; ask it afterwards.

    Raises:
        RequestError: naming file and row.
    """
    match _layout(recipe):
        case "image_folder":
            return raw_images(preprocess, path, ImageRecipe.from_json(recipe), problems=problems, chunk=chunk)
        case "text":
            return raw_texts(preprocess, path, TextRecipe.from_json(recipe), problems=problems, chunk=chunk)
        case "tabular":
            return raw_table(preprocess, path, TableRecipe.from_json(recipe), problems=problems, chunk=chunk)
        case _:
            return raw_arrays(preprocess, path, ArrayRecipe.from_json(recipe), problems=problems, chunk=chunk)


def raw_values(
    recipe: Recipe, preprocess: Preprocess, values: object, *, chunk: int, first: int = 0
) -> Iterator[Raw]:
    """The same for examples in memory (see `in_memory`): each has its answer, so none is left out.

    Args:
        first: the number of the first row in messages: 0 as Python counts, 1 as the command line does.

    Raises:
        RequestError: naming the row and what is wrong with it.
    """
    problems = Problems("stop", strict=True)
    yield from _raw_values(recipe, preprocess, values, problems, chunk, first)
    problems.warn("input", preprocess.max_length)


def _raw_values(
    recipe: Recipe, preprocess: Preprocess, values: object, problems: Problems, chunk: int, first: int
) -> Iterator[Raw]:
    match _layout(recipe):
        case "image_folder":
            pictures, images = in_memory.pictures(values, first), ImageRecipe.from_json(recipe)
            return raw_pictures(preprocess, pictures, images, problems=problems, chunk=chunk)
        case "text":
            lines = in_memory.lines(values, TextRecipe.from_json(recipe).text_column, first)
            return raw_lines(preprocess, lines, problems=problems, chunk=chunk)
        case "tabular":
            table = TableRecipe.from_json(recipe)
            rows = in_memory.rows(values, [column["name"] for column in table.columns or ()], first)
            return raw_rows(preprocess, rows, table, problems=problems, chunk=chunk)
        case _:
            x, arrays = in_memory.array(values), ArrayRecipe.from_json(recipe)
            return raw_array(preprocess, x, arrays, problems=problems, chunk=chunk, first=first)


def _layout(recipe: Recipe) -> str:
    name = str(recipe.get("layout"))
    if name not in LAYOUTS:
        raise RequestError(f"recipe: {name} is not a layout; {suggestion(name, LAYOUTS)}")
    return name
