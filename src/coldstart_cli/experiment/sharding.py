"""A strategy whose encoders are divided among the processes of a run while it trains (`hardware.shard`).

Fully sharded data parallelism, torch's FSDP2: each rank keeps a part of every weight, of its gradient and of
the optimizer's moments; a block is gathered when it is called, forward and backward, and let go after it.
Rajbhandari, Rasley, Ruwase and He 2020, arXiv:1910.02054 (stage 3); Zhao et al. 2023, arXiv:2304.11277.

Adaptation computes with tensors in the place of a network's, each rank for tasks of its own, which parts of
weights do not serve: for validation, evaluation and bundles the encoders are whole. What is saved is whole as
well, so that any number of processes, and one, continues from it.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from coldstart_cli.core.strategy import Strategy
from coldstart_cli.errors import RequestError
from coldstart_cli.hardware import Hardware
from coldstart_cli.models.network import Encoder
from coldstart_cli.processes import ranks, shards
from coldstart_cli.training.optimizers import optimizers


def encoders(strategy: Strategy) -> list[Encoder]:
    """Its encoders with weights, each once, and none that lies in another."""
    found: list[Encoder] = []
    for module in strategy.modules():
        inside = any(module is part for one in found for part in one.modules())
        if isinstance(module, Encoder) and not inside and any(True for _ in module.parameters()):
            found.append(module)
    return found


def check_sharding(hardware: Hardware, strategy: Strategy) -> None:
    """
    Raises:
        RequestError: where weights are to be divided, and this strategy's cannot be, or there are none.
    """
    if not hardware.shard:
        return
    other = "a strategy that trains an encoder on the source's classes (finetune, lora, nearest_centroid)"
    if not strategy.learns_from_source:
        reason = f"nothing learns from the source; choose {other}"
    elif not strategy.shardable:
        reason = (
            "this strategy's training puts tensors in the place of its network's weights, or reads them "
            f"apart from a call; choose {other}"
        )
    elif not any(p.requires_grad for encoder in encoders(strategy) for p in encoder.parameters()):
        reason = "no encoder learns; choose a model that is not frozen"
    else:
        return
    raise RequestError(f"hardware.shard: true, and {reason}, or write false")


def held(strategy: Strategy, hardware: Hardware) -> Whole:
    """How this run holds the strategy while it trains."""
    divided = hardware.shard and strategy.learns_from_source and ranks.world() > 1
    return Sharded(strategy, hardware.device) if divided else Whole(strategy)


class Whole:
    """Every process holds all of the strategy."""

    def __init__(self, strategy: Strategy) -> None:
        self.strategy = strategy

    def state(self) -> dict[str, Any]:
        """The strategy's state; on the first rank, elsewhere names alone may be there."""
        return self.strategy.state_dict()

    def copied(self) -> dict[str, Any]:
        """The same, which later steps do not change."""
        return copy.deepcopy(self.state())

    def optimizer_states(self) -> dict[str, Any]:
        """Of each optimizer, by its name in the strategy; where, as for `state`."""
        return {name: optimizer.state_dict() for name, optimizer in optimizers(self.strategy)}

    def agreed(self, due: bool) -> bool:
        """Whether a state is taken now: all ranks or none, where it takes messages."""
        return due

    def beside(self) -> dict[str, int]:
        """Bytes by what they are of, which this process holds beside the strategy."""
        return {}

    @contextlib.contextmanager
    def whole(self) -> Iterator[None]:
        """The strategy can adapt while the block lasts."""
        yield

    def end(self) -> None:
        """Training is over."""


