"""Labels and targets: what is none is refused, and what may be meant otherwise is said."""

from __future__ import annotations

import numpy as np
import pytest

from coldstart_cli.datasets.own.targets import classes_or_reals, label_of, warn_of_names
from coldstart_cli.datasets.readers.problems import Problems
from coldstart_cli.errors import RequestError


@pytest.mark.parametrize("value", [["a", "b"], {"name": "a"}, ("a",)])
def test_lists_and_objects_are_no_labels(value: object) -> None:
    with pytest.raises(
        RequestError, match=r"row 2: column label holds (several labels|an object), .*; write one"
    ):
        label_of("d row 2", "label", value, Problems("stop"))
    problems = Problems("skip")
    assert label_of("d row 2", "label", value, problems) is None and len(problems.skipped) == 1


def test_a_label_is_text_whatever_holds_it() -> None:
    found = [label_of("d", "label", value, Problems("stop")) for value in (" a ", 1, 2.0, True)]
    assert found == ["a", "1", "2", "True"]
    with pytest.raises(RequestError, match="column label is empty"):
        label_of("d", "label", float("nan"), Problems("stop"))


@pytest.mark.parametrize(
    "names",
    [["Yes", "yes"], ["caf\u00e9", "cafe\u0301"], ["a\u200b", "a"], ["true", "True"], ["a  b", "a b"]],
)
def test_classes_that_look_the_same_are_named(names: list[str]) -> None:
    with pytest.warns(RuntimeWarning, match="2 classes differ from another in case, accents or invisible"):
        warn_of_names(names, [*names, "other"])


@pytest.mark.parametrize("name", ["nan", "None", "NULL", "n/a"])
def test_labels_that_read_like_no_value_are_named(name: str) -> None:
    with pytest.warns(RuntimeWarning, match=f"the label '{name}' reads like a missing value"):
        warn_of_names([name, "a"], [name, "a"])


def test_names_that_differ_are_not_named() -> None:
    warn_of_names(["a", "b"], ["t/a", "t/b", "u/a"])


@pytest.mark.parametrize(
    ("names", "sign", "n"),
    [
        (["a;b", "c"], ";", 1),
        (["a | b", "b", "a|c"], "|", 2),
        (["a,b", "a", "b"], ",", 1),
        (["a, b", "b, c", "c, a", "d"], ",", 3),
        (["['a', 'b']", '["a"]', "a", "b"], ",", 1),
    ],
)
def test_labels_that_list_several_are_named(names: list[str], sign: str, n: int) -> None:
    expected = (
        rf"^dataset: {n} labels hold '[{sign}]' as lists of labels do \(.*\) and are classes of their own;"
    )
    with pytest.warns(RuntimeWarning, match=expected):
        warn_of_names(names, names)


def test_commas_in_names_and_signs_at_their_ends_make_no_list() -> None:
    names = ["Buffalo, NY", "Albany, NY", "a;", "|", "(b, c)", "e, e"]
    warn_of_names(names, names)


def test_rows_of_several_ones_are_a_regression_with_a_word() -> None:
    y = np.array([[1, 0, 1], [0, 1, 0], [0, 0, 0]], dtype=np.float32)
    with pytest.warns(
        RuntimeWarning, match=r"^y: its rows are zeros and ones with other than a single 1, as of"
    ):
        assert classes_or_reals(y, "auto", "y") is y


WHOLE = np.array([0.0, 1.0, 2.0] * 4)
ONE_HOT = np.eye(3)[[0, 1, 2] * 4]


@pytest.mark.parametrize(("y", "kind"), [(WHOLE, "3 whole numbers"), (ONE_HOT, "rows with a single 1")])
def test_reals_that_look_like_classes_are_a_regression_with_a_word(y: np.ndarray, kind: str) -> None:
    with pytest.warns(
        RuntimeWarning, match=f"its reals are {kind} and are read as a regression; dataset.target="
    ):
        assert classes_or_reals(y, "auto", "y") is y
    assert classes_or_reals(y, "class", "y").tolist() == [0, 1, 2] * 4
    assert classes_or_reals(y.astype(np.int64), "class", "y").tolist() == [0, 1, 2] * 4
    assert classes_or_reals(y, "real", "y") is y


def test_other_targets_are_as_they_are() -> None:
    for y in (np.array([0.5, 1.0, 1.0]), np.array([1.0, 2.0, 3.0]), np.array(["a", "b"]), np.array([1, 1])):
        assert classes_or_reals(y, "auto", "y") is y
    assert classes_or_reals(np.array([1, 2]), "real", "y").dtype == np.float32
