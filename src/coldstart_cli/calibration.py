"""Probabilities that mean what they say: one temperature for all logits.

Guo, Pleiss, Sun and Weinberger (2017, arXiv:1706.04599), section 4.2: softmax(z / T), T by the negative
log-likelihood of examples that the model has not learned from.
"""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional as F

LIMITS = (0.05, 20.0)
"""Temperatures beyond these are no calibration: the held-out examples are too few or all right."""


def temperature(logits: Tensor, targets: Tensor) -> float:
    """The T within `LIMITS` of the least mean negative log-likelihood; logits (n, n_classes)."""
    from scipy.optimize import minimize_scalar

    z = logits.double()

    def loss(log_t: float) -> float:
        return float(F.cross_entropy(z / math.exp(log_t), targets))

    low, high = map(math.log, LIMITS)
    return math.exp(float(minimize_scalar(loss, bounds=(low, high), method="bounded").x))


def probabilities(logits: Tensor, t: float) -> Tensor:
    """(n, n_classes), rows that sum to one."""
    return F.softmax(logits.double() / t, -1)
