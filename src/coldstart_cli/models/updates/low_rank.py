"""Low-rank updates of a module's weights: Hu et al. 2021, arXiv:2106.09685, equation 3 and section 4.1.

W' = W + scale B A, with scale alpha / rank, or alpha / sqrt(rank) where it is rank-stabilised (rsLoRA,
Kalajdzievski 2023, arXiv:2312.03732, theorem 3.2), A (rank, rest) and B (out, rank) for a weight of `out`
rows that is read as a matrix (out, rest): a convolution's (out, in, height, width) has rest = in * height *
width. Written for tensors by their names, so that one implementation serves every module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
    """The factors that an update starts from: `NAME.lora_A` random and `NAME.lora_B` zero, so B A is zero.

    A is drawn from U(-1 / sqrt(rest), 1 / sqrt(rest)) as in the authors' code: Kaiming's uniform distribution
    with a = sqrt(5), of variance 1 / (3 rest). The paper's text has a Gaussian without a variance.
    """
    generator = torch.Generator().manual_seed(seed % 2**32)
    factors = {}
    for name, weight in weights.items():
        out, rest = sides(weight)
        # Drawn on the CPU and then moved, so that every device starts from the same numbers.
        uniform = (2 * torch.rand(rank, rest, generator=generator) - 1) / rest**0.5
        factors[f"{name}.lora_A"] = uniform.to(weight)
        factors[f"{name}.lora_B"] = weight.new_zeros(out, rank)
    return factors


def chosen(weights: Mapping[str, Tensor], targets: Sequence[str] | None) -> dict[str, Tensor]:
    """Those of the weights whose names have one of the targets in them; all for None.

    A target is one part of a name between dots, or several: `query`, `convs.3`.

    Raises:
        ValueError: where a target is in no name.
    """
    if targets is None:
        return dict(weights)
    for target in targets:
        if not any(f".{target}." in f".{name}." for name in weights):
            named = dict.fromkeys(part for name in weights for part in name.split(".")[:-1])
            # Numbers of layers are parts, too, and would fill the line where there are words.
            parts = [part for part in named if not part.isdigit()] or list(named)
            raise ValueError(f"targets: no matrix has {target} in its name; choose among {', '.join(parts)}")
    return {n: w for n, w in weights.items() if any(f".{target}." in f".{n}." for target in targets)}


def dropped(factors: Mapping[str, Tensor], share: float, generator: torch.Generator) -> dict[str, Tensor]:
    """The factors as if this share of the updates' inputs x in A x were zero and the others larger.

    Departure from the authors' code: the inputs that are dropped are the same for all examples, because
    updates are merged into the weights.
    """
    left = dict(factors)
    for name, factor in factors.items():
        if name.endswith(".lora_A"):
            kept = torch.rand(1, factor.shape[1], generator=generator) >= share
            left[name] = factor * kept.to(factor) / (1 - share)
    return left


def scale_of(alpha: float, rank: int, *, rank_stabilised: bool) -> float:
    """What B A is multiplied by."""
    return float(alpha / (rank**0.5 if rank_stabilised else rank))


def constants(module: nn.Module, names: Sequence[str], prefix: str) -> dict[str, Tensor]:
    """Tensors of a module as they are, without gradient, named with a prefix."""
    found = {}
    for name in names:
        owner, _, leaf = name.rpartition(".")
        # By attribute: `Pretrained.freeze` makes buffers of parameters.
        found[prefix + name] = getattr(module.get_submodule(owner), leaf).detach()
    return found


def merged(weights: Mapping[str, Tensor], factors: Mapping[str, Tensor], scale: float) -> dict[str, Tensor]:
    """W + scale B A for each of the weights; a network with them costs no more than before."""
    return {
        name: weight + scale * (factors[f"{name}.lora_B"] @ factors[f"{name}.lora_A"]).view(weight.shape)
        for name, weight in weights.items()
    }
