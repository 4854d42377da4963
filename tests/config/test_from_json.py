"""Dataclasses from JSON: nested ones, tuples and mappings; a key that is wrong is named."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pytest

from coldstart_cli.config.from_json import from_json


@dataclass(frozen=True)
class Point:
    x: float
    name: str | None = None


@dataclass(frozen=True)
class Shape:
    points: tuple[Point, ...]
    by_name: Mapping[str, Point]
    closed: bool
    colour: str = "red"


def test_what_was_written_comes_back_and_keys_of_later_versions_are_left_out() -> None:
    shape = Shape((Point(1.5), Point(2.0, "b")), {"b": Point(2.0, "b")}, closed=True)
    assert from_json(Shape, {**json.loads(json.dumps(asdict(shape))), "later": 1}) == shape
    assert from_json(Point, {"x": 1.0}) == Point(1.0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], r"^Shape is not an object$"),
        ({"points": [], "by_name": {}}, r"^closed is missing$"),
        ({"points": 3, "by_name": {}, "closed": True}, r"^points: points is not a list$"),
        ({"points": [{"x": "a"}], "by_name": {}, "closed": True}, r"^x: "),
        ({"points": [1], "by_name": {}, "closed": True}, r"^Point is not an object$"),
        ({"points": [], "by_name": {"a": None}, "closed": True}, r"^Point is not an object$"),
        ({"points": [], "by_name": {}, "closed": 1}, r"^closed: "),
    ],
)
def test_what_is_wrong_is_named(values: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_json(Shape, values)
