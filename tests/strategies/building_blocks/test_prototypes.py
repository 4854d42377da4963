"""Class means by hand."""

from __future__ import annotations

import pytest
import torch

from coldstart_cli.strategies.building_blocks.prototypes import prototypes


def test_prototypes_are_class_means() -> None:
    features = torch.tensor([[0.0, 2.0], [4.0, 0.0], [2.0, 2.0]])
    means = prototypes(features, torch.tensor([1, 0, 1]), 3)
    assert means.tolist() == [[4.0, 0.0], [1.0, 2.0], [0.0, 0.0]]


def test_prototypes_of_many_classes_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    features, targets = torch.randn(30, 4), torch.arange(30) % 7
    few = prototypes(features, targets, 8)
    monkeypatch.setattr("coldstart_cli.strategies.building_blocks.prototypes._LARGEST", 10)
    torch.testing.assert_close(prototypes(features, targets, 8), few)
