"""Modulated weights against an explicit FiLM layer, and prototypes as a linear head."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from coldstart_cli.models.conv import Conv4
from coldstart_cli.models.mlp import MLP
from coldstart_cli.models.modulation import beside, modulate, modulated_layers, prototype_head


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def film(channels: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    """Perez et al. 2018, equation 2, around 1, on (n, width, ...)."""
    shape = (1, -1, *[1] * (channels.ndim - 2))
    return (1 + gamma.view(shape)) * channels + beta.view(shape)


def test_modulated_layers_are_norms_or_else_all() -> None:
    conv4 = Conv4((1, 28, 28), hidden=8, norm="group", groups=2, downsample="stride")
    assert modulated_layers(conv4) == {f"norms.{i}": 8 for i in range(4)}
    assert modulated_layers(MLP((3,), hidden=[5, 7], activation="relu")) == {"layers.0": 5, "layers.2": 7}
    assert modulated_layers(nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU())) == {"0": 4}


def test_module_without_weights_to_modulate_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^model: it has no layer with .*; choose model="):
        modulated_layers(nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU()))


def test_modulated_mlp_equals_film_on_preactivations() -> None:
    torch.manual_seed(0)
    encoder = MLP((3,), hidden=[5, 4], activation="relu").double()
    layers = modulated_layers(encoder)
    inputs = torch.randn(6, 3, generator=generator(), dtype=torch.float64)
    values = torch.randn(18, generator=generator(), dtype=torch.float64)
    features = functional_call(encoder, modulate(dict(encoder.named_parameters()), layers, values), (inputs,))
    first, second = encoder.layers[0], encoder.layers[2]
    gammas, betas = values[:9], values[9:]
    hidden = torch.relu(film(first(inputs), gammas[:5], betas[:5]))
    torch.testing.assert_close(features, torch.relu(film(second(hidden), gammas[5:], betas[5:])))


def test_modulated_conv4_equals_film_after_its_norms() -> None:
    torch.manual_seed(0)
    encoder = Conv4((1, 28, 28), hidden=4, norm="group", groups=2, downsample="stride").double()
    layers = modulated_layers(encoder)
    images = torch.rand(3, 1, 28, 28, generator=generator(), dtype=torch.float64)
    values = torch.randn(32, generator=generator(), dtype=torch.float64)
    features = functional_call(encoder, modulate(dict(encoder.named_parameters()), layers, values), (images,))
    maps = images
    for i, (conv, norm) in enumerate(zip(encoder.convs, encoder.norms, strict=True)):
        gamma, beta = values[4 * i : 4 * i + 4], values[16 + 4 * i : 20 + 4 * i]
        maps = F.relu(film(norm(conv(maps)), gamma, beta))
    torch.testing.assert_close(features, maps.mean((2, 3)))


def test_modulation_at_zero_changes_nothing() -> None:
    encoder = MLP((3,), hidden=[5], activation="relu")
    weights = dict(encoder.named_parameters())
    for name, tensor in modulate(weights, modulated_layers(encoder), torch.zeros(10)).items():
        assert torch.equal(tensor, weights[name])


def test_prototype_head_ranks_as_squared_distances_do() -> None:
    x = torch.randn(6, 4, generator=generator(), dtype=torch.float64)
    means = torch.randn(3, 4, generator=generator(), dtype=torch.float64)
    weight, bias = prototype_head(means)
    logits = x @ weight.T + bias - (x**2).sum(1, keepdim=True)
    torch.testing.assert_close(logits, -((x[:, None] - means) ** 2).sum(-1))


def test_task_stands_beside_every_row() -> None:
    assert beside(torch.tensor([[1.0], [2.0]]), torch.tensor([7.0, 8.0])).tolist() == [[1, 7, 8], [2, 7, 8]]
