"""What is kept of rows: by their own order, read again, and refused where it is damaged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from coldstart_cli.bundles.judging.held_out_labels import Answers, Together
from coldstart_cli.bundles.kept.kept_rows import KeptRows
from coldstart_cli.core.objectives import Classification, Regression
from coldstart_cli.datasets.own.labelled import Labelled
from coldstart_cli.errors import RequestError


def labelled(x: list[list[float]], y: list[int] | list[list[float]], classes: tuple[str, ...]) -> Labelled:
    n = len(x)
    targets = torch.tensor(y)
    objective = Classification(len(classes)) if classes else Regression(1, 10.0, 2.0)
    return Labelled(
        torch.tensor(x), targets, objective, classes, (), np.zeros(n, np.int64), (), np.zeros(n, np.int64),
        [f"row {i}" for i in range(n)], None, (), "print", {"layout": "arrays"},
    )  # fmt: skip


def answers(
    outputs: list[list[float]], targets: torch.Tensor, examples: list[int], order: list[int]
) -> Answers:
    """Of two repeats in two folds, of examples that were dealt in this order."""
    which = np.arange(len(order))
    return Answers(
        torch.tensor(outputs), targets[torch.tensor(order)[examples]], np.array(examples),
        np.repeat(np.arange(4), len(examples) // 4), None, 2, 2,
        Together(which, which, False, np.array(order)),
    )  # fmt: skip


def test_answers_stand_beside_the_rows_that_they_are_of() -> None:
    own = labelled([[1.0], [2.0], [3.0], [4.0]], [0, 1, 0, 1], ("a", "b"))
    # each of the four twice, in the order 3, 2, 1, 0; row 3 is answered with a, then with b
    given = [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0]]
    kept = KeptRows.of(own, answers(given, own.targets, [0, 1, 2, 3, 0, 1, 2, 3], [3, 2, 1, 0]))
    assert kept.answers.tolist() == [[0, 0], [0, 0], [1, 1], [0, 1]]
    assert kept.labels.tolist() == [0, 1, 0, 1] and len(set(kept.contents.tolist())) == 4
    again = KeptRows.from_bytes(kept.as_bytes(), 2)
    assert again.answers.tolist() == kept.answers.tolist() and again.judged.all()
    assert again.contents.tolist() == kept.contents.tolist()
    assert not KeptRows.of(own, None).judged.any()


def test_errors_of_reals_are_in_the_unit_of_the_target() -> None:
    own = labelled([[1.0], [2.0], [3.0], [4.0]], [[0.0], [1.0], [2.0], [3.0]], ())
    given = [[0.5], [1.0], [2.0], [3.0], [-0.5], [1.0], [2.0], [1.0]]
    kept = KeptRows.of(own, answers(given, own.targets, [0, 1, 2, 3, 0, 1, 2, 3], [0, 1, 2, 3]))
    assert kept.errors.tolist() == pytest.approx([(0.5 * 2) ** 2, 0.0, 0.0, (2 * 2) ** 2 / 2])
    rescaled = replace(own, targets=(own.targets * 2 + 10 - 4) / 3, objective=Regression(1, 4.0, 3.0))
    assert KeptRows.of(rescaled, None).labels.tolist() == kept.labels.tolist()


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("labels", np.array([0, 2])),
        ("answers", np.full((2, 1), 7, np.int32)),
        ("answers", np.zeros((3, 1), np.int32)),
        ("errors", np.zeros(1)),
        ("contents", np.zeros(2)),
    ],
)
def test_what_does_not_fit_its_card_is_refused(name: str, array: np.ndarray) -> None:
    kept = KeptRows.of(labelled([[1.0], [2.0]], [0, 1], ("a", "b")), None)
    spoiled = replace(kept, **{name: array})
    with pytest.raises(RequestError, match="rows is damaged"):
        KeptRows.from_bytes(spoiled.as_bytes(), 2)
    with pytest.raises(RequestError, match="rows is damaged"):
        KeptRows.from_bytes(b"rows", 2)
