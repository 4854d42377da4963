"""What cannot be read is named or counted, and what is said of the rest is said once."""

from __future__ import annotations

import warnings

import pytest

from coldstart_cli.datasets.readers.problems import Problems
from coldstart_cli.errors import RequestError


def test_the_first_problem_ends_the_command_unless_they_are_skipped() -> None:
    with pytest.raises(
        RequestError, match=r"^a\.csv:3: no label; add one, or leave such out with dataset.on_bad=s"
    ):
        Problems("stop").add("a.csv:3", "no label", "add one")
    with pytest.raises(RequestError, match=r"^row 3: no label; add one \(E12\)$"):
        Problems("stop", strict=True).add("row 3", "no label", "add one")


def test_what_is_left_out_is_counted_with_the_first_five() -> None:
    problems = Problems("skip")
    for i in range(7):
        problems.add(f"r{i}", "bad", "mend it")
    with pytest.warns(RuntimeWarning, match=r"^data: 7 could not be read and left out: r0: .*and 2 more$"):
        problems.warn("data")
    with warnings.catch_warnings(record=True) as again:
        warnings.simplefilter("always")
        problems.warn("data")
    assert not again and len(problems.skipped) == 7


def test_what_is_unfamiliar_is_refused_of_values_in_memory_alone() -> None:
    with pytest.raises(RequestError, match=r"^row 1: 'x' is new; leave it out \(E12\)$"):
        Problems("stop", strict=True).unfamiliar("row 1", "'x' is new", "leave it out")
    problems = Problems("stop")
    problems.unfamiliar("row 1", "'x' is new", "leave it out")
    with pytest.warns(RuntimeWarning, match=r"data: 1 values are of no known category .*row 1: 'x' is new"):
        problems.warn("data")


def test_texts_that_are_cut_are_counted_over_all_parts() -> None:
    problems = Problems("stop")
    problems.cut(10, 2, 40)
    problems.cut(10, 1, 64)
    with pytest.warns(RuntimeWarning, match=r"3 of 20 texts are longer than 32 tokens .*max_length=64$"):
        problems.warn("a.csv", 32)
    assert len(problems.said) == 1
