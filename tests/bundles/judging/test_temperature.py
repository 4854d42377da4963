"""One temperature: the least negative log-likelihood, by a grid."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from coldstart_cli.bundles.judging.temperature import LIMITS, probabilities, temperature


@pytest.mark.parametrize("true", [0.5, 1.0, 4.0])
def test_temperature_is_the_one_the_labels_were_drawn_at(true: float) -> None:
    g = torch.Generator().manual_seed(0)
    logits = torch.randn(4000, 5, generator=g, dtype=torch.float64) * 3
    targets = torch.multinomial(F.softmax(logits / true, -1), 1, generator=g).squeeze(1)
    found = temperature(logits, targets, len(targets))
    grid = np.geomspace(*LIMITS, 4001)
    losses = [float(F.cross_entropy(logits / t, targets)) for t in grid]
    assert found == pytest.approx(grid[int(np.argmin(losses))], rel=2e-2)
    assert found == pytest.approx(true, rel=0.1)


def test_temperature_believes_no_more_than_the_number_of_examples_allows() -> None:
    logits, targets = 10 * torch.eye(3), torch.arange(3)  # three of three are right: believe 4/5
    found = temperature(logits, targets, 3)
    assert probabilities(logits, found)[0, 0] == pytest.approx(4 / 5, abs=1e-4)
    thrice = temperature(logits.repeat(3, 1), targets.repeat(3), 3)  # the same three, asked again
    assert thrice == pytest.approx(found, rel=1e-3)


def test_temperature_stays_within_its_limits_where_all_is_wrong() -> None:
    assert temperature(10 * torch.eye(4), torch.tensor([1, 2, 3, 0]), 4) == pytest.approx(LIMITS[1], rel=0.01)


def test_probabilities_sum_to_one_and_keep_the_order() -> None:
    logits = torch.tensor([[1.0, 2.0, 3.0]])
    p = probabilities(logits, 2.0)
    assert float(p.sum()) == pytest.approx(1.0) and p.argsort().tolist() == [[0, 1, 2]]


def test_very_many_answers_are_taken_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    targets = torch.randint(0, 4, (4000,), generator=generator)
    logits = 3 * torch.nn.functional.one_hot(targets, 4) + torch.randn(4000, 4, generator=generator) * 2
    whole = temperature(logits, targets, 4000)
    monkeypatch.setattr("coldstart_cli.bundles.judging.temperature.LARGEST", 4000)
    assert temperature(logits, targets, 4000) == pytest.approx(whole, rel=0.15)
