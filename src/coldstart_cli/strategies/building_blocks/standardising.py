"""Features standardised by what a task's own examples say of them, and by the source where they are few.

With the features x_i of a task's n examples, labelled and unlabelled, w the `standardise` of the config, and
a mean mu and variances v of the source,

    mean = (sum_i x_i + w mu) / (n + w),    variance = (sum_i (x_i - x)^2 + w v) / (n - 1 + w),

and every feature is read as (x - mean) / sqrt(variance / v'), where v' is the mean of v over features: they
stay as large as they were, and a temperature means the same. No query takes part. As TaskNorm (Bronskill,
Gordon, Requeima, Nowozin and Turner 2020, arXiv:2003.03284, section 4.1), which weighs a task's statistics by
how many examples they are of. Departures: the encoder's features alone are standardised, not every layer;
what few examples leave open comes from the source rather than from the single input; w is given.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import torch
from torch import Tensor, nn

from coldstart_cli.core.tasks import Support, TaskSource, joined, n_examples
from coldstart_cli.models.network import Encoder
from coldstart_cli.strategies.building_blocks.centred import Centred
from coldstart_cli.strategies.building_blocks.set_statistics import SMALL

N_TASKS = 16
"""Training tasks, the first ones, that the source's statistics are seen on before they are learned."""


@final
class SourceStatistics(nn.Module):
    """The mean and the logarithm of the variance of features within the source's tasks, (width,) each.

    Seen on the first training tasks, then learned with the encoder, whose features change.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(width))
        self.log_variance = nn.Parameter(torch.zeros(width))

    @torch.no_grad()
    def observe(self, encoder: Encoder, source: TaskSource) -> None:
        """Takes the means over tasks of the mean and the variance of all of a task's examples."""
        training, found = encoder.training, list[Tensor]()
        encoder.eval()  # no dropout, and running batch statistics stay as they are
        for task in source.tasks("train", range(N_TASKS)):
            inputs = task.to(self.mean.device)
            features = encoder(joined(inputs.support.inputs, inputs.query.inputs)).to(self.mean.dtype)
            found.append(torch.stack([features.mean(0), features.var(0)]))
        encoder.train(training)
        mean, variance = torch.stack(found).mean(0)
        self.mean.copy_(mean)
        self.log_variance.copy_((variance + SMALL).log())


def source_statistics(standardise: float | None, width: int) -> SourceStatistics | None:
    """What learns, to be kept under the name `standard`; None where nothing is standardised."""
    return None if standardise is None else SourceStatistics(width)


def statistics(features: Tensor, weights: Mapping[str, Tensor], count: float) -> tuple[Tensor, Tensor]:
    """Mean and deviation (width,) that features (n, width) of a task are standardised by.

    Args:
        weights: a strategy's own, with `standard.mean` and `standard.log_variance`.
        count: w, examples that these count for.
    """
    with torch.autocast(features.device.type, enabled=False):
        mu, v = weights["standard.mean"], weights["standard.log_variance"].exp()
        x, n = features.to(mu.dtype), len(features)
        apart = (x - x.mean(0)).square().sum(0)
        variance = (apart + count * v) / (max(n - 1, 0) + count)  # names alone are no example
        return (x.sum(0) + count * mu) / (n + count), (variance / v.mean()).sqrt()


def encoder_for(
    encoder: Encoder, weights: Mapping[str, Tensor], standardise: float | None, support: Support
) -> tuple[Encoder, dict[str, Tensor]]:
    """The encoder that reads one task, and the tensors that the task made of it, by name in a `Network`."""
    if standardise is None:
        return encoder, {}
    features = encoder(support.inputs)
    if support.unlabelled is not None and n_examples(support.unlabelled):
        features = torch.cat([features, encoder(support.unlabelled)])
    mean, deviation = statistics(features, weights, standardise)
    own = Centred(encoder, mean, deviation, normalise=False)
    return own, {"encoder.mean": mean, "encoder.deviation": deviation}
