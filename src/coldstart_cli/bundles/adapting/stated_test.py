"""The score on the test examples that the files state: kept apart from all that adaptation sees."""

from __future__ import annotations

import torch
from torch import nn

from coldstart_cli.bundles.kept.card import StatedTest
from coldstart_cli.core.tasks import map_inputs
from coldstart_cli.datasets.own.labelled import Labelled
from coldstart_cli.metrics.held_out import binomial

_AT_ONCE = 256
_CONFIDENCE = 0.95


def scored(module: nn.Module, test: Labelled, device: torch.device) -> StatedTest:
    """The headline metric of all test examples together.

    Args:
        module: (n, ...) -> (n, n_outputs), on `device`.
    """
    outputs = []
    with torch.no_grad():
        for start in range(0, len(test), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            inputs = map_inputs(lambda tensor, part=part: tensor[part].to(device), test.inputs)  # type: ignore[misc]
            outputs.append(module(inputs).float().cpu())
    headline = test.objective.headline
    value = float(test.objective.metrics(torch.cat(outputs), test.targets)[headline])
    low = high = None
    if test.classes:
        hits = round(value * len(test))  # the value is single precision
        exact = binomial(hits / len(test), len(test), _CONFIDENCE)
        low, high = exact.low, exact.high
    return StatedTest(metric=headline, value=value, low=low, high=high, examples=len(test))
