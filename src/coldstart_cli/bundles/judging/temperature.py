"""Probabilities that mean what they say: one temperature for all logits.

Guo, Pleiss, Sun and Weinberger (2017, arXiv:1706.04599), section 4.2: softmax(z / T), T by the negative
log-likelihood of examples that the model has not learned from. With few of them, and all predicted rightly,
that has no bound: as Platt (1999, "Probabilistic outputs for support vector machines", section 2.2) does,
the targets are (n + 1) / (n + 2) instead of 1, which is what n successes in n trials allow to believe.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

LIMITS = (0.02, 50.0)
"""Temperatures beyond these are no calibration."""
LARGEST = 1 << 22
"""Logits that a temperature is fitted on; of more, answers are taken evenly."""


def temperature(logits: Tensor, targets: Tensor, n_different: int) -> float:
    """The T within `LIMITS` of the least mean cross-entropy with Platt's targets.

    Args:
        logits: (n, n_classes) of examples that were held out.
        targets: (n,) their classes.
        n_different: examples among them: an example that was answered three times is one trial, not three.
    """
    from scipy.optimize import minimize_scalar

    # Of very many answers a part tells it as well: in double precision all would take gigabytes.
    part = torch.arange(0, len(logits), max(1, logits.numel() // LARGEST))
    z, targets = logits[part].double(), targets[part]
    n, n_classes = min(n_different, len(z)), z.shape[1]
    wrong = 1 / (n + 2) / (n_classes - 1)
    soft = torch.full_like(z, wrong).scatter(1, targets[:, None], (n + 1) / (n + 2))

    def loss(log_t: float) -> float:
        return float(F.cross_entropy(z / math.exp(log_t), soft))

    low, high = map(math.log, LIMITS)
    return math.exp(float(minimize_scalar(loss, bounds=(low, high), method="bounded").x))


def at_a_limit(t: float) -> bool:
    """Whether a colder or a hotter one would have done better."""
    low, high = LIMITS
    return t < 1.01 * low or t > high / 1.01


def probabilities(logits: Tensor, t: float) -> Tensor:
    """(n, n_classes), rows that sum to one."""
    return F.softmax(logits.double() / t, -1)
