"""Tensors of which each process holds a part: weights, gradients and moments under `hardware.shard`.

They are DTensors of torch, which FSDP2 leaves in a network (`fully_shard`; Zhao et al. 2023,
arXiv:2304.11277); a gradient of one is the mean over ranks already. Which networks are divided, and when they
are whole again, is `experiment/sharding.py`'s. Where nothing is divided, nothing here costs a message.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, distributed, nn

from coldstart_cli.processes import ranks


def is_part(tensor: Tensor) -> bool:
    """Whether other ranks hold the rest of it."""
    # By what it can do: importing the class takes seconds, and most runs divide nothing.
    return hasattr(tensor, "full_tensor")


def own(tensor: Tensor) -> Tensor:
    """What this rank holds of it."""
    part: Any = tensor
    held: Tensor = part.to_local() if is_part(tensor) else tensor
    return held


def whole(tensor: Tensor) -> Tensor:
    """All of it, on every rank: a message, if others hold the rest, in which all ranks take part."""
    part: Any = tensor
    full: Tensor = part.full_tensor() if is_part(tensor) else tensor
    return full


def gathered(state: Any) -> Any:
    """A state of mappings and lists with whole tensors on the CPU, copied; None in their place but on rank 0.

    One tensor after another, so that no device holds more than one of them whole.
    """
    if isinstance(state, dict):
        return {name: gathered(value) for name, value in state.items()}
    if isinstance(state, list):
        return [gathered(value) for value in state]
    if not isinstance(state, Tensor):
        return state
    full = whole(state.detach())
    return full.to("cpu", copy=True) if ranks.first() else None


def total(tensors: Iterable[Tensor]) -> float:
    """The sum of all numbers, the same on every rank."""
    parts, rest = _apart(tensors)
    found = sum((t.detach().sum() for t in rest), torch.zeros(()))
    return float(found) + (float(_over_ranks([t.detach().sum() for t in parts])) if parts else 0.0)


def clip_gradients(parameters: Sequence[nn.Parameter], max_norm: float) -> None:
    """Scales all gradients so that the norm of the whole is at most `max_norm`."""
    if not any(is_part(parameter) for parameter in parameters):
        nn.utils.clip_grad_norm_(parameters, max_norm)
        return
    parts, rest = _apart(p.grad for p in parameters if p.grad is not None)
    squares = _over_ranks([t.square().sum() for t in parts]) + sum(t.square().sum() for t in rest)
    # torch's own small number, so that a gradient of zero is not divided by.
    factor = (max_norm / (squares.sqrt() + 1e-6)).clamp(max=1.0)
    for gradient in (*parts, *rest):
        gradient.mul_(factor)


def _apart(tensors: Iterable[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """This rank's parts of those that are divided, and those that every rank holds."""
    both: tuple[list[Tensor], list[Tensor]] = ([], [])
    for tensor in tensors:
        both[not is_part(tensor)].append(own(tensor))
    return both


def _over_ranks(scalars: Sequence[Tensor]) -> Tensor:
    found = torch.stack(list(scalars)).sum()
    distributed.all_reduce(found)
    return found
