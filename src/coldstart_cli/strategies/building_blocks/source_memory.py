"""Source examples that adaptation needs, kept as state so that a run adapts without its source data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor, nn

from coldstart_cli.core.tasks import Examples, Inputs, Pool
from coldstart_cli.training.randomness import step_seed


@final
class Memory(nn.Module):
    """Labelled examples as buffers, (n, ...) each; empty until filled, and of any size when loaded.

    Args:
        size: number of examples to keep; all of the pool where it has fewer.
    """

    targets: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("targets", torch.zeros(0, dtype=torch.int64))

    def __len__(self) -> int:
        return len(self.targets)

    def fill(self, pool: Pool, seed: int) -> None:
        """Takes `size` examples of the pool, in random order, without replacement. Pure in (pool, seed)."""
        generator = torch.Generator().manual_seed(step_seed(seed, 0))
        chosen = torch.randperm(len(pool), generator=generator)[: self.size]
        kept = pool.examples(chosen).to(self.targets.device)
        inputs = {"inputs": kept.inputs} if isinstance(kept.inputs, Tensor) else _prefixed(kept.inputs)
        # Buffers are saved with the strategy, follow its device, and are never trained.
        for name, tensor in inputs.items():
            self.register_buffer(name, tensor)
        self.register_buffer("targets", kept.targets)

    @property
    def examples(self) -> Examples:
        """All that is kept; uint8 inputs stay uint8."""
        buffers = {name: tensor for name, tensor in self.named_buffers() if name != "targets"}
        inputs: Inputs = {n.removeprefix("inputs_"): t for n, t in buffers.items()}
        return Examples(buffers.get("inputs", inputs), self.targets)

    def _load_from_state_dict(self, state: Mapping[str, Tensor], prefix: str, *rest: Any) -> None:
        """Takes tensors of any shape: it depends on the run, while the constructor's buffers are empty."""
        for name, tensor in state.items():
            if name.startswith(prefix):
                self.register_buffer(name.removeprefix(prefix), tensor.to(self.targets.device))


def _prefixed(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"inputs_{name}": tensor for name, tensor in inputs.items()}
