"""Quick versions of `benchmarks.coverage` and `error_coverage`: intervals hold what they are about."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks import error_coverage
from benchmarks.coverage import FRESH, coverage, strategy_of

DIM, N_CLASSES, DRAWS = 16, 10, 60


@pytest.mark.parametrize(("way", "k", "random"), [(2, 2, False), (5, 2, False), (5, 4, False), (2, 4, True)])
def test_the_interval_of_an_accuracy_holds_it(way: int, k: int, random: bool) -> None:
    generator = np.random.default_rng(0)
    classes = np.repeat(np.arange(N_CLASSES), FRESH + 8)
    centres = generator.normal(size=(N_CLASSES, DIM))
    points = (centres[classes] + generator.normal(size=(len(classes), DIM))).astype(np.float32)
    features = torch.nn.functional.normalize(torch.from_numpy(points), dim=-1)
    strategy = strategy_of("nearest_centroid", DIM)
    row = coverage(strategy, features, classes, way, k, DRAWS, what="", random=random, folds=(8, 2))
    assert (
        row.covered >= 0.9
    )  # 95 % within what sixty draws allow; the t interval over folds covers in a half
    assert row.width < 0.95  # and it does not hold by saying nothing
    if random:
        assert abs(row.estimate - row.truth) < 0.1


@pytest.mark.parametrize(("noise", "n"), [("normal", 10), ("t of 3", 20)])
def test_the_interval_of_an_error_holds_it(noise: str, n: int) -> None:
    row = error_coverage.coverage(error_coverage.ridge(), noise, n, DRAWS, folds=(8, 1))
    assert (
        row.covered >= 0.88
    )  # 93 % within what sixty draws allow; a t interval over folds covers 67 to 82 %
    assert row.width < 10
