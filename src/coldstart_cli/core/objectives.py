"""Classification and regression: losses, divergences, metrics, and whether probabilities can be believed.

The divergence of classes is Hinton, Vinyals and Dean (2015, arXiv:1503.02531), section 2:
T^2 KL(softmax(teacher / T) || softmax(student / T)).

Calibration: the score of Brier (1950, Monthly Weather Review 78); the confidence bins of Guo, Pleiss, Sun
and Weinberger (2017, arXiv:1706.04599), section 2; prediction sets as those of Romano, Sesia and Candès
(2020, arXiv:2006.02544), section 1, with the predicted probabilities in the place of the true ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from coldstart_cli.core.tasks import Calibration, Objective, Unit

N_BINS = 15
"""Equally wide bins of confidence, as many as in Guo et al., section 5."""


@dataclass(frozen=True)
class Classification(Objective):
    """targets (n,) int64 in [0, n_outputs); outputs are logits. Headline: accuracy in [0, 1]."""

    n_outputs: int
    headline = "accuracy"
    higher_is_better = True
    units: ClassVar[Mapping[str, Unit]] = {"accuracy": "%", "balanced_accuracy": "%", "macro_f1": "%"}

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy in nats."""
        return F.cross_entropy(outputs, targets)

    def divergence(self, student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        """T^2 KL(teacher || student) of the softened distributions, in nats."""
        return temperature**2 * F.kl_div(
            # kl_div takes the target second: KL(target || input), here the teacher's against the student's.
            F.log_softmax(student / temperature, -1),
            F.log_softmax(teacher / temperature, -1),
            reduction="batchmean",
            log_target=True,
        )

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        return {"accuracy": (outputs.argmax(-1) == targets).float().mean()}

    def other_metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        """As scikit-learn defines them, from the hits, targets and answers of each class.

        balanced_accuracy: mean of the recalls hits / targets of the classes among the targets. macro_f1: mean
        of 2 hits / (targets + answers) of the classes among the targets or the answers.
        """
        # On the CPU, and by numpy: a dozen counts of few numbers take torch five times as long.
        wanted, given = targets.cpu().numpy(), outputs.detach().cpu().argmax(-1).numpy()
        hits, n_wanted, n_given = (
            np.bincount(classes, minlength=self.n_outputs)
            for classes in (wanted[wanted == given], wanted, given)
        )
        # A class without targets has no recall; one without targets and answers has no F1. Both are left
        # out.
        among, either = n_wanted > 0, n_wanted + n_given
        return {
            "balanced_accuracy": float((hits[among] / n_wanted[among]).mean()),
            "macro_f1": float((2 * hits[either > 0] / either[either > 0]).mean()),
        }

    def calibration(self, outputs: Tensor, targets: Tensor, coverage: float) -> Calibration:
        """Brier score, confidence bins and prediction sets; the log-likelihood is the loss."""
        p = outputs.detach().cpu().double().softmax(-1)
        targets = targets.cpu()
        if not torch.isfinite(p).all():
            return Calibration(math.nan, math.nan, math.nan, None)
        # Doubles: the margin of 1e-9 below is finer than the rounding of a float.
        right = one_hot(targets, self.n_outputs)
        # Stable: classes of equal probability keep their order, so that ties come out the same everywhere.
        ordered, classes = p.sort(dim=-1, descending=True, stable=True)
        # Nine of ten equally likely classes are enough for a coverage of .9, however their sum is rounded.
        # `clamp`: where even all classes do not reach the coverage, the set is all of them, not one more.
        sizes = 1 + (ordered.cumsum(-1) < coverage - 1e-9).sum(-1).clamp(max=self.n_outputs - 1)
        ranks = (classes == targets.unsqueeze(-1)).int().argmax(-1)
        return Calibration(
            brier=round(float((p - right).square().sum(-1).mean()), 6),
            coverage=round(float((ranks < sizes).double().mean()), 6),
            set_size=round(float(sizes.double().mean()), 6),
            confidence_bins=_confidence_bins(ordered[:, 0].numpy(), (classes[:, 0] == targets).numpy()),
        )


@dataclass(frozen=True)
class Regression(Objective):
    """targets (n, n_outputs) reals. Headline: mean squared error, in squared units of the target.

    Args:
        mean, deviation: targets and outputs are (value - mean) / deviation, of a value in its own unit.

    It has no calibration of classes; predictors that know their deviations have intervals.
    """

    n_outputs: int
    mean: float = 0.0
    deviation: float = 1.0
    headline = "mse"
    units: ClassVar[Mapping[str, Unit]] = {
        "mse": "",
        "interval_coverage": "%",
        "interval_width": "",
        "gaussian_nll": "",
    }
    higher_is_better = False

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean squared error."""
        return F.mse_loss(outputs, targets)

    def divergence(self, student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        """Mean squared difference; the temperature has no meaning for reals."""
        return F.mse_loss(student, teacher)

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        # Back to the unit of the data; the loss keeps the standardised scale, for which rates are chosen.
        return {"mse": self.deviation**2 * F.mse_loss(outputs, targets)}

    def intervals(
        self, outputs: Tensor, deviations: Tensor, targets: Tensor, coverage: float
    ) -> dict[str, float]:
        """Of normal distributions: how many targets lie in the middle, how wide it is, log-likelihood.

        interval_coverage: share of targets in mean -+ z deviation, which holds `coverage` of it.
        interval_width: mean of 2 z deviation, in the unit of the target. gaussian_nll: mean over targets of
        -log N(y; mean, deviation^2), in nats, of the target in its unit.
        """
        z = NormalDist().inv_cdf((1 + coverage) / 2)
        inside = (targets - outputs).abs() <= z * deviations
        return {
            "interval_coverage": float(inside.double().mean()),
            "interval_width": float(2 * z * self.deviation * deviations.mean()),
            "gaussian_nll": float(gaussian_losses(outputs, deviations, targets).mean())
            + math.log(self.deviation),
        }

    def values(self, outputs: Tensor) -> Tensor:
        """Outputs (n, n_outputs) in the unit of the target."""
        return outputs * self.deviation + self.mean


def gaussian_losses(mean: Tensor, deviation: Tensor, targets: Tensor) -> Tensor:
    """-log N(y; mean, deviation^2) in nats: three (n, n_outputs) -> (n, n_outputs)."""
    return ((targets - mean) / deviation).square() / 2 + deviation.log() + math.log(2 * math.pi) / 2


def one_hot(targets: Tensor, n_outputs: int) -> Tensor:
    """(n,) in [0, n_outputs) -> (n, n_outputs) int64.

    torch's own function reads the values to check them, and a recording refuses that.
    """
    return (targets.unsqueeze(-1) == torch.arange(n_outputs, device=targets.device)).to(torch.int64)


def _confidence_bins(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> list[list[float]]:
    """[m, n, sum of confidences, number right] of each bin that has examples. Both (n,)."""
    # Bins are open below, closed above; a confidence of 0 has none and goes to the first.
    bins = np.ceil(confidence * N_BINS).astype(np.int64).clip(1, N_BINS)
    n = np.bincount(bins, minlength=N_BINS + 1).tolist()
    sums = np.bincount(bins, confidence, minlength=N_BINS + 1).tolist()
    hits = np.bincount(bins[right], minlength=N_BINS + 1).tolist()
    return [[m, n[m], round(sums[m], 4), hits[m]] for m in range(N_BINS + 1) if n[m]]
