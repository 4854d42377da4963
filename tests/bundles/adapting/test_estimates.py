"""What answers to held-out labels say: values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import one_hot

from coldstart_cli.bundles.adapting.estimates import estimated
from coldstart_cli.bundles.judging.held_out_labels import Answers, Together
from coldstart_cli.core.objectives import Classification, Regression

CLASSES = ("ant", "bee", "cat")


def answers(said: list[int], targets: list[int], *, origins: np.ndarray | None = None) -> Answers:
    """One answer for each example, in two folds."""
    n = len(said)
    return Answers(
        outputs=one_hot(torch.tensor(said), 3).float(),
        targets=torch.tensor(targets),
        examples=np.arange(n),
        folds=np.arange(n) % 2,
        centroid=np.array([1.0] * (n // 2) + [0.0] * (n // 2)),
        n_folds=2,
        n_repeats=1,
        together=Together.of(np.arange(n), origins),
    )


def test_accuracy_stands_beside_simple_answers_and_the_weakest_classes() -> None:
    found = estimated(answers([0, 0, 0, 1, 0, 0], [0, 0, 0, 1, 1, 0]), Classification(3), CLASSES)
    assert (found.metric, found.mean, found.judged) == ("accuracy", pytest.approx(5 / 6), 6)
    assert found.low is not None and found.high is not None and found.low < 5 / 6 < found.high
    assert (found.majority, found.nearest_centroid) == (pytest.approx(4 / 6), 0.5)
    assert found.balanced_accuracy == pytest.approx(0.75)
    assert found.weakest == {"bee": 0.5} and found.not_judged == ("cat",)
    assert found.origins is None


def test_origins_are_counted_where_examples_have_them() -> None:
    given = answers([0, 0, 1, 1], [0, 0, 1, 1], origins=np.array([0, 0, 1, 1]))
    assert estimated(given, Classification(3), CLASSES).origins == 2


def test_an_error_has_an_interval_that_is_not_below_zero() -> None:
    together = Together.of(np.arange(4), None)
    given = Answers(
        outputs=torch.tensor([[1.0], [0.0], [0.0], [0.0]]), targets=torch.zeros(4, 1), examples=np.arange(4),
        folds=np.array([0, 0, 1, 1]), centroid=None, n_folds=2, n_repeats=1, together=together,
    )  # fmt: skip
    found = estimated(given, Regression(1), ())
    assert (found.metric, found.mean) == ("mse", pytest.approx(0.25))  # 0.5 and 0
    assert found.half_width is None and found.low is not None and found.high is not None
    assert 0 < found.low < 0.25 < found.high


def test_an_error_is_told_in_the_unit_of_its_metric() -> None:
    together = Together.of(np.arange(4), None)
    given = Answers(
        outputs=torch.tensor([[1.0], [0.5], [0.0], [2.0]]), targets=torch.zeros(4, 1), examples=np.arange(4),
        folds=np.array([0, 0, 1, 1]), centroid=None, n_folds=2, n_repeats=1, together=together,
    )  # fmt: skip
    plain, scaled = (estimated(given, Regression(1, 0.0, deviation), ()) for deviation in (1.0, 10.0))
    for ours, theirs in ((scaled.mean, plain.mean), (scaled.low, plain.low), (scaled.high, plain.high)):
        assert ours == pytest.approx(100 * theirs)  # type: ignore[operator]
