"""Classification and regression: losses, divergences, metrics, and whether probabilities can be believed.

The divergence of classes is Hinton, Vinyals and Dean (2015, arXiv:1503.02531), section 2:
T^2 KL(softmax(teacher / T) || softmax(student / T)).

Calibration: the score of Brier (1950, Monthly Weather Review 78); the confidence bins of Guo, Pleiss, Sun
and Weinberger (2017, arXiv:1706.04599), section 2; prediction sets as those of Romano, Sesia and Candès
(2020, arXiv:2006.02544), section 1, with the predicted probabilities in the place of the true ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from coldstart_cli.core.tasks import Objective

N_BINS = 15
"""Equally wide bins of confidence, as many as in Guo et al., section 5."""


@dataclass(frozen=True)
class Classification(Objective):
    """targets (n,) int64 in [0, n_outputs); outputs are logits. Headline: accuracy in [0, 1]."""

    n_outputs: int
    headline = "accuracy"
    higher_is_better = True

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy in nats."""
        return F.cross_entropy(outputs, targets)

    def divergence(self, student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        """T^2 KL(teacher || student) of the softened distributions, in nats."""
        return temperature**2 * F.kl_div(
            F.log_softmax(student / temperature, -1),
            F.log_softmax(teacher / temperature, -1),
            reduction="batchmean",
            log_target=True,
        )

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        return {"accuracy": (outputs.argmax(-1) == targets).float().mean()}

    def calibration(self, outputs: Tensor, targets: Tensor, coverage: float) -> dict[str, Any]:
        """Brier score, confidence bins and prediction sets; the log-likelihood is the loss.

        Returns:
            brier: mean over examples of sum_c (p_c - [c = target])^2, in [0, 2]. coverage: share of
            examples whose class lies in the smallest set of classes, most probable first, whose
            probabilities add up to `coverage`. set_size: mean number of classes in that set.
            confidence_bins: [m, n, confidences, right] of each of the 15 bins ((m - 1)/15, m/15], m from 1,
            that has examples: their number, the sum of their largest probabilities, the number of right
            answers; None where a probability is not finite, and the others are then nan.
        """
        p = outputs.detach().cpu().double().softmax(-1)
        targets = targets.cpu()
        if not torch.isfinite(p).all():
            return {**dict.fromkeys(("brier", "coverage", "set_size"), float("nan")), "confidence_bins": None}
        right = F.one_hot(targets, self.n_outputs)
        ordered, classes = p.sort(dim=-1, descending=True, stable=True)
        # Of ten equal classes nine are enough for .9, whatever the sum of their roundings.
        sizes = 1 + (ordered.cumsum(-1) < coverage - 1e-9).sum(-1).clamp(max=self.n_outputs - 1)
        ranks = (classes == targets.unsqueeze(-1)).int().argmax(-1)
        measured = {
            "brier": (p - right).square().sum(-1).mean(),
            "coverage": (ranks < sizes).double().mean(),
            "set_size": sizes.double().mean(),
        }
        rounded = {name: round(float(value), 6) for name, value in measured.items()}
        return {**rounded, "confidence_bins": _confidence_bins(ordered[:, 0], classes[:, 0] == targets)}


@dataclass(frozen=True)
class Regression(Objective):
    """targets (n, n_outputs) reals. Headline: mean squared error, in squared units of the target.

    Args:
        mean, deviation: targets and outputs are (value - mean) / deviation, of a value in its own unit.

    It has no calibration: an interval needs a variance, and predictors of reals give a mean alone.
    """

    n_outputs: int
    mean: float = 0.0
    deviation: float = 1.0
    headline = "mse"
    higher_is_better = False

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean squared error."""
        return F.mse_loss(outputs, targets)

    def divergence(self, student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        """Mean squared difference; reals have no temperature."""
        return F.mse_loss(student, teacher)

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        return {"mse": self.deviation**2 * F.mse_loss(outputs, targets)}

    def values(self, outputs: Tensor) -> Tensor:
        """Outputs (n, n_outputs) in the unit of the target."""
        return outputs * self.deviation + self.mean


def one_hot(targets: Tensor, n_outputs: int) -> Tensor:
    """(n,) in [0, n_outputs) -> (n, n_outputs) int64. torch's own reads the values, to check them first."""
    return (targets.unsqueeze(-1) == torch.arange(n_outputs, device=targets.device)).to(torch.int64)


def _confidence_bins(confidence: Tensor, right: Tensor) -> list[list[float]]:
    """[m, n, sum of confidences, number right] of each bin that has examples. Both (n,)."""
    bins = (confidence * N_BINS).ceil().long().clamp(1, N_BINS)
    n = torch.bincount(bins, minlength=N_BINS + 1)
    sums = torch.bincount(bins, confidence, minlength=N_BINS + 1)
    hits = torch.bincount(bins, right.double(), minlength=N_BINS + 1)
    return [[m, int(n[m]), round(float(sums[m]), 4), int(hits[m])] for m in n.nonzero().flatten().tolist()]
