"""The score on stated test examples, and its exact interval."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import beta

from coldstart_cli.bundles.adapting.stated_test import scored
from coldstart_cli.core.objectives import Classification, Regression
from coldstart_cli.core.tasks import Objective
from coldstart_cli.datasets.own.labelled import Labelled


def stated(objective: Objective, targets: torch.Tensor, classes: tuple[str, ...]) -> Labelled:
    """Examples whose inputs are what the identity should answer."""
    n = len(targets)
    whole = targets[:, None].float() if targets.ndim == 1 else targets
    return Labelled(
        inputs=torch.cat([1 - whole, whole], 1) if classes else whole, targets=targets, objective=objective,
        classes=classes, tasks=(), task_of=np.zeros(n, dtype=np.int64), splits=(),
        split_of=np.zeros(n, dtype=np.int64), places=[], unlabelled=None, skipped=(), recipe={},
        fingerprint="",
    )  # fmt: skip


def test_all_examples_are_scored_together_however_many_parts_they_come_in() -> None:
    targets = torch.arange(600) % 2
    test = stated(Classification(2), targets, ("a", "b"))
    assert isinstance(test.inputs, torch.Tensor)
    test.inputs[:150] = 1 - test.inputs[:150]  # a quarter is answered wrongly, all in the first part
    found = scored(torch.nn.Identity(), test, torch.device("cpu"))
    assert (found.metric, found.value, found.examples) == ("accuracy", pytest.approx(0.75), 600)
    # Clopper and Pearson
    assert found.low == pytest.approx(beta.ppf(0.025, 450, 151))
    assert found.high == pytest.approx(beta.ppf(0.975, 451, 150))


def test_an_error_has_no_interval_of_hits() -> None:
    test = stated(Regression(1), torch.tensor([[1.0], [3.0]]), ())
    found = scored(torch.nn.Flatten(), test, torch.device("cpu"))
    assert (found.metric, found.value, found.low, found.high) == ("mse", 0.0, None, None)
