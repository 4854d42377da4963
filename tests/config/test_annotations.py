"""Values against annotations: what fits, what is said of what does not, and how a type is described."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge, Gt, Le, Len, Lt

from coldstart_cli.config.annotations import choices, classes, described, mismatch
from coldstart_cli.experiment.trainer import ValidationPlan


@pytest.mark.parametrize(
    ("value", "annotation", "fits"),
    [
        (1, int, True), (True, int, False), (1.0, int, False), ("1", int, False),
        (1, float, True), (math.inf, float, True), (math.nan, float, False), (False, float, False),
        (True, bool, True), (0, bool, False), ("", str, True), (None, str, False), (1, str, False),
        (None, int | None, True), (3, int | None, True), ("3", int | None, False),
        (None, Annotated[int, Ge(1)] | None, True), (0, Annotated[int, Ge(1)] | None, False),
        (1, Annotated[float, Gt(0), Lt(1)], False), (0.5, Annotated[float, Gt(0), Lt(1)], True),
        (1, Annotated[float, Ge(0), Le(1)], True), (math.nan, Annotated[float, Ge(0)], False),
        ([1, 2], list[int], True), ([1, "2"], list[int], False), ("12", list[str], False),
        (1, list[int], False),
        ([], Annotated[list[int], Len(1)], False), ([1], Annotated[list[int], Len(1)], True),
        ([0], list[Annotated[int, Ge(1)]], False), ({"a": [1.0]}, dict[str, list[float]], True),
        ({"a": 1.0}, dict[str, list[float]], False), ([], dict[str, int], False),
        ({}, Mapping[str, int], True),
        ("a", Literal["a", "b"], True), ("c", Literal["a", "b"], False), (None, Literal["a"] | None, True),
        (True, Literal[1, 2], False), (1, Literal[1, 2], True), ([], Literal["a"], False),
        (object(), Any, True), (object(), dict, True),
        ({"_target_": "a.B"}, ValidationPlan, True), (None, ValidationPlan, False),
        (3, ValidationPlan, False),
    ],
)  # fmt: skip
def test_mismatch_judges_values_by_annotation(value: object, annotation: Any, fits: bool) -> None:
    wrong = mismatch(value, annotation)
    assert (wrong is None) == fits
    assert wrong is None or ("; " in wrong and "\n" not in wrong)


def test_mismatch_shortens_long_values() -> None:
    wrong = mismatch("x\n" * 5000, int)
    assert wrong is not None
    assert len(wrong) < 120
    assert "\n" not in wrong


@pytest.mark.parametrize(
    ("annotation", "words", "choice"),
    [
        (int, "whole number", ()),
        (bool, "true | false", ("false", "true")),
        (Annotated[float, Gt(0), Le(1)], "number > 0 and <= 1", ()),
        (Literal["all", "head"] | None, "all | head, or null", ("all", "head", "null")),
        (Annotated[list[int], Len(1)], "[whole number, ...], not empty", ()),
        (dict[str, float], "{name: number}", ()),
        (str | None, "text, or null", ()),
        (tuple[str, ...], "[text, ...]", ()),
        (Literal["%", ""], "% | empty", ("%", "")),
    ],
)
def test_types_are_described_in_words_with_all_their_choices(
    annotation: Any, words: str, choice: tuple[str, ...]
) -> None:
    assert (described(annotation), choices(annotation)) == (words, choice)


def test_classes_of_an_annotation_are_all_it_may_hold() -> None:
    assert classes(int | None) == [int, type(None)]
    assert classes(Annotated[list[str], Len(1)]) == [str]
    assert classes(Any) == [object]
