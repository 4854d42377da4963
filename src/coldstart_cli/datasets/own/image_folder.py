"""Images in folders named after their class: `<class>/<file>`, `<task>/<class>/<file>`.

Where the split is `file`, or all upper folders are named after splits, one more folder stands before them:
`train`, `validation`, `new` (or `test`).
"""

from __future__ import annotations

import os
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
from coldstart_cli.datasets.own.folders import below, seen_in
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
    """

    size: int
    channels: int | None
    resize: Resize
    exclude: tuple[str, ...]
    split_folders: bool
    invert: bool = False

    def as_json(self) -> dict[str, Any]:
        return {"layout": "image_folder", **asdict(self), "exclude": list(self.exclude)}

    @staticmethod
    def from_json(recipe: Mapping[str, Any]) -> ImageRecipe:
        values = {name: value for name, value in recipe.items() if name != "layout"}
        return ImageRecipe(**{**values, "exclude": tuple(values["exclude"])})


def image_folder(
    preprocess: Preprocess,
    *,
    size: Annotated[int, Ge(8)],
    channels: Literal[1, 3] | None,
    resize: Resize,
    exclude: list[str],
    invert: bool,
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
        own: see `OwnData`.

    Raises:
        RequestError: naming folder or file.
    """
    wording = wording_of(own, preprocess)
    recipe = ImageRecipe(size, channels, resize, tuple(exclude), own["split_by"] == "file", invert)
    labelled = read_images(
        preprocess, own["root"], recipe, unlabelled=own["unlabelled"], on_bad=own["on_bad"]
    )
    return Own("image_folder", named(labelled, preprocess, wording), plan_of(own))


def read_images(
    preprocess: Preprocess, root: str | None, recipe: ImageRecipe, *, unlabelled: str | None, on_bad: OnBad
) -> Labelled:
    """All images below `root`, by class.

    Raises:
        RequestError: naming folder or file.
    """
    folder, problems = _folder(root), Problems(on_bad)
    seen = seen_in(folder, recipe.exclude, split_folders=recipe.split_folders)
    if seen.left_out:
        message = f"{folder}: left out, for they are no examples: {'; '.join(seen.left_out)}"
        warnings.warn(message, RuntimeWarning, stacklevel=2)
    for place, what in seen.classes_without_images:
        problems.add(place, what, "add some, or leave the class out (dataset.exclude)")
    found = seen.images
    files = [ImageFile(path, os.path.relpath(path, folder)) for path, _ in found]
    settled = settled_for(preprocess, recipe, files)
    kept, images, inputs = _inputs(preprocess, files, settled, problems)
    problems.warn(str(folder))
    labels = [found[number][1] for number in kept]
    if not labels:
        raise RequestError(f"dataset.root: no image of {folder} can be read; see what they are")
    splits = [label.pop(0) for label in labels] if seen.splits is not None else None
    tasks = [label[0] for label in labels] if len(labels[0]) == 2 else None
    places = [files[number].name for number in kept]
    marked = marks([label[-1] for label in labels], tasks, splits, places, by_name=seen.splits == "by name")
    free = None if unlabelled is None else _unlabelled(preprocess, unlabelled, settled, problems)
    # Features differ in their last bits with what is computed beside them
    contents = None if inputs is images else hashes_of(images, None)
    return marked.labelled(inputs, free, problems.skipped, settled.as_json(), contents=contents)


def raw_images(
    preprocess: Preprocess, path: str, recipe: ImageRecipe, *, problems: Problems, chunk: int
) -> Iterator[Raw]:
    """Images of a file, or of a folder and all folders in it, `chunk` at a time; nothing is cached.

    Raises:
        RequestError: where there is none, or one cannot be read.
    """
    return raw_pictures(preprocess, below(Path(path).expanduser()), recipe, problems=problems, chunk=chunk)


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
    kept, _, inputs = _inputs(preprocess, list(below(Path(path).expanduser())), recipe, problems)
    return inputs if kept else None


def _folder(root: str | None) -> Path:
    if root is None:
        raise RequestError("dataset.root: no folder is named; give dataset.root=FOLDER with <class>/<file>")
    folder = Path(root).expanduser()
    if not folder.is_dir():
        raise RequestError(f"dataset.root: {folder} is not a folder; name one that holds <class>/<file>")
    return folder
