"""What an optimizer does before each step: sets its rate, averages gradients over ranks, clips them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch

from coldstart_cli.processes import ranks, shards

Schedule = Literal["constant", "cosine", "linear"]


def lr_factor(step: int, *, n_steps: float, schedule: Schedule, warmup: float) -> float:
    """The share of the peak learning rate at `step`, in (0, 1]."""
    rising = warmup * n_steps
    if step < rising:
        # Step 0 moves already: a rate of 0 would waste it.
        return (step + 1) / (rising + 1)
    if schedule == "constant":
        return 1.0
    done = min(1.0, (step - rising) / max(1.0, n_steps - rising))
    # Not quite 0 at the end, so that steps beyond the planned number still move.
    return max(1e-4, 1 - done if schedule == "linear" else 0.5 * (1 + math.cos(math.pi * done)))


def scheduled(
    optimizer: torch.optim.Optimizer, factor: Callable[[int], float], clip_norm: float | None
) -> torch.optim.Optimizer:
    """Makes each `optimizer.step()` first set its rate, average its gradients over ranks and clip them.

    The count of steps is kept in the parameter groups, so `state_dict` and a checkpoint include it.
    """
    for group in optimizer.param_groups:
        # In the groups rather than in a closure, so that `load_state_dict` restores both.
        group.update(peak_lr=group["lr"], steps_taken=0)

    def before_step(optimizer: torch.optim.Optimizer, args: object, kwargs: object) -> None:
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        ranks.average_gradients(parameters)  # before they are clipped
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * factor(group["steps_taken"])
            group["steps_taken"] += 1
        if clip_norm is not None:
            shards.clip_gradients(parameters, clip_norm)

    optimizer.register_step_pre_hook(before_step)
    return optimizer
