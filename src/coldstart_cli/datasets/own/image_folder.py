"""Images in folders named after their class: `<class>/<file>`, `<task>/<class>/<file>`.

Where the split is `file`, one more folder stands before them: `train`, `validation`, `new` (or `test`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Unpack

import numpy as np
import torch
from annotated_types import Ge

from coldstart_cli.core.tasks import Inputs
from coldstart_cli.datasets.own.labelled import Labelled, Raw, marks
from coldstart_cli.datasets.own.shared import OwnData, plan_of
from coldstart_cli.datasets.own.source import Own
from coldstart_cli.datasets.readers.images import (
    ImageFile,
    Picture,
    Resize,
    Unreadable,
    channels_of,
    decoded,
    pixels,
)
from coldstart_cli.datasets.readers.problems import OnBad, Problems
from coldstart_cli.errors import RequestError, suggestion
from coldstart_cli.files.regular import check_no_loop
from coldstart_cli.models.preprocess import Preprocess

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


@dataclass(frozen=True, slots=True)
class ImageRecipe:
    """How an image becomes an array (channels, size, size); `split_folders`: splits stand before classes."""

    size: int
    channels: int | None
    resize: Resize
    exclude: tuple[str, ...]
    split_folders: bool

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
    **own: Unpack[OwnData],
) -> Own:
    """Your own images as tasks.

    Args:
        preprocess: the model's; its image size and channels come before those here.
        size: height and width in pixels.
        channels: 1 or 3; None: 1 where all images are grey.
        resize: `crop` or `stretch`.
        exclude: names of classes that are left out.
        own: see `OwnData`.

    Raises:
        RequestError: naming folder or file.
    """
    recipe = ImageRecipe(size, channels, resize, tuple(exclude), own["split_by"] == "file")
    labelled = read_images(
        preprocess, own["root"], recipe, unlabelled=own["unlabelled"], on_bad=own["on_bad"]
    )
    return Own("image_folder", labelled, plan_of(own))


def read_images(
    preprocess: Preprocess, root: str | None, recipe: ImageRecipe, *, unlabelled: str | None, on_bad: OnBad
) -> Labelled:
    """All images below `root`, by class.

    Raises:
        RequestError: naming folder or file.
    """
    folder, problems = _folder(root), Problems(on_bad)
    found = list(_listed(folder, recipe))
    if not found:
        raise RequestError(
            f"dataset.root: {folder} holds no images in folders named after their class; put them into "
            "<class>/<file> (PNG, JPEG, WebP)"
        )
    files = [ImageFile(path, os.path.relpath(path, folder)) for path, _ in found]
    settled = settled_for(preprocess, recipe, files)
    kept, inputs = _inputs(preprocess, files, settled, problems)
    problems.warn(str(folder))
    labels = [found[number][1] for number in kept]
    if not labels:
        raise RequestError(f"dataset.root: no image of {folder} can be read; see what they are")
    splits = [label.pop(0) for label in labels] if recipe.split_folders else None
    tasks = [label[0] for label in labels] if len(labels[0]) == 2 else None
    marked = marks([label[-1] for label in labels], tasks, splits, [files[number].name for number in kept])
    free = None if unlabelled is None else _unlabelled(preprocess, unlabelled, settled, problems)
    return marked.labelled(inputs, free, problems.skipped, settled.as_json())


def raw_images(
    preprocess: Preprocess, path: str, recipe: ImageRecipe, *, problems: Problems, chunk: int
) -> Iterator[Raw]:
    """Images of a file, or of a folder and all folders in it, `chunk` at a time; nothing is cached.

    Raises:
        RequestError: where there is none, or one cannot be read.
    """
    return raw_pictures(preprocess, _below(Path(path).expanduser()), recipe, problems=problems, chunk=chunk)


def raw_pictures(
    preprocess: Preprocess,
    pictures: Iterable[ImageFile | Picture],
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
            rows.append(pixels(picture, recipe.size, channels, recipe.resize))
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
    return ImageRecipe(size, channels, recipe.resize, recipe.exclude, recipe.split_folders)


def _inputs(
    preprocess: Preprocess, files: Sequence[ImageFile], recipe: ImageRecipe, problems: Problems
) -> tuple[list[int], Inputs]:
    assert recipe.channels is not None
    made = decoded(files, recipe.size, recipe.channels, recipe.resize, problems)
    return made.kept.tolist(), preprocess.images(torch.from_numpy(made.images))


def _unlabelled(preprocess: Preprocess, path: str, recipe: ImageRecipe, problems: Problems) -> Inputs | None:
    kept, inputs = _inputs(preprocess, list(_below(Path(path).expanduser())), recipe, problems)
    return inputs if kept else None


def _folder(root: str | None) -> Path:
    if root is None:
        raise RequestError("dataset.root: no folder is named; give dataset.root=FOLDER with <class>/<file>")
    folder = Path(root).expanduser()
    if not folder.is_dir():
        raise RequestError(f"dataset.root: {folder} is not a folder; name one that holds <class>/<file>")
    return folder


def _listed(folder: Path, recipe: ImageRecipe) -> Iterator[tuple[Path, list[str]]]:
    """Every image with the folders it lies in: ([split], [task], class).

    Raises:
        RequestError: where images lie at different depths, or an excluded class is not there.
    """
    extra = 1 if recipe.split_folders else 0
    depths: dict[int, str] = {}
    seen: set[str] = set()
    for path in _walk(folder, 2 + extra):
        parts = list(path.relative_to(folder).parts[:-1])
        if len(parts) <= extra:
            continue  # beside the class folders
        seen.add(parts[-1])
        if parts[-1] in recipe.exclude:
            continue
        depths.setdefault(len(parts), str(path.relative_to(folder)))
        if len(depths) > 1:
            one, other = depths.values()
            raise RequestError(
                f"dataset.root: {folder} holds {one} and {other}, at different depths; lay all images out as "
                "<class>/<file> or all as <task>/<class>/<file>"
            )
        yield path, parts
    for name in recipe.exclude:
        if name not in seen:
            raise RequestError(
                f"dataset.exclude: {name} is not a class of {folder}; {suggestion(name, seen)}"
            )


def _walk(folder: Path, depth: int) -> Iterator[Path]:
    """Images in alphabetical order, down to `depth` folders below; hidden ones are none."""
    try:
        check_no_loop(folder)
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise RequestError(f"{folder}: cannot be read ({error.strerror}); check its permissions") from error
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            if depth:
                yield from _walk(Path(entry.path), depth - 1)
        elif entry.name.lower().endswith(SUFFIXES):
            yield Path(entry.path)


def _below(path: Path) -> Iterator[ImageFile]:
    if path.is_file():
        yield ImageFile(path, path.name)
        return
    none = True
    for found in _walk(path, 8) if path.is_dir() else ():
        none = False
        yield ImageFile(found, os.path.relpath(found, path))
    if none:
        raise RequestError(f"{path}: holds no image (PNG, JPEG, WebP); name a file or folder that does")
