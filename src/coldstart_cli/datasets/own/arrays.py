"""Your own arrays in an npz file: x (n, ...), y (n,) and maybe task and split. Pickles are refused.

For sensor windows, signals, precomputed features. Numbers become float32, standardised where that is asked;
uint8 of shape (n, 1 or 3, H, W) is images and stays. A large x is unpacked once into the cache folder and
read from there.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coldstart_cli.core.tasks import Inputs
from coldstart_cli.datasets.own.labelled import Labelled, Marks, marks
from coldstart_cli.datasets.own.names import named
from coldstart_cli.datasets.own.raw import Raw
from coldstart_cli.datasets.own.shared import OwnData, plan_of, wording_of
from coldstart_cli.datasets.own.source import Own
from coldstart_cli.datasets.own.splits import Plan, fitted_rows
from coldstart_cli.datasets.own.targets import Target, classes_or_reals
from coldstart_cli.datasets.readers.equality import hashes_of
from coldstart_cli.datasets.readers.npz import Archive
from coldstart_cli.datasets.readers.problems import OnBad, Problems
from coldstart_cli.errors import RequestError
from coldstart_cli.models.preprocess import Preprocess

_CHUNK = 8 << 20
_APART = 100.0
"""Ratio of the largest to the smallest deviation above which features as they are deserve a word."""

ChannelAxis = Literal["first", "last"]
Scale = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and deviation of each feature or channel."""


@dataclass(frozen=True, slots=True)
class ArrayRecipe:
    """Names of the arrays in the file, and how x is read.

    Attributes:
        example_shape, images: known once x was read.
        channel_axis: `last` where x is (n, H, W, C); None: `first`, but where that is in doubt it is asked.
        standardise: numbers are read as (x - mean) / deviation, for each feature or channel.
        scale: these means and deviations, once they are fitted.
    """

    x_key: str
    y_key: str
    task_key: str | None
    split_key: str | None
    target: Target
    example_shape: tuple[int, ...] | None
    images: bool
    channel_axis: ChannelAxis | None = None
    standardise: bool = False
    scale: Scale | None = None
    group_key: str | None = None

    def as_json(self) -> dict[str, Any]:
        shape = None if self.example_shape is None else list(self.example_shape)
        scale = None if self.scale is None else [list(part) for part in self.scale]
        return {"layout": "arrays", **asdict(self), "example_shape": shape, "scale": scale}

    @staticmethod
    def from_json(recipe: Mapping[str, Any]) -> ArrayRecipe:
        # Recipes of before these keys read what they had channels first, without a question, and left to the
        # type of y what it is.
        values = {"channel_axis": "first", "scale": None, "target": "auto", **recipe}
        values.pop("layout", None)
        shape, scale = values["example_shape"], values["scale"]
        values["example_shape"] = None if shape is None else tuple(shape)
        values["scale"] = None if scale is None else (tuple(scale[0]), tuple(scale[1]))
        return ArrayRecipe(**values)


def arrays(
    preprocess: Preprocess,
    *,
    x_key: str,
    y_key: str,
    task_key: str | None,
    split_key: str | None,
    group_key: str | None,
    channel_axis: ChannelAxis | None,
    standardise: bool,
    target: Target,
    **own: Unpack[OwnData],
) -> Own:
    """Your own arrays as tasks: whole numbers and texts in y are classes, reals a regression.

    Args:
        preprocess: the model's.
        x_key, y_key: names of the arrays.
        task_key, split_key: names of arrays, or None.
        group_key: of the array with the person, session or site of each row, or None.
        channel_axis: of x (n, H, W, C) `last`; None: `first`, and where that is in doubt it is asked.
        standardise: read numbers as (x - mean) / deviation of the training rows.
        target: what y is: `class`, also of whole numbers stored as reals and of rows with a single 1; `real`;
            or `auto`: as its type says.
        own: see `OwnData`.

    Raises:
        RequestError: naming file and row.
    """
    wording = wording_of(own, preprocess)
    plan = plan_of(own)
    recipe = ArrayRecipe(
        x_key,
        y_key,
        task_key,
        split_key,
        target,
        None,
        False,
        channel_axis,
        standardise,
        group_key=group_key,
    )
    labelled = read_arrays(
        preprocess, own["root"], recipe, plan, unlabelled=own["unlabelled"], on_bad=own["on_bad"]
    )
    return Own("arrays", named(labelled, preprocess, wording), plan)


