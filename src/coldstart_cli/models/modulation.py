"""Feature-wise modulation of a network through its weights, and functions that task encoders share.

FiLM (Perez, Strub, de Vries, Dumoulin and Courville 2018, arXiv:1709.07871, equation 2) scales and
shifts the channels of a layer z = W x + b: z' = (1 + gamma) z + beta. Written into the weights,
W' = (1 + gamma) W and b' = (1 + gamma) b + beta, it costs nothing once the task is known, and any
encoder can be modulated. The scale is 1 + gamma rather than gamma, so that a modulation of 0 changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


def modulated_layers(module: nn.Module) -> dict[str, int]:
    """The layers that a task modulates: name -> number of channels.

    Norm layers, recognised by a weight of one dimension, where the module has any, as in CNAPs (Requeima
    et al. 2019, arXiv:1906.07697, section 2.2); else every layer with a weight (channels, ...) and a bias.

    Raises:
        ValueError: where there is no such layer.
    """
    affine = {}
    for name, layer in module.named_modules():
        weight, bias = getattr(layer, "weight", None), getattr(layer, "bias", None)
        if not isinstance(weight, nn.Parameter) or not isinstance(bias, nn.Parameter):
            continue
        if len(weight) == len(bias):
            affine[name] = weight
    norms = {name: weight for name, weight in affine.items() if weight.ndim == 1}
    if not affine:
        raise ValueError(
            "model: it has no layer with a weight and a bias to modulate; choose model=conv4 or mlp"
        )
    return {name: len(weight) for name, weight in (norms or affine).items()}


def modulate(
    weights: Mapping[str, Tensor], layers: Mapping[str, int], modulation: Tensor
) -> dict[str, Tensor]:
    """The modulated weights and biases of `layers`, by name.

    Args:
        weights: tensors by name, those of the layers among them.
        layers: name -> number of channels, as `modulated_layers` gives them.
        modulation: (2 * all channels,): gamma of every layer in turn, then beta of every layer.
    """
    widths = list(layers.values())
    gammas, betas = modulation.chunk(2)
    modulated = {}
    for name, gamma, beta in zip(
        layers, torch.split(gammas, widths), torch.split(betas, widths), strict=True
    ):
        weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
        # One gamma per output channel, broadcast over the other dimensions of the weight.
        modulated[f"{name}.weight"] = (1 + gamma).view(-1, *[1] * (weight.ndim - 1)) * weight
        modulated[f"{name}.bias"] = (1 + gamma) * bias + beta
    return modulated


def beside(features: Tensor, task: Tensor) -> Tensor:
    """[x, task] for every row x: (n, d), (m,) -> (n, d + m)."""
    return torch.cat([features, task.expand(len(features), -1)], dim=1)


def prototype_head(means: Tensor) -> tuple[Tensor, Tensor]:
    """Weight (n_way, d) and bias (n_way,) of the linear head that classifies by the nearest mean (n_way, d).

    w = 2 c and b = -|c|^2, for -|x - c|^2 = 2 c x - |c|^2 - |x|^2, whose last term all classes share
    (Snell, Swersky and Zemel 2017, arXiv:1703.05175, equation 8).
    """
    return 2 * means, -means.pow(2).sum(1)
