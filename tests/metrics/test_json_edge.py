"""Dataclasses as JSON has them, and back."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import pytest

from coldstart_cli.metrics.json_edge import ABSENT, EMPTY, from_json, to_json


@dataclass(frozen=True)
class Part:
    name: str
    value: float


@dataclass(frozen=True)
class Whole:
    kind: Literal["a", "b"]
    parts: Sequence[Part]
    by_shot: Mapping[int, Part]
    left_out: Part | None = field(default=None, metadata=ABSENT)
    empty: Part | None = field(default=None, metadata=EMPTY)
    null: Part | None = None


WHOLE = Whole("a", [Part("x", 0.5)], {5: Part("y", 2.0)})
WRITTEN = {
    "kind": "a",
    "parts": [{"name": "x", "value": 0.5}],
    "by_shot": {"5": {"name": "y", "value": 2.0}},
    "empty": {},
    "null": None,
}


def test_a_result_is_written_with_none_in_each_way_and_comes_back() -> None:
    assert to_json(WHOLE) == WRITTEN
    assert from_json(Whole, json.loads(json.dumps(WRITTEN))) == WHOLE
    full = Whole("b", [], {}, Part("l", 1.0), Part("e", 1.0), Part("n", 1.0))
    assert from_json(Whole, to_json(full)) == full


def test_keys_of_a_later_version_are_passed_over_and_those_of_an_earlier_one_filled_in() -> None:
    later = {**WRITTEN, "unheard": 1}
    assert from_json(Whole, later) == WHOLE
    earlier = {key: value for key, value in WRITTEN.items() if key != "kind"}
    assert from_json(Whole, earlier, {Whole: {"kind": "a"}}) == WHOLE
    with pytest.raises(KeyError, match="kind"):
        from_json(Whole, earlier)


def test_null_is_a_number_that_is_not_finite() -> None:
    assert math.isnan(from_json(Part, {"name": "x", "value": None}).value)


@pytest.mark.parametrize("value", [{"name": 1, "value": 1.0}, {"name": "x", "value": True}, [], "x"])
def test_another_type_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="is no "):
        from_json(Part, value)
