"""Raw examples that a caller holds in memory, as each layout reads them: rows, texts, images, arrays.

Frames of pandas and polars are known by their methods, so that neither is imported.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from coldstart_cli.datasets.readers.delimited import Row
from coldstart_cli.datasets.readers.images import Content, ImageFile, Picture
from coldstart_cli.datasets.readers.tables import check_columns
from coldstart_cli.errors import RequestError


def rows(values: object, names: Sequence[str], first: int = 0) -> Iterator[Row]:
    """Rows of a table, each with its place.

    Args:
        values: mappings of column to value, sequences in the order of `names`, an array (n, columns) in this
            order, or a frame. None and NaN are missing values.
        names: the columns that are read; a mapping or a frame may have others.
        first: the number of the first one in messages.

    Raises:
        RequestError: naming the row that is none, or that has another number of values.
    """
    if isinstance(values, Mapping):
        raise RequestError(
            "input: one mapping is not a table; give a list of rows, [{column: value, ...}, ...]"
        )
    shape = getattr(values, "shape", None)
    if shape is not None and len(shape) != 2:
        raise RequestError(f"input: has shape {tuple(shape)}; give (n, {len(names)}), a row for each example")
    for place, row in _items(values, "rows", first):
        if isinstance(row, Mapping):
            yield place, {str(name): _plain(value) for name, value in row.items()}
        elif not isinstance(row, list | tuple | np.ndarray):
            raise RequestError(
                f"{place}: {row!r:.40} is not a row; give a mapping or a value for each column"
            )
        elif len(row) != len(names):
            raise RequestError(
                f"{place}: has {len(row)} values for {len(names)} columns; give {', '.join(names)} in this "
                "order"
            )
        else:
            yield place, dict(zip(names, map(_plain, row), strict=True))


def lines(values: object, column: str, first: int = 0) -> Iterator[tuple[str, object, Mapping[str, Any]]]:
    """Texts, each with its place and the row it stands in.

    Args:
        values: texts, mappings that have `column`, or a frame that has it.
        first: the number of the first one in messages.

    Raises:
        RequestError: naming what is not a text.
    """
    for place, item in _items(values, "texts", first):
        row: Mapping[str, Any] = {}
        if isinstance(item, Mapping):
            check_columns(place, item, {"text_column": column})
            item, row = _plain(item[column]), item
        if item is not None and not isinstance(item, str):
            raise RequestError(f"{place}: {item!r:.40} is not a text; give a list of str")
        yield place, item, row


def pictures(values: object, first: int = 0) -> Iterator[ImageFile | Picture | Content]:
    """Images.

    Args:
        values: paths, contents of files (bytes), images of Pillow, arrays (H, W) or (H, W, C) of uint8 with
            1, 3 or 4 channels; or one array of n of these.
        first: the number of the first one in messages.

    Raises:
        RequestError: naming what is not an image.
    """
    from PIL import Image

    if not isinstance(values, Sequence) or isinstance(values, str):
        values = _array(values, "images") if hasattr(values, "shape") else values
    for place, item in _items(values, "images", first):
        if isinstance(item, str | os.PathLike):
            path = Path(item).expanduser()
            yield ImageFile(path, str(path))
        elif isinstance(item, bytes):
            yield Content(item, place)
        elif isinstance(item, Image.Image):
            yield Picture(item, place)
        elif hasattr(item, "shape"):
            yield Picture(Image.fromarray(_one_image(place, _array(item, "images"))), place)
        else:
            raise RequestError(
                f"{place}: {item!r:.40} is not an image; give a path, its bytes, an image of Pillow or uint8"
            )


def array(values: object) -> NDArray[Any]:
    """Numbers (n, ...) of an array, a tensor or nested lists.

    Raises:
        RequestError: where rows differ in their shape.
    """
    return _array(values, "numbers")


def _one_image(place: str, pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """(H, W), (H, W, 3) or (H, W, 4)."""
    shape, channels = pixels.shape, pixels.shape[2:]
    if pixels.dtype != np.uint8 or len(shape) not in (2, 3) or channels not in ((), (1,), (3,), (4,)):
        raise RequestError(
            f"{place}: an image is {pixels.dtype} of shape {shape}; give uint8 of shape (H, W), (H, W, 3) or "
            "(H, W, 4), values from 0 to 255"
        )
    return pixels[..., 0] if channels == (1,) else pixels


def _array(values: object, what: str) -> NDArray[Any]:
    try:
        tensor = values.detach().cpu() if hasattr(values, "detach") else values
        return np.asarray(tensor)
    except (ValueError, TypeError) as error:
        why = " ".join(str(error).split())[:100]
        raise RequestError(f"input: is not an array of {what} ({why}); give one of shape (n, ...)") from error


def _items(values: object, what: str, first: int) -> Iterator[tuple[str, Any]]:
    """The examples with their places, counted from `first`."""
    if isinstance(values, str | bytes | os.PathLike) or not isinstance(values, Iterable):
        raise RequestError(
            f"input: {values!r:.40} is not a list of {what}; give a list, also for one example"
        )
    if hasattr(values, "to_dicts"):  # polars
        values = values.to_dicts()
    elif hasattr(values, "to_dict") and hasattr(values, "columns"):  # pandas
        values = values.to_dict("records")
    elif hasattr(values, "tolist") and what != "images":
        values = values.tolist()
    for number, item in enumerate(cast("Iterable[Any]", values), start=first):
        yield f"input row {number}", item


def _plain(value: Any) -> Any:
    """A cell as Python has it: numpy's scalars as numbers, the missing values of pandas as None."""
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    return value.item() if isinstance(value, np.generic) else value