def read_arrays(
    preprocess: Preprocess,
    root: str | None,
    recipe: ArrayRecipe,
    plan: Plan | None,
    *,
    unlabelled: str | None,
    on_bad: OnBad,
) -> Labelled:
    """All examples of the file.

    Args:
        plan: as of `read_table`: says which rows means and deviations are known from.

    Raises:
        RequestError: naming file, array and row.
    """
    path, problems = _file(root), Problems(on_bad)
    with Archive(path) as archive:
        x, settled = _x(archive, recipe)
        y = classes_or_reals(archive.small(recipe.y_key, "y_key"), recipe.target, f"{path}: {recipe.y_key}")
        named = {
            key: archive.small(key, option)
            for option, key in (
                ("task_key", recipe.task_key),
                ("split_key", recipe.split_key),
                ("group_key", recipe.group_key),
            )
            if key is not None
        }
    _check_lengths(path, recipe, x, y, named)
    good = _finite(path.name, recipe.x_key, x, problems)
    if y.dtype.kind == "f":
        good &= _finite(path.name, recipe.y_key, torch.from_numpy(y.reshape(len(y), -1)), problems)
    problems.warn(str(path))
    rows = np.flatnonzero(good)
    if not len(rows):
        raise RequestError(f"{path}: holds no example; give x with rows that are finite")
    marked = _marked(path, recipe, y, named, rows)
    x = x if good.all() else x[torch.from_numpy(rows)]
    if settled.scale is None and not settled.images:
        scale = _scale(x, fitted_rows(marked, plan))
        if settled.standardise:
            settled = replace(settled, scale=scale)
        else:
            _warn_of_scales(path.name, recipe.x_key, scale)
    inputs = _preprocessed(preprocess, x, settled)
    free = None if unlabelled is None else _unlabelled(preprocess, unlabelled, settled, problems)
    contents = hashes_of(x, None) if plan is None else None
    return marked.labelled(inputs, free, problems.skipped, settled.as_json(), contents=contents)


def _check_lengths(
    path: Path, recipe: ArrayRecipe, x: Tensor, y: NDArray[Any], named: Mapping[str, NDArray[Any]]
) -> None:
    """Refuses arrays that do not say one thing of each row of x."""
    for key, values in {recipe.y_key: y, **named}.items():
        if len(values) != len(x) or (values.ndim != 1 and key != recipe.y_key):
            raise RequestError(
                f"{path}: {key} has shape {values.shape} beside {len(x):,} rows of {recipe.x_key}"
            )
    if y.dtype.kind != "f" and (y.ndim != 1 or y.dtype.kind not in "biuU"):
        raise RequestError(
            f"{path}: {recipe.y_key} is {y.dtype} of shape {y.shape}; give class numbers or names, or reals"
        )


def _marked(
    path: Path,
    recipe: ArrayRecipe,
    y: NDArray[Any],
    named: Mapping[str, NDArray[Any]],
    rows: NDArray[np.int64],
) -> Marks:
    """What the arrays say of these rows beside their content."""

    def texts(key: str | None) -> list[str] | None:
        return None if key is None else [str(value) for value in named[key][rows].tolist()]

    targets: list[str] | Tensor = [str(value) for value in y[rows].tolist()]
    if y.dtype.kind == "f":
        targets = torch.from_numpy(y[rows].reshape(len(rows), -1).astype(np.float32))
    places = [f"{path.name} row {row}" for row in rows.tolist()]
    return marks(targets, texts(recipe.task_key), texts(recipe.split_key), places).from_origins(
        texts(recipe.group_key)
    )


