"""Centred features against numpy."""

from __future__ import annotations

import numpy as np
import torch

from coldstart_cli.core.tasks import Inputs
from coldstart_cli.models.network import Encoder
from coldstart_cli.strategies.building_blocks.centred import Centred


class Same(Encoder):
    feature_dim = 3

    def forward(self, inputs: Inputs) -> torch.Tensor:
        assert isinstance(inputs, torch.Tensor)
        return inputs


def test_centred_features_have_length_one_around_the_mean() -> None:
    values, mean = torch.randn(6, 3, dtype=torch.float64), torch.randn(3, dtype=torch.float64)
    encoder = Same()
    moved = values.numpy() - mean.numpy()
    expected = moved / np.linalg.norm(moved, axis=1, keepdims=True)
    np.testing.assert_allclose(Centred(encoder, mean, normalise=True)(values), expected)
    np.testing.assert_allclose(Centred(encoder, mean, normalise=False)(values), moved)
    np.testing.assert_allclose(Centred(encoder, None, normalise=False)(values), values)
