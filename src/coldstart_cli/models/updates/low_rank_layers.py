"""Low-rank updates inside linear layers: x W^T + b + scale (x A^T) B^T; Hu et al. 2021, arXiv:2106.09685.

Equal to a layer of the merged weight W + scale B A (`low_rank.merged`), whose gradient would be as large as
W: here W has none, and a step over a large frozen network takes less than half of the memory.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import final

from torch import Tensor, nn
from torch.nn import functional as F


@final
class LowRankLinear(nn.Module):
    """A linear layer with room for the factors of an update, without which it is the layer alone.

    Attributes:
        lora_A, lora_B: (rank, in), (out, rank), of any type, or None.
        scale: what the update is multiplied by.
    """

    lora_A: Tensor | None
    lora_B: Tensor | None

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.layer, self.scale = layer, 1.0
        self.register_buffer("lora_A", None)
        self.register_buffer("lora_B", None)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.layer(inputs)
        if self.lora_A is None or self.lora_B is None:
            return outputs
        update = F.linear(F.linear(inputs.to(self.lora_A.dtype), self.lora_A), self.lora_B)
        return outputs + (self.scale * update).to(outputs.dtype)


def with_low_rank_layers(module: nn.Module, within: str) -> dict[str, Tensor]:
    """Puts every linear layer below the submodule `within` into a `LowRankLinear`.

    Returns:
        Their weights (out, in) by name, as `low_rank.chosen` and `low_rank.low_rank` take them:
        `NAME.weight`, NAME being that of the `LowRankLinear` in the module.
    """
    found: dict[str, Tensor] = {}
    layers = [(n, m) for n, m in module.get_submodule(within).named_modules() if isinstance(m, nn.Linear)]
    for below, layer in layers:
        name = f"{within}.{below}".lstrip(".")
        owner, _, leaf = name.rpartition(".")
        setattr(module.get_submodule(owner), leaf, LowRankLinear(layer))
        found[f"{name}.weight"] = layer.weight
    return found


def place(module: nn.Module, factors: Mapping[str, Tensor], scale: float) -> None:
    """Puts factors, `NAME.weight.lora_A` and `.lora_B`, into the module's `LowRankLinear`s for good."""
    for name, factor in factors.items():
        owner, _, leaf = name.rpartition(".")
        layer = module.get_submodule(owner.removesuffix(".weight"))
        assert isinstance(layer, LowRankLinear)
        layer.scale = scale
        layer._buffers[leaf] = factor  # an attribute that is a Parameter would become one of the layer's


@contextlib.contextmanager
def placed(module: nn.Module, factors: Mapping[str, Tensor], scale: float) -> Iterator[None]:
    """The module with these factors while the block lasts; gradients reach them."""
    place(module, factors, scale)
    try:
        yield
    finally:
        for layer in module.modules():
            if isinstance(layer, LowRankLinear):
                layer.lora_A, layer.lora_B, layer.scale = None, None, 1.0
