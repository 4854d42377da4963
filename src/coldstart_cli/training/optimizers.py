"""The optimizers that a config can name, each with its schedule."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Annotated, Any, Protocol

import torch
from annotated_types import Ge, Gt, Le
from torch import nn

from coldstart_cli.core.strategy import Strategy
from coldstart_cli.tracing import compiled
from coldstart_cli.training.eager import eagerly
from coldstart_cli.training.schedules import Schedule, lr_factor, scheduled


def optimizers(strategy: Strategy) -> list[tuple[str, torch.optim.Optimizer]]:
    """The optimizers that a strategy, and every module in it, keeps as attributes, by name."""
    return [
        (f"{prefix}.{name}" if prefix else name, value)
        for prefix, module in strategy.named_modules()
        for name, value in vars(module).items()
        if isinstance(value, torch.optim.Optimizer)
    ]


class OptimizerFactory(Protocol):
    def __call__(self, parameters: Iterable[nn.Parameter], share: float = 1.0) -> torch.optim.Optimizer:
        """An optimizer whose schedule spans `share` of the run's steps, for trainings in phases."""


class Adam:
    """Makes a torch.optim.Adam whose learning rate follows a schedule over the run's steps.

    Args:
        n_steps: outer steps of the whole run.
        lr: peak learning rate.
        beta1, beta2: decay of the gradient's mean and of its square.
        weight_decay: L2 penalty.
        schedule: `constant` after warm-up, or down to zero by `cosine` or `linear`.
        warmup: share of the steps over which the rate rises linearly to `lr`. Cosine with a warm-up
            of .3 is the one-cycle schedule.
        clip_norm: largest norm of the whole gradient, or None.
    """

    def __init__(
        self,
        n_steps: int,
        *,
        lr: Annotated[float, Gt(0)],
        beta1: Annotated[float, Ge(0), Le(1)],
        beta2: Annotated[float, Ge(0), Le(1)],
        weight_decay: Annotated[float, Ge(0)],
        schedule: Schedule,
        warmup: Annotated[float, Ge(0), Le(1)],
        clip_norm: Annotated[float, Gt(0)] | None,
    ) -> None:
        self.lr, self.betas, self.weight_decay = lr, (beta1, beta2), weight_decay
        self.n_steps, self.factor = n_steps, partial(lr_factor, schedule=schedule, warmup=warmup)
        self.clip_norm = clip_norm

    def __call__(self, parameters: Iterable[nn.Parameter], share: float = 1.0) -> torch.optim.Optimizer:
        adam = eagerly(torch.optim.Adam)
        fused = True if compiled.is_on() else None  # one loop over all weights, which rounds otherwise
        decay = self.weight_decay
        optimizer = adam(_group(parameters), self.lr, self.betas, weight_decay=decay, fused=fused)
        return scheduled(optimizer, partial(self.factor, n_steps=share * self.n_steps), self.clip_norm)


class SGD:
    """Makes a torch.optim.SGD with momentum; the arguments are those of `Adam`."""

    def __init__(
        self,
        n_steps: int,
        *,
        lr: Annotated[float, Gt(0)],
        momentum: Annotated[float, Ge(0), Le(1)],
        nesterov: bool,
        weight_decay: Annotated[float, Ge(0)],
        schedule: Schedule,
        warmup: Annotated[float, Ge(0), Le(1)],
        clip_norm: Annotated[float, Gt(0)] | None,
    ) -> None:
        if nesterov and momentum == 0:
            raise ValueError("nesterov: needs momentum, which is 0; set momentum=0.9 or nesterov=false")
        self.lr, self.momentum, self.nesterov, self.weight_decay = lr, momentum, nesterov, weight_decay
        self.n_steps, self.factor = n_steps, partial(lr_factor, schedule=schedule, warmup=warmup)
        self.clip_norm = clip_norm

    def __call__(self, parameters: Iterable[nn.Parameter], share: float = 1.0) -> torch.optim.Optimizer:
        sgd = eagerly(torch.optim.SGD)
        decay, nesterov = self.weight_decay, self.nesterov
        optimizer = sgd(_group(parameters), self.lr, self.momentum, weight_decay=decay, nesterov=nesterov)
        return scheduled(optimizer, partial(self.factor, n_steps=share * self.n_steps), self.clip_norm)


def interpolation(n_steps: int, share: float) -> OptimizerFactory:
    """Plain SGD whose rate falls linearly from `share` to 0: where a gradient is w - target, w moves there.

    The outer step of Reptile, w + epsilon (target - w).
    """
    return SGD(
        n_steps,
        lr=share,
        momentum=0.0,
        nesterov=False,
        weight_decay=0.0,
        schedule="linear",
        warmup=0.0,
        clip_norm=None,
    )


def _group(parameters: Iterable[nn.Parameter]) -> list[dict[str, Any]]:
    """The parameters that learn, as a group: torch accepts an empty group, but not an empty list."""
    return [{"params": [p for p in parameters if p.requires_grad]}]
