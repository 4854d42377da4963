"""Optimizers with plain values: a constant rate of .1, no momentum, no decay, no clipping."""

from __future__ import annotations

from typing import Any

from coldstart_cli.training.optimizers import SGD, Adam


def plain_sgd(n_steps: int = 10, **changes: Any) -> SGD:
    values: dict[str, Any] = {
        "lr": 0.1, "momentum": 0.0, "nesterov": False, "weight_decay": 0.0, "schedule": "constant",
        "warmup": 0.0, "clip_norm": None,
    }  # fmt: skip
    return SGD(n_steps, **{**values, **changes})


def plain_adam(n_steps: int = 10, **changes: Any) -> Adam:
    values: dict[str, Any] = {
        "lr": 0.1, "beta1": 0.9, "beta2": 0.999, "weight_decay": 0.0, "schedule": "constant", "warmup": 0.0,
        "clip_norm": None,
    }  # fmt: skip
    return Adam(n_steps, **{**values, **changes})