def raw_arrays(
    preprocess: Preprocess, path: str, recipe: ArrayRecipe, *, problems: Problems, chunk: int
) -> Iterator[Raw]:
    """x of an npz file, `chunk` rows at a time.

    Raises:
        RequestError: naming file and row, or where its examples have another shape.
    """
    file = _file(path)
    with Archive(file) as archive:
        x, settled = _x(archive, recipe)
    _check_like(str(file), settled, recipe)
    yield from _parts(preprocess, x, settled, file.name, problems, chunk)


def raw_array(
    preprocess: Preprocess,
    x: NDArray[Any],
    recipe: ArrayRecipe,
    *,
    problems: Problems,
    chunk: int,
    first: int = 0,
) -> Iterator[Raw]:
    """The same for an array in memory, whose rows are counted from `first`."""
    settled = _settled("input", x.shape, x.dtype, recipe)
    _check_like("input", settled, recipe)
    x = np.moveaxis(x, -1, 1) if _channels_last(x.shape, recipe) else x
    with np.errstate(over="ignore"):  # what single precision cannot hold is not finite, which is told below
        numbers = np.array(x, dtype=np.uint8 if settled.images else np.float32, order="C")
    yield from _parts(preprocess, torch.from_numpy(numbers), settled, "input", problems, chunk, first)


def _check_like(place: str, settled: ArrayRecipe, recipe: ArrayRecipe) -> None:
    """Refuses examples that are not like those the model was trained on."""
    if recipe.example_shape is not None and settled != recipe:
        found, asked = (f"{r.example_shape}{' of uint8' if r.images else ''}" for r in (settled, recipe))
        raise RequestError(
            f"{place}: examples of {recipe.x_key} have shape {found}, the model reads {asked}; make them as "
            "those it was trained on"
        )


def _parts(
    preprocess: Preprocess,
    x: Tensor,
    recipe: ArrayRecipe,
    name: str,
    problems: Problems,
    chunk: int,
    first: int = 0,
) -> Iterator[Raw]:
    """The rows of x that are finite, `chunk` at a time."""
    rows = np.flatnonzero(_finite(name, recipe.x_key, x, problems, first))
    for start in range(0, len(rows), chunk):
        part = rows[start : start + chunk]
        inputs = _preprocessed(preprocess, x[torch.from_numpy(part)], recipe)
        yield Raw(inputs, tuple(f"{name} row {row}" for row in (part + first).tolist()))


def _preprocessed(preprocess: Preprocess, x: Tensor, recipe: ArrayRecipe) -> Inputs:
    if recipe.images:
        return preprocess.images(x)
    return preprocess.vectors(x if recipe.scale is None else _standardised(x, recipe.scale))


