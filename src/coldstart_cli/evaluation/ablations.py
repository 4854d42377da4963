"""What a strategy is worth without one of its parts, on the same tasks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import torch

from coldstart_cli.core.strategy import Adapted, Strategy
from coldstart_cli.core.tasks import Support, Task
from coldstart_cli.evaluation.adaptations import Answer
from coldstart_cli.hardware import Hardware
from coldstart_cli.metrics.names import ABLATION


def ablated(
    strategy: Strategy, task: Task, other: Support, steps: Sequence[int], hardware: Hardware
) -> list[Answer]:
    """The answers of each of the strategy's ablations after the steps; none where it has no ablation.

    Args:
        other: the support set of another task.
    """
    with hardware.autocast():
        found = strategy.ablations(task.support, other.to(hardware.device))
    return [
        answer
        for name, adaptation in found.items()
        for answer in _answers(f"{ABLATION}{name}", adaptation, task, steps, hardware)
    ]


def _answers(
    role: str, adaptation: Iterator[Adapted], task: Task, steps: Sequence[int], hardware: Hardware
) -> Iterator[Answer]:
    with hardware.autocast():
        reached = list(islice(adaptation, max(steps) + 1))
    for step in steps:
        latest = reached[min(step, len(reached) - 1)]
        with torch.no_grad(), hardware.autocast():
            outputs = latest.module(task.query.inputs).float()
        yield Answer(step, role, {}, outputs, None, 0.0)
