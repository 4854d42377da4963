"""A quick version of `benchmarks.coverage`: the interval of an accuracy holds it, on drawn features."""

from __future__ import annotations

import numpy as np
import pytest
import torch

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
