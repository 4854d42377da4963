"""Learned scales inside linear layers, (IA)^3: Liu et al. 2022, arXiv:2205.05638, section 3.3.

One number for each output of a layer, (x W^T + b) * l, as of keys and values, or for each of its inputs,
(x * l) W^T + b, as of the layer that ends a feed-forward block, whose inputs are the inner activations.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import final

from torch import Tensor, nn

from coldstart_cli.models.updates.low_rank import chosen

SCALES = ".ia3_l"


@final
class ScaledLinear(nn.Module):
    """A linear layer with room for scales, without which it is the layer alone.

    Attributes:
        ia3_l: (out,), or (in,) where inputs are scaled, of any type; or None.
    """

    ia3_l: Tensor | None

    def __init__(self, layer: nn.Linear, *, of_inputs: bool) -> None:
        super().__init__()
        self.layer, self.of_inputs = layer, of_inputs
        self.register_buffer("ia3_l", None)

    def forward(self, inputs: Tensor) -> Tensor:
        if self.ia3_l is None:
            outputs: Tensor = self.layer(inputs)
        elif self.of_inputs:
            outputs = self.layer(inputs * self.ia3_l.to(inputs.dtype))
        else:
            outputs = self.layer(inputs)
            outputs = outputs * self.ia3_l.to(outputs.dtype)
        return outputs


def with_scaled_layers(
    module: nn.Module, within: str, targets: Sequence[str], feedforward: Sequence[str]
) -> dict[str, int]:
    """Puts linear layers below the submodule `within` into `ScaledLinear`s.

    Args:
        targets: of the layers whose outputs are scaled, parts of their names; see `low_rank.chosen`.
        feedforward: of those whose inputs are.

    Returns:
        How many scales each has, by their name, `NAME.ia3_l`; scales of 1 change nothing.

    Raises:
        ValueError: where a target names no linear layer.
    """
    below = module.get_submodule(within).named_modules()
    layers = {f"{within}.{n}".lstrip("."): m for n, m in below if isinstance(m, nn.Linear)}
    weights = {f"{name}.weight": layer.weight for name, layer in layers.items()}
    found: dict[str, int] = {}
    for parts, of_inputs in ((targets, False), (feedforward, True)):
        for weight in chosen(weights, parts) if parts else ():
            name = weight.removesuffix(".weight")
            owner, _, leaf = name.rpartition(".")
            setattr(module.get_submodule(owner), leaf, ScaledLinear(layers[name], of_inputs=of_inputs))
            found[f"{name}{SCALES}"] = weights[weight].shape[int(of_inputs)]
    return found


@contextlib.contextmanager
def scaled(module: nn.Module, scales: Mapping[str, Tensor]) -> Iterator[None]:
    """The module with these scales while the block lasts; gradients reach them."""
    layers = {name: module.get_submodule(name.removesuffix(SCALES)) for name in scales}
    for name, layer in layers.items():
        layer._buffers["ia3_l"] = scales[name]
    try:
        yield
    finally:
        for layer in layers.values():
            layer._buffers["ia3_l"] = None
