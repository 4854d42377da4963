"""Dataclasses as JSON, and back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from coldstart_cli.metrics.json_edge import ABSENT, EMPTY, from_json, to_json


@dataclass(frozen=True)
class Part:
    mean: float
    n: int | None


@dataclass(frozen=True, kw_only=True)
class Whole:
    steps: int | Sequence[int]
    points: Sequence[tuple[float, str]]
    parts: Mapping[int, Part]
    settings: Mapping[str, Any]
    left_out: Part | None = field(default=None, metadata=ABSENT)
    empty: Part | None = field(default=None, metadata=EMPTY)


WHOLE = Whole(steps=[0, 1], points=[(0.5, "a")], parts={5: Part(0.5, None)}, settings={"a": {"b": [1, None]}})
JSON: dict[str, Any] = {
    "steps": [0, 1], "points": [[0.5, "a"]], "parts": {"5": {"mean": 0.5, "n": None}},
    "settings": {"a": {"b": [1, None]}}, "empty": {},
}  # fmt: skip


def test_a_dataclass_is_read_back_as_it_was_written() -> None:
    assert to_json(WHOLE) == JSON
    assert from_json(Whole, JSON) == WHOLE


def test_one_value_stands_for_a_list_of_such_and_null_for_what_is_not_finite() -> None:
    assert from_json(Whole, {**JSON, "steps": 3}).steps == 3
    assert math.isnan(from_json(Part, {"mean": None, "n": 1}).mean)


@pytest.mark.parametrize(
    "changes",
    [{"steps": "3"}, {"steps": ["3"]}, {"points": [[0.5]]}, {"points": [0.5]}, {"parts": []},
     {"parts": {"5": {"mean": True, "n": 1}}}, {"parts": {"five": {"mean": 0.5, "n": 1}}}],
)  # fmt: skip
def test_what_holds_something_else_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        from_json(Whole, {**JSON, **changes})
    with pytest.raises(KeyError):
        from_json(Whole, {key: JSON[key] for key in JSON if key not in changes})
