"""A config, and a training that is told to a tracker."""

from __future__ import annotations

from typing import Any

CONFIG = {
    "strategy": {"_target_": "x.MAML", "inner_lr": 0.1, "sizes": [1, 2], "none": None},
    "logger": {"console": {}},
    "names": {"strategy": "[red]$x^2$<b>"},
    "odd key = %": True,
    **{f"many{i}": i for i in range(230)},  # more than MLflow takes in one delivery
}


FLAT = {
    "strategy._target_": "x.MAML", "strategy.inner_lr": 0.1, "strategy.sizes": "[1, 2]",
    "strategy.none": None, "logger.console": "{}", "names.strategy": "[red]$x^2$<b>", "odd key = %": True,
    **{f"many{i}": i for i in range(230)},
}  # fmt: skip


def tell(logger: Any, steps: range, *, finish: bool = True) -> None:
    """A training of these steps with one validation, and an evaluation where it comes to the end."""
    logger.start("training", 10, steps.start - 1)
    for step in steps:
        logger.metrics(step, {"loss": 1 / step})
        logger.advance(step)
    logger.metrics(steps[-1], {"validation_mse": 0.5})
    if finish:
        logger.start("evaluating", 5, 0)
        logger.summary(10, {"1-shot/mse": 0.25, "similarity of [red]$x$=": 1.0})
    logger.close()
