"""A request's body as inputs of the bundle's layout, and what is to be said of them. No path is ever read.

What is refused here is refused before it waits; what only the layout's own reading can tell (a category that
is none, a picture that is damaged) is refused by the answer.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from coldstart_cli.datasets.own.raw import Recipe
from coldstart_cli.errors import suggestion
from coldstart_cli.files.untrusted import Foreign, json_values
from coldstart_cli.serving.plan import ServePlan


class Refused(Exception):
    """A request that is not answered: an HTTP status and one line, as of `RequestError`."""

    def __init__(self, status: int, line: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(line)
        self.status, self.line, self.headers = status, line, dict(headers or {})


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What one request asks.

    Attributes:
        inputs: raw examples as `Bundle.predict` reads them; of images their bytes, never a path.
        top_k: labels, the likeliest first.
        probabilities: of every class.
        threshold: below this probability it abstains; None: the bundle's.
    """

    inputs: Sequence[Any]
    top_k: int
    probabilities: bool
    threshold: float | None


def of_json(body: bytes, recipe: Recipe, plan: ServePlan) -> Asked:
    """A body of JSON: an object with `inputs`, and perhaps `top_k`, `probabilities`, `threshold`.

    Raises:
        Refused: 400 where it is not JSON, 413 where inputs are too many, 422 where it is not what is asked.
    """
    try:
        value = json_values(body.decode("utf-8"))
    except (Foreign, UnicodeDecodeError) as error:
        why = str(error) if isinstance(error, Foreign) else "is not UTF-8"
        raise Refused(400, f'body: {why}; send {{"inputs": [...]}}') from error
    if not isinstance(value, dict) or not isinstance(value.get("inputs"), list):
        raise Refused(422, 'inputs: there is no such list; send {"inputs": [...]}')
    known = ("inputs", "top_k", "probabilities", "threshold")
    for key in value:
        if key not in known:
            raise Refused(422, f"{key:.60}: there is no such key; {suggestion(key, known)}")
    given = _counted(value["inputs"], plan)
    return _asked([_one(recipe, i, one) for i, one in enumerate(given, start=1)], value, recipe, plan)


def of_files(files: Sequence[bytes], fields: Mapping[str, str], recipe: Recipe, plan: ServePlan) -> Asked:
    """The parts of a form: files of images, and perhaps the other keys of `of_json` as texts.

    Raises:
        Refused: as `of_json`.
    """
    if recipe["layout"] != "image_folder":
        raise Refused(415, "body: this bundle reads no files; send application/json")
    try:
        values = {key: json_values(text) for key, text in fields.items()}
    except Foreign as error:
        raise Refused(422, f"form: a field {error}; write a number, true or false") from error
    return _asked(_counted(files, plan), values, recipe, plan)


def _counted(inputs: Sequence[Any], plan: ServePlan) -> Sequence[Any]:
    if not inputs:
        raise Refused(422, "inputs: there is none; give one at least")
    if len(inputs) > plan.max_inputs:
        raise Refused(
            413, f"inputs: {len(inputs):,} are more than {plan.max_inputs:,}; send them in several requests"
        )
    return inputs


def _asked(inputs: Sequence[Any], value: Mapping[str, Any], recipe: Recipe, plan: ServePlan) -> Asked:
    top_k, told = value.get("top_k", plan.top_k), value.get("probabilities", False)
    threshold = value.get("threshold")
    if not isinstance(top_k, int) or isinstance(top_k, bool) or top_k < 1:
        raise Refused(422, "top_k: is not a whole number from 1; write 3")
    if not isinstance(told, bool):
        raise Refused(422, "probabilities: is neither true nor false; write true")
    number = isinstance(threshold, int | float) and not isinstance(threshold, bool)
    if threshold is not None and not (number and 0 <= threshold <= 1):
        raise Refused(422, "threshold: is not between 0 and 1; write 0.5")
    if recipe["layout"] == "arrays":
        inputs = _arrays(inputs, images=bool(recipe["images"]))
    return Asked(inputs=inputs, top_k=top_k, probabilities=told, threshold=threshold)


def _one(recipe: Recipe, number: int, value: Any) -> Any:
    """One input as the layout's reading takes it, which tells what else is wrong with it."""
    place = f"input row {number}"
    match recipe["layout"]:
        case "image_folder":
            return _image(place, value)
        case "text":
            column = recipe["text_column"]
            if not isinstance(value, str) and not (
                isinstance(value, dict) and isinstance(value.get(column), str)
            ):
                raise Refused(422, f'{place}: is not a text; give "..." or {{"{column}": "..."}}')
            return _unicode(place, value if isinstance(value, str) else value[column])
        case "tabular":
            return _row(place, value)
        case _:
            return value


def _row(place: str, value: Any) -> Any:
    if not isinstance(value, dict | list):
        raise Refused(422, f"{place}: is not a row; give an object with a value for each column")
    cells = value if isinstance(value, list) else list(value.values())
    for cell in cells:
        if isinstance(cell, dict | list):
            raise Refused(422, f"{place}: a value is a list or an object; give numbers, texts or null")
        if isinstance(cell, str):
            _unicode(place, cell)
    return value


def _image(place: str, value: Any) -> bytes:
    """The file that a text in base64, or a `data:` address of it, holds."""
    text = value if isinstance(value, str) else ""
    encoded = text.partition(",")[2] if text.startswith("data:") else text
    try:
        data = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused(422, f"{place}: is not base64; send the image's file in it") from error
    if not data:
        raise Refused(422, f"{place}: is not an image; send its file in base64")
    return data


def _arrays(inputs: Sequence[Any], *, images: bool) -> list[np.ndarray[Any, Any]]:
    """Nested lists of numbers of one shape; uint8 where the bundle reads images."""
    try:
        values = np.asarray(inputs)
    except (ValueError, OverflowError) as error:
        raise Refused(422, "inputs: their lists differ in length; give arrays of one shape") from error
    if values.dtype.kind not in "iuf":
        raise Refused(422, "inputs: not all values are numbers; give nested lists of numbers")
    if images:
        if values.dtype.kind == "f" or values.min(initial=0) < 0 or values.max(initial=0) > 255:
            raise Refused(422, "inputs: images are of whole numbers from 0 to 255; give such")
        values = values.astype(np.uint8)
    return list(values)


def _unicode(place: str, text: str) -> str:
    """The text, where it is one: JSON can write half of a character, which no file can hold."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Refused(422, f"{place}: holds half a character (a lone surrogate); repair it") from error
    return text
