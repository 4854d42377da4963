"""A predictor that reads statistics off its batch, made to answer each input by itself.

With `model.norm=batch_transductive`, as in MAML's paper, a prediction depends on the other inputs of its
batch: right for a benchmark whose queries hold equally many of each class, and wrong for inputs that come one
class at a time. A bundle takes the statistics of the support set instead, for every input; of its unlabelled
examples where no example has a label.
"""

from __future__ import annotations

import torch
from torch import nn

from coldstart_cli.core.tasks import Inputs, Support
from coldstart_cli.models.network import tree_of


def reads_its_batch(module: nn.Module) -> bool:
    """Whether a prediction may depend on the other inputs of its batch."""
    return any(getattr(part, "batch_dependent", False) for part in module.modules())


def settling_inputs(support: Support) -> Inputs:
    """The inputs (n, ...) whose statistics are kept: no statistics can be had of none."""
    return support.inputs if len(support) or support.unlabelled is None else support.unlabelled


def settled(module: nn.Module, support: Support) -> nn.Module:
    """The same predictor with the statistics of the support set; one that has none as it is."""
    if not reads_its_batch(module):
        return module
    own = tree_of(module)  # its layers are the strategy's, which adapts to other tasks too
    for part in own.modules():
        if getattr(part, "batch_dependent", False):
            part.settling = True  # type: ignore[assignment]
    with torch.no_grad():
        own(settling_inputs(support))  # each layer settles before the next one reads what it has made
    return own
