"""Scales inside layers against plain arithmetic; they are there while a block lasts."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from coldstart_cli.models.updates.scaled_layers import scaled, with_scaled_layers


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), nn.Linear(2, 2))


def test_scales_multiply_outputs_and_inputs_and_gradients_reach_them() -> None:
    net, x = network(), torch.randn(5, 3)
    (first, _, second), last = net[0], net[1]
    plain = net(x)
    assert with_scaled_layers(net, "0", ["0"], ["2"]) == {"0.0.ia3_l": 4, "0.2.ia3_l": 4}
    torch.testing.assert_close(net(x), plain)
    scales = {name: torch.randn(4, requires_grad=True) for name in ("0.0.ia3_l", "0.2.ia3_l")}
    with scaled(net, scales):
        found = net(x)
    hidden = ((x @ first.weight.T + first.bias) * scales["0.0.ia3_l"]).relu() * scales["0.2.ia3_l"]
    torch.testing.assert_close(found, last(hidden @ second.weight.T + second.bias))
    assert all(g.abs().sum() > 0 for g in torch.autograd.grad(found.sum(), list(scales.values())))
    torch.testing.assert_close(net(x), plain)
    assert set(dict(net.named_buffers())) == set()


def test_target_that_names_no_linear_layer_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^targets: no matrix has k_proj in its name; choose among 0, 2$"):
        with_scaled_layers(network(), "0", ["k_proj"], [])