class Sharded(Whole):
    """Each process holds a part of the encoders, and all of the rest.

    A divided copy stands in the place of each encoder; the encoder itself waits on the CPU, where weights are
    gathered into it.
    """

    def __init__(self, strategy: Strategy, device: torch.device) -> None:
        super().__init__(strategy)
        self.device = device
        divided = {id(encoder): (encoder, _divided(encoder, device)) for encoder in encoders(strategy)}
        self.pairs = list(divided.values())
        self.places = [
            (parent, name, *divided[id(module)])
            for parent in list(strategy.modules())
            for name, module in parent.named_children()
            if id(module) in divided
        ]
        self._rejoin()
        self.foreach = {name: _take_parts(o, self.pairs) for name, o in optimizers(strategy)}

    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = shards.gathered(dict(self.strategy.state_dict()))
        return found

    def copied(self) -> dict[str, Any]:
        return self.state()  # a copy already

    def optimizer_states(self) -> dict[str, Any]:
        found: dict[str, Any] = shards.gathered(super().optimizer_states())
        for name, state in found.items():
            for group, foreach in zip(state["param_groups"], self.foreach[name], strict=True):
                group["foreach"] = foreach
        return found

    def agreed(self, due: bool) -> bool:
        return ranks.largest(int(due)) > 0

    def beside(self) -> dict[str, int]:
        size = sum(p.numel() * p.element_size() for encoder, _ in self.pairs for p in encoder.parameters())
        return {"whole weights to adapt with": size}

    @contextlib.contextmanager
    def whole(self) -> Iterator[None]:
        self._gather()
        try:
            yield
        finally:
            self._rejoin()

    def end(self) -> None:
        self._gather()
        self.pairs, self.places = [], []

    @torch.no_grad()
    def _gather(self) -> None:
        """Puts the encoders in place, on the device, with the weights of now."""
        for encoder, divided in self.pairs:
            encoder.to(self.device).train(divided.training)
            own = encoder.state_dict()
            for name, tensor in divided.state_dict().items():
                own[name].copy_(shards.whole(tensor))
        for parent, name, encoder, _ in self.places:
            setattr(parent, name, encoder)

    def _rejoin(self) -> None:
        """Puts the divided copies in place, and the encoders on the CPU."""
        for encoder, _ in self.pairs:
            encoder.to("cpu")
        for parent, name, _, divided in self.places:
            setattr(parent, name, divided)


def _divided(encoder: Encoder, device: torch.device) -> nn.Module:
    """The encoder with a part of each weight; the given one keeps its own."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (ranks.world(),))
    # Parameters of its own around the same memory, which FSDP reads and does not write. It divides rows, so
    # they have to lie in order.
    memo: dict[int, Any] = {
        id(p): nn.Parameter(p.detach().contiguous(), p.requires_grad) for p in encoder.parameters()
    }
    memo |= {id(buffer): buffer.detach() for buffer in encoder.buffers()}
    made: Encoder = copy.deepcopy(encoder, memo)
    for block in (*made.blocks(), made):
        # Let go after the forward pass: a teacher has no backward pass that would do it.
        fully_shard(block, mesh=mesh, reshard_after_forward=True)
    return made


def _take_parts(
    optimizer: torch.optim.Optimizer, pairs: list[tuple[Encoder, nn.Module]]
) -> list[bool | None]:
    """Lets an optimizer move the parts, with its moments divided alike; what its groups said of `foreach`."""
    part_of = {
        id(p): part
        for encoder, divided in pairs
        for p, part in zip(encoder.parameters(), divided.parameters(), strict=True)
    }
    said = []
    for group in optimizer.param_groups:
        said.append(group.get("foreach"))
        group["foreach"] = False  # one call for all takes no mixture of parts and whole tensors
        for i, parameter in enumerate(group["params"]):
            part = part_of.get(id(parameter))
            if part is None:
                continue
            group["params"][i] = part
            if parameter in optimizer.state:
                optimizer.state[part] = _like(optimizer.state.pop(parameter), parameter, part)
    return said


def _like(state: Mapping[str, Any], parameter: Tensor, part: Any) -> dict[str, Any]:
    """An optimizer's state of a parameter, with tensors of its shape divided as the parameter is."""
    from torch.distributed.tensor import distribute_tensor

    return {
        # From this rank's own copy, without a message.
        key: distribute_tensor(value.contiguous(), part.device_mesh, part.placements, src_data_rank=None)
        if isinstance(value, Tensor) and value.shape == parameter.shape
        else value
        for key, value in state.items()
    }
