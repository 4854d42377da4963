"""The multi-layer perceptron."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from coldstart_cli.models.mlp import MLP, perceptron, zeroed


def test_mlp_flattens_any_input_shape() -> None:
    encoder = MLP((3, 4, 5), hidden=[7, 9], activation="relu")
    assert encoder.feature_dim == 9
    assert encoder(torch.randn(2, 3, 4, 5)).shape == (2, 9)
    assert [p.shape[0] for p in encoder.parameters()] == [7, 7, 9, 9]


def test_mlp_has_an_activation_after_every_layer() -> None:
    torch.manual_seed(0)
    inputs = 5 * torch.randn(50, 3)
    assert (MLP((3,), hidden=[4], activation="relu")(inputs) >= 0).all()
    encoder = MLP((3,), hidden=[4], activation="tanh")
    linear = encoder.layers[0]
    assert isinstance(linear, nn.Linear)
    torch.testing.assert_close(encoder(inputs), torch.tanh(inputs @ linear.weight.T + linear.bias))


def test_mlp_reads_uint8_as_shares_of_255() -> None:
    encoder = MLP((1, 4, 4), hidden=[5], activation="relu").double()
    images = torch.randint(0, 256, (3, 1, 4, 4), dtype=torch.uint8)
    torch.testing.assert_close(encoder(images), encoder(images.double() / 255), rtol=0, atol=0)


def test_mlp_without_layers_is_the_inputs() -> None:
    encoder = MLP((2, 3), hidden=[], activation="relu")
    inputs = torch.randn(4, 2, 3)
    assert encoder.feature_dim == 6 and torch.equal(encoder(inputs), inputs.flatten(1))
    assert not list(encoder.parameters())


def test_mlp_refuses_several_tensors() -> None:
    with pytest.raises(ValueError, match=r"^model: MLP reads one tensor, this data set gives ids, mask; "):
        MLP({"ids": (8,), "mask": (8,)}, hidden=[5], activation="relu")


def test_perceptron_has_no_activation_at_its_end_and_may_start_at_zero() -> None:
    layers = perceptron([3, 5, 2])
    first, _, last = layers
    inputs = torch.randn(20, 3)
    torch.testing.assert_close(layers(inputs), last(torch.relu(first(inputs))))
    assert (layers(inputs) < 0).any()
    assert torch.equal(zeroed(layers)(inputs), torch.zeros(20, 2))
