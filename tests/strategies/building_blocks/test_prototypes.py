"""Class means by hand."""

from __future__ import annotations

import torch

from coldstart_cli.strategies.building_blocks.prototypes import prototypes


def test_prototypes_are_class_means() -> None:
    features = torch.tensor([[0.0, 2.0], [4.0, 0.0], [2.0, 2.0]])
    means = prototypes(features, torch.tensor([1, 0, 1]), 3)
    assert means.tolist() == [[4.0, 0.0], [1.0, 2.0], [0.0, 0.0]]
