"""What lies in a folder of images: examples by class, and all that is left out, each with a reason."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from coldstart_cli.datasets.own.stated_splits import names_splits
from coldstart_cli.datasets.readers.images import KINDS, SUFFIXES, ImageFile
from coldstart_cli.errors import RequestError, suggestion
from coldstart_cli.files.regular import check_no_loop

_DEEPEST = 8
_OF_SYSTEMS = {"__MACOSX", "Thumbs.db", "desktop.ini"}
"""What systems put beside files, as they do hidden ones."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a folder holds.

    Attributes:
        images: each image with the folders it lies in: ([split], [task], class).
        splits: whether the first of these is a split: `asked`, or known `by name`; None where it is not.
        classes_without_images: folders of a class in which nothing can be read, and why.
        left_out: files that are no examples, by what they are; one line each.
    """

    images: list[tuple[Path, list[str]]]
    splits: Literal["asked", "by name"] | None
    classes_without_images: list[tuple[str, str]]
    left_out: list[str]


def seen_in(folder: Path, exclude: Sequence[str], *, split_folders: bool) -> Seen:
    """Looks at a whole folder.

    Args:
        exclude: classes that are left out.
        split_folders: the first folders are splits, whatever they are called.

    Raises:
        RequestError: where there is no image, images lie at different depths, or an excluded class is not
            there.
    """
    entries = list(_walk(folder, _DEEPEST))
    images = [path for path, kind in entries if kind == "image"]
    parts_of = {path: list(path.relative_to(folder).parts[:-1]) for path in images}
    upper = {parts[0] for parts in parts_of.values() if len(parts) > 1}
    flat = any(len(parts) == 1 for parts in parts_of.values())
    by_name = not split_folders and not flat and names_splits(upper)
    extra = 1 if split_folders or by_name else 0
    placed = {path: parts for path, parts in parts_of.items() if extra < len(parts) <= 2 + extra}
    if not placed:
        raise _none(folder, images)
    folders = [path.relative_to(folder) for path, kind in entries if kind == "folder"]
    known = {parts[-1] for parts in placed.values()}
    for name in exclude:
        if name not in known | {place.name for place in folders}:
            raise RequestError(
                f"dataset.exclude: {name} is not a class of {folder}; {suggestion(name, known)}"
            )
    kept = [(path, parts) for path, parts in placed.items() if parts[-1] not in exclude]
    depth = _one_depth(folder, kept)
    others = [path for path, kind in entries if kind == "other"]
    return Seen(
        kept,
        "asked" if split_folders else "by name" if by_name else None,
        _without_images(folder, folders, kept, others, depth, exclude),
        _left_out(folder, [path for path in images if path not in placed], others, extra),
    )


@dataclass(frozen=True, slots=True)
class Files:
    """Images, and of each its label; its task, split and origin, or None where nothing says them.

    `by_name`: see `Marks`.
    """

    images: list[ImageFile]
    labels: list[str]
    tasks: list[str] | None
    splits: list[str] | None
    groups: list[str] | None
    by_name: bool


def joined(parts: Sequence[Files]) -> Files:
    """The images of a place and of further lists, which are for training where splits are said.

    Raises:
        RequestError: where some say a task or origin and others do not.
    """
    parts = [part for part in parts if part.images] or list(parts[:1])
    if len(parts) == 1:
        return parts[0]
    values: dict[str, list[str] | None] = {}
    for name in ("tasks", "splits", "groups"):
        found = [getattr(part, name) for part in parts]
        known = [value for value in found if value is not None]
        if known and len(known) < len(found) and name != "splits":
            raise RequestError(
                f"dataset.labelled: some images have {name} and others do not; give all of them a column"
            )
        filled = [["train"] * len(p.images) if v is None else v for p, v in zip(parts, found, strict=True)]
        values[name] = [one for value in filled for one in value] if known else None
    return Files(
        [image for part in parts for image in part.images],
        [label for part in parts for label in part.labels],
        **values,
        by_name=any(part.by_name for part in parts),
    )


def files_of(folder: Path, seen: Seen) -> Files:
    """What the folders say of the images in them."""
    parts = [list(folders) for _, folders in seen.images]
    splits = None if seen.splits is None else [folders.pop(0) for folders in parts]
    tasks = [folders[0] for folders in parts] if parts and len(parts[0]) == 2 else None
    images = [ImageFile(path, os.path.relpath(path, folder)) for path, _ in seen.images]
    labels = [folders[-1] for folders in parts]
    return Files(images, labels, tasks, splits, None, by_name=seen.splits == "by name")


def below(path: Path) -> Iterator[ImageFile]:
    """The image at `path`, or all images in the folder and below it.

    Raises:
        RequestError: where there is none.
    """
    if path.is_file():
        yield ImageFile(path, path.name)
        return
    found = images_below(path)
    first = next(found, None)
    if first is None:
        raise RequestError(f"{path}: holds no image ({KINDS}); name a file or folder that does")
    yield first
    yield from found


def images_below(folder: Path) -> Iterator[ImageFile]:
    """All images in a folder and the folders in it, in alphabetical order."""
    for found, kind in _walk(folder, _DEEPEST) if folder.is_dir() else ():
        if kind == "image":
            yield ImageFile(found, os.path.relpath(found, folder))


def _walk(folder: Path, depth: int) -> Iterator[tuple[Path, Literal["image", "folder", "other"]]]:
    """All in alphabetical order, down to `depth` folders below; without what is hidden."""
    try:
        check_no_loop(folder)
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise RequestError(f"{folder}: cannot be read ({error.strerror}); check its permissions") from error
    for entry in entries:
        if entry.name.startswith(".") or entry.name in _OF_SYSTEMS:
            continue
        if entry.is_dir():
            yield Path(entry.path), "folder"
            if depth:
                yield from _walk(Path(entry.path), depth - 1)
        else:
            yield Path(entry.path), "image" if entry.name.lower().endswith(SUFFIXES) else "other"


def _none(folder: Path, images: Sequence[Path]) -> RequestError:
    where = f" (its images lie as {images[0].relative_to(folder)})" if images else ""
    return RequestError(
        f"dataset.root: {folder} holds no images in folders named after their class{where}; put them into "
        f"<class>/<file> ({KINDS})"
    )


def _one_depth(folder: Path, kept: Sequence[tuple[Path, list[str]]]) -> int:
    """How many folders all of these lie in.

    Raises:
        RequestError: where they differ.
    """
    first_of: dict[int, str] = {}
    for path, parts in kept:
        first_of.setdefault(len(parts), str(path.relative_to(folder)))
    if len(first_of) > 1:
        one, other = first_of.values()
        raise RequestError(
            f"dataset.root: {folder} holds {one} and {other}, at different depths; lay all images out as "
            "<class>/<file> or all as <task>/<class>/<file> (E19)"
        )
    return next(iter(first_of), 1)


def _without_images(
    folder: Path,
    folders: Sequence[Path],
    kept: Sequence[tuple[Path, list[str]]],
    others: Sequence[Path],
    depth: int,
    exclude: Sequence[str],
) -> list[tuple[str, str]]:
    """Folders where a class would lie, without one image."""
    full = {Path(*parts) for _, parts in kept}
    found = []
    for place in folders:
        if len(place.parts) != depth or place in full or place.name in exclude:
            continue
        inside = Counter(p.suffix.lower() or "no suffix" for p in others if p.parent == folder / place)
        kinds = ", ".join(f"{n:,} {suffix}" for suffix, n in inside.most_common(3))
        holds = f"no image that can be read ({kinds})" if kinds else "no image"
        found.append((f"{folder / place}", f"the class holds {holds}"))
    return found


def _left_out(folder: Path, misplaced: Sequence[Path], others: Sequence[Path], extra: int) -> list[str]:
    """Lines on files that are no examples: by suffix, or by where they lie."""
    by_suffix = Counter(path.suffix.lower() or "no suffix" for path in others)
    lines = [f"{n:,} {suffix}" for suffix, n in by_suffix.most_common()]
    shallow = [p for p in misplaced if len(p.relative_to(folder).parts) - 1 <= extra]
    deep = [p for p in misplaced if p not in set(shallow)]
    for paths, where in ((shallow, "beside the folders of classes"), (deep, "deeper than <task>/<class>")):
        if paths:
            lines.append(f"{len(paths):,} images {where} ({paths[0].relative_to(folder)})")
    return lines
