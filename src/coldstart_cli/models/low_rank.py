"""Low-rank updates of a module's weights: Hu et al. 2021, arXiv:2106.09685, equation 3 and section 4.1.

W' = W + (alpha / rank) B A, with A (rank, rest) and B (out, rank) for a weight of `out` rows that is read as
a matrix (out, rest): a convolution's (out, in, height, width) has rest = in * height * width. Written
for tensors by their names, so that one implementation serves every module.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


def matrices(module: nn.Module) -> dict[str, Tensor]:
    """The parameters that have a low-rank update, by name.

    All whose name contains weight (`weight`, `in_proj_weight`, `weight_ih_l0`) and that are matrices: two or
    more dimensions, more than one row and one column. These are linear layers, convolutions, attention and
    recurrent layers; biases, norms and embeddings stay frozen.
    """
    # By identity: a table may be shared with a linear layer, and is then looked up all the same.
    tables = {id(m.weight) for m in module.modules() if isinstance(m, nn.Embedding | nn.EmbeddingBag)}
    return {
        name: w
        for name, w in module.named_parameters()
        if "weight" in name.rpartition(".")[2] and id(w) not in tables and w.ndim > 1 and min(sides(w)) > 1
    }


def sides(weight: Tensor) -> tuple[int, int]:
    """(out, rest): the weight as a matrix."""
    return len(weight), weight[0].numel()


def check_rank(rank: int, weights: Mapping[str, Tensor]) -> None:
    """Refuses a rank that would not restrict one of the updates.

    Raises:
        ValueError: where the rank is above the smaller side of a weight.
    """
    if not weights:
        return
    # The narrowest weight limits the rank of all.
    name = min(weights, key=lambda name: min(sides(weights[name])))
    out, rest = sides(weights[name])
    if rank > min(out, rest):
        raise ValueError(
            f"rank: {rank} is above the smaller side of {name}, which is {out}x{rest}; "
            f"choose at most {min(out, rest)}"
        )


def low_rank(weights: Mapping[str, Tensor], rank: int, seed: int) -> dict[str, Tensor]:
    """The factors that an update starts from: `NAME.lora_A` Gaussian and `NAME.lora_B` zero, so B A is zero.

    The paper gives no variance; here it is 1 / rest, so that A x is of the size of x.
    """
    generator = torch.Generator().manual_seed(seed % 2**32)
    factors = {}
    for name, weight in weights.items():
        out, rest = sides(weight)
        # Drawn on the CPU and then moved, so that every device starts from the same numbers.
        gaussian = torch.randn(rank, rest, generator=generator) / rest**0.5
        factors[f"{name}.lora_A"] = gaussian.to(weight)
        factors[f"{name}.lora_B"] = weight.new_zeros(out, rank)
    return factors


def merged(weights: Mapping[str, Tensor], factors: Mapping[str, Tensor], scale: float) -> dict[str, Tensor]:
    """W + scale B A for each of the weights; a network with them costs no more than before."""
    return {
        name: weight + scale * (factors[f"{name}.lora_B"] @ factors[f"{name}.lora_A"]).view(weight.shape)
        for name, weight in weights.items()
    }