def _scale(x: Tensor, rows: NDArray[np.int64]) -> Scale:
    """Mean and deviation over these rows of each feature (n, d), or of each channel (n, C, ...)."""
    total = square = torch.zeros(x.shape[1], dtype=torch.float64)
    step = max(1, _CHUNK // max(1, x[:1].numel() * 8))
    n = max(1, len(rows) * (x[:1].numel() // max(1, x.shape[1])))
    parts = [torch.from_numpy(rows[start : start + step]) for start in range(0, len(rows), step)]

    def summed(values: Tensor) -> Tensor:
        return values.transpose(0, 1).flatten(1).sum(1)

    total = sum((summed(x[part].double()) for part in parts), total)
    mean = total / n
    shaped = mean.reshape(-1, *[1] * (x.ndim - 2))
    # in two passes: the mean of squares less the square of the mean loses all digits far from zero
    square = sum((summed((x[part].double() - shaped) ** 2) for part in parts), square)
    deviation = (square / n).sqrt()
    constant = deviation <= torch.finfo(torch.float32).eps * mean.abs().clamp(min=1)
    deviation = torch.where(constant, torch.ones_like(deviation), deviation)
    return tuple(mean.tolist()), tuple(deviation.tolist())


def _standardised(x: Tensor, scale: Scale) -> Tensor:
    mean, deviation = (torch.tensor(part, dtype=x.dtype).reshape(-1, *[1] * (x.ndim - 2)) for part in scale)
    return (x - mean) / deviation


def _warn_of_scales(name: str, key: str, scale: Scale) -> None:
    """One line where features differ so much that the largest ones alone decide a distance."""
    deviations = [d for d in scale[1] if d != 1.0]  # that of what is constant
    if deviations and max(deviations) > _APART * min(deviations):
        warnings.warn(
            f"{name}: {key} is read as it is, with deviations from {min(deviations):.3g} to "
            f"{max(deviations):.3g}; dataset.standardise=true gives its features equal weight",
            RuntimeWarning,
            stacklevel=3,
        )


def _unlabelled(preprocess: Preprocess, path: str, recipe: ArrayRecipe, problems: Problems) -> Inputs | None:
    found = list(raw_arrays(preprocess, path, recipe, problems=problems, chunk=1 << 30))
    return found[0].inputs if found else None


def _file(root: str | None) -> Path:
    if root is None:
        raise RequestError("dataset.root: no file is named; give dataset.root=FILE.npz with x and y")
    path = Path(root).expanduser()
    if not path.is_file():
        raise RequestError(f"dataset.root: {path} is not a file; name an npz file with x and y (E10)")
    return path


def _x(archive: Archive, recipe: ArrayRecipe) -> tuple[Tensor, ArrayRecipe]:
    """(n, ...) float32, or uint8 of images; and the recipe with their shape."""
    settled = _settled(str(archive.path), *archive.header(recipe.x_key, "x_key"), recipe)
    array = archive.numbers(recipe.x_key, np.dtype(np.uint8 if settled.images else np.float32))
    if _channels_last(array.shape, recipe):
        array = np.ascontiguousarray(np.moveaxis(array, -1, 1))
    return torch.from_numpy(array), settled


def _settled(place: str, shape: tuple[int, ...], dtype: np.dtype[Any], recipe: ArrayRecipe) -> ArrayRecipe:
    """The recipe with what an array of examples is."""
    if len(shape) < 2 or dtype.kind not in "biuf":
        raise RequestError(
            f"{place}: {recipe.x_key} is {dtype} of shape {shape}; give numbers of shape (n, ...)"
        )
    if _channels_last(shape, recipe):
        shape = (shape[0], shape[3], *shape[1:3])
    elif recipe.channel_axis is None and len(shape) == 4 and shape[3] in (1, 3, 4) and shape[1] > 4:
        raise RequestError(
            f"{place}: {recipe.x_key} has shape {shape}, channels last as it seems; say dataset.channel_axis="
            f"last, or first to read {shape[1]} channels of {shape[2]} x {shape[3]}"
        )
    images = dtype == np.uint8 and len(shape) == 4 and shape[1] in (1, 3)
    return replace(recipe, example_shape=tuple(shape[1:]), images=images)


def _channels_last(shape: tuple[int, ...], recipe: ArrayRecipe) -> bool:
    return recipe.channel_axis == "last" and len(shape) == 4


def _finite(name: str, key: str, x: Tensor, problems: Problems, first: int = 0) -> NDArray[np.bool_]:
    """(n,) rows that are finite, looked at chunk by chunk; others go to `problems`."""
    good = np.ones(len(x), dtype=np.bool_)
    if not x.is_floating_point():
        return good
    step = max(1, _CHUNK // max(1, x[0].numel() * x.element_size())) if len(x) else 1
    for start in range(0, len(x), step):
        part = x[start : start + step]
        good[start : start + step] = torch.isfinite(part).reshape(len(part), -1).all(1).numpy()
    for row in np.flatnonzero(~good):
        problems.add(f"{name} row {first + row}", f"{key} is not finite", "repair it")
    return good
