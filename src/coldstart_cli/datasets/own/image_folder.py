"""Images in folders named after their class: `<class>/<file>`, `<task>/<class>/<file>`.

Where the split is `file`, or all upper folders are named after splits, one more folder stands before them:
`train`, `validation`, `new` (or `test`). Or files that a table names, with their labels (see `image_list`).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, Unpack

import numpy as np
import torch
from annotated_types import Ge
from numpy.typing import NDArray
from torch import Tensor

from coldstart_cli.core.tasks import Inputs
from coldstart_cli.datasets.own.filled_in import further
from coldstart_cli.datasets.own.folders import Files, below, files_of, joined, seen_in
from coldstart_cli.datasets.own.image_list import ListColumns, files_listed, is_list, listed
from coldstart_cli.datasets.own.labelled import Labelled, marks
from coldstart_cli.datasets.own.names import named
from coldstart_cli.datasets.own.raw import Raw
from coldstart_cli.datasets.own.shared import OwnData, plan_of, wording_of
from coldstart_cli.datasets.own.source import Own
from coldstart_cli.datasets.readers.equality import hashes_of
from coldstart_cli.datasets.readers.images import (
    Content,
    ImageFile,
    Picture,
    Resize,
    Unreadable,
    channels_of,
    decoded,
    pixels,
)
from coldstart_cli.datasets.readers.problems import OnBad, Problems
from coldstart_cli.errors import RequestError
from coldstart_cli.models.preprocess import Preprocess


@dataclass(frozen=True, slots=True)
class ImageRecipe:
    """How an image becomes an array (channels, size, size).

    Attributes:
        split_folders: splits stand before classes, whatever the folders are called.
        invert: every value v becomes 255 - v.
        file_list: the table that names the files, where it is not the root itself; never kept.
        file_column, label_column, task_column, split_column, group_column: of such a table.
        labelled: further such tables, to be filled in; never kept.
    """

    size: int
    channels: int | None
    resize: Resize
    exclude: tuple[str, ...]
    split_folders: bool
    # Recipes that were written earlier do not say these.
    invert: bool = False
    file_list: str | None = None
    file_column: str = "file"
    label_column: str = "label"
    task_column: str | None = None
    split_column: str | None = None
    group_column: str | None = None
    labelled: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        known = {"layout": "image_folder", **asdict(self), "exclude": list(self.exclude), "file_list": None}
        del known["labelled"]
        return known

    @staticmethod
    def from_json(recipe: Mapping[str, Any]) -> ImageRecipe:
        values = {name: value for name, value in recipe.items() if name != "layout"}
        labelled = tuple(values.get("labelled", ()))
        return ImageRecipe(**{**values, "exclude": tuple(values["exclude"]), "labelled": labelled})

    @property
    def list_columns(self) -> ListColumns:
        """What the columns of a list are called."""
        return ListColumns(
            self.file_column, self.label_column, self.task_column, self.split_column, self.group_column
        )


def image_folder(
    preprocess: Preprocess,
    *,
    size: Annotated[int, Ge(8)],
    channels: Literal[1, 3] | None,
    resize: Resize,
    exclude: list[str],
    invert: bool,
    file_list: str | None,
    file_column: str,
    label_column: str,
    task_column: str | None,
    split_column: str | None,
    group_column: str | None,
    labelled: list[str],
    **own: Unpack[OwnData],
) -> Own:
    """Your own images as tasks.

    Args:
        preprocess: the model's; its image size and channels come before those here.
        size: height and width in pixels.
        channels: 1 or 3; None: 1 where all images are grey.
        resize: `crop` or `stretch`.
        exclude: names of classes that are left out.
        invert: black becomes white.
        file_list: a table file that names images of the folder with their labels; or None: folders are
            classes, unless `root` is such a table.
        file_column, label_column: names of its columns.
        task_column: name of its column, or None.
        split_column: name of its column; None: `split`, where it has one.
        group_column: name of its column of the person, session or document that an image is from, or None:
            `adapt` never learns from some images of one and judges by others.
        labelled: tables of further images with labels; rows without a label yet are counted and left out.
        own: see `OwnData`.

    Raises:
        RequestError: naming folder or file.
    """
    wording = wording_of(own, preprocess)
    recipe = ImageRecipe(
        size,
        channels,
        resize,
        tuple(exclude),
        own["split_by"] == "file",
        invert,
        file_list,
        file_column,
        label_column,
        task_column,
        split_column,
        group_column,
        tuple(labelled),
    )
    found = read_images(preprocess, own["root"], recipe, unlabelled=own["unlabelled"], on_bad=own["on_bad"])
    return Own("image_folder", named(found, preprocess, wording), plan_of(own))


def read_images(
    preprocess: Preprocess, root: str | None, recipe: ImageRecipe, *, unlabelled: str | None, on_bad: OnBad
) -> Labelled:
    """All images below `root`, by class; or those that a list names.

    Raises:
        RequestError: naming folder or file.
    """
    problems = Problems(on_bad)
    found = _found(root, recipe, problems)
    settled = settled_for(preprocess, recipe, found.images)
    kept, images, inputs = _inputs(preprocess, found.images, settled, problems)
    problems.warn(str(root))
    if not kept:
        raise RequestError(f"dataset.root: no image of {root} can be read; see what they are")

    def chosen(values: Sequence[str] | None) -> list[str] | None:
        return None if values is None else [values[number] for number in kept]

    labels, places = chosen(found.labels) or [], [found.images[number].name for number in kept]
    marked = marks(labels, chosen(found.tasks), chosen(found.splits), places, by_name=found.by_name)
    marked = marked.from_origins(chosen(found.groups))
    free = None if unlabelled is None else _unlabelled(preprocess, unlabelled, settled, problems)
    # Features differ in their last bits with what is computed beside them
    contents = None if inputs is images else hashes_of(images, None)
    return marked.labelled(
        inputs, free, problems.skipped, settled.as_json(), remarks=problems.said, contents=contents
    )


def raw_images(
    preprocess: Preprocess, path: str, recipe: ImageRecipe, *, problems: Problems, chunk: int
) -> Iterator[Raw]:
    """Images of a file, of a folder and folders in it, or of a list, `chunk` at a time; nothing is cached.

    Raises:
        RequestError: where there is none, or one cannot be read.
    """
    return raw_pictures(preprocess, _pictures(path, recipe, problems), recipe, problems=problems, chunk=chunk)


def raw_pictures(
    preprocess: Preprocess,
    pictures: Iterable[ImageFile | Picture | Content],
    recipe: ImageRecipe,
    *,
    problems: Problems,
    chunk: int,
) -> Iterator[Raw]:
    """The same for files that are named, and for images that lie in memory."""
    channels = recipe.channels or 3
    rows, names = [], []
    for picture in pictures:
        try:
            rows.append(_turned(pixels(picture, recipe.size, channels, recipe.resize), recipe))
            names.append(picture.name)
        except Unreadable as error:
            problems.add(picture.name, str(error), "repair or remove it")
        if len(rows) == chunk:
            yield Raw(preprocess.images(torch.from_numpy(np.stack(rows))), tuple(names))
            rows, names = [], []
    if rows:
        yield Raw(preprocess.images(torch.from_numpy(np.stack(rows))), tuple(names))


def settled_for(preprocess: Preprocess, recipe: ImageRecipe, files: Sequence[ImageFile]) -> ImageRecipe:
    """The recipe with what the model asks, and with as many channels as the files have."""
    size = preprocess.image_size or recipe.size
    channels = preprocess.image_channels or recipe.channels or channels_of(files)
    return replace(recipe, size=size, channels=channels)


def _turned(images: NDArray[np.uint8], recipe: ImageRecipe) -> NDArray[np.uint8]:
    """Black for white where the recipe asks it."""
    return np.asarray(255 - images) if recipe.invert else images


def _inputs(
    preprocess: Preprocess, files: Sequence[ImageFile], recipe: ImageRecipe, problems: Problems
) -> tuple[list[int], Tensor, Inputs]:
    """Numbers of the files that could be read, their pixels (n, C, H, W), and what the model reads."""
    assert recipe.channels is not None
    made = decoded(files, recipe.size, recipe.channels, recipe.resize, problems)
    images = torch.from_numpy(_turned(made.images, recipe))
    return made.kept.tolist(), images, preprocess.images(images)


def _unlabelled(preprocess: Preprocess, path: str, recipe: ImageRecipe, problems: Problems) -> Inputs | None:
    kept, _, inputs = _inputs(preprocess, list(_pictures(path, recipe, problems)), recipe, problems)
    problems.warn(path)
    return inputs if kept else None


def _pictures(path: str, recipe: ImageRecipe, problems: Problems) -> Iterator[ImageFile]:
    """Images without labels."""
    place = Path(path).expanduser()
    return files_listed(place, recipe.file_column, problems) if is_list(place) else below(place)


def _found(root: str | None, recipe: ImageRecipe, problems: Problems) -> Files:
    """The images and what is said of them, by the folders that they lie in, by a list, or by several."""
    lists = [
        listed(path, path.parent, recipe.list_columns, recipe.exclude, problems, filled_in=True)
        for path in further(recipe.labelled)
    ]
    of_root = [] if root is None and lists else [_of_root(root, recipe, problems)]
    return joined([*of_root, *lists])


def _of_root(root: str | None, recipe: ImageRecipe, problems: Problems) -> Files:
    place = None if root is None else Path(root).expanduser()
    table = None if recipe.file_list is None else Path(recipe.file_list).expanduser()
    if place is not None and is_list(place):
        if table is not None:
            raise RequestError(
                f"dataset.file_list: {place} (dataset.root) is a table too; leave one of them out"
            )
        place, table = place.parent, place
    if table is not None:
        folder = table.parent if place is None else _folder(str(place))
        return listed(table, folder, recipe.list_columns, recipe.exclude, problems)
    folder = _folder(root)
    seen = seen_in(folder, recipe.exclude, split_folders=recipe.split_folders)
    if seen.left_out:
        message = f"{folder}: left out, for they are no examples: {'; '.join(seen.left_out)}"
        warnings.warn(message, RuntimeWarning, stacklevel=2)
    for where, what in seen.classes_without_images:
        problems.add(where, what, "add some, or leave the class out (dataset.exclude)")
    return files_of(folder, seen)


def _folder(root: str | None) -> Path:
    if root is None:
        raise RequestError("dataset.root: no folder is named; give dataset.root=FOLDER with <class>/<file>")
    folder = Path(root).expanduser()
    if not folder.is_dir():
        raise RequestError(
            f"dataset.root: {folder} is not a folder; name one that holds <class>/<file>, or a table "
            "of columns file and label (E10)"
        )
    return folder
