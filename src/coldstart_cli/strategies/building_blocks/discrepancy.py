"""How far apart two domains are, judged by their features: what alignment reduces.

Pure functions of features, (n, d) of the source and (m, d) of the target, that return a scalar with its
graph; it is 0 where a batch is empty.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F


def coral(source: Tensor, target: Tensor) -> Tensor:
    """|C_S - C_T|_F^2 / (4 d^2), C the covariances (n - 1 in the denominator).

    Sun and Saenko 2016, arXiv:1607.01719, equations 1 to 3. The covariance of one example is 0.
    """
    if not len(source) or not len(target):
        return _nothing(source, target)
    difference = _covariance(source) - _covariance(target)
    return difference.pow(2).sum() / (4 * source.shape[1] ** 2)


def mmd(source: Tensor, target: Tensor, bandwidths: Sequence[float], *, unbiased: bool) -> Tensor:
    """mean k(s, s') + mean k(t, t') - 2 mean k(s, t): the squared maximum mean discrepancy.

    Gretton et al. 2012 (JMLR 13). The biased estimate (equation 5) has each example's pair with itself in the
    first two means: never negative, and of n and m examples of one distribution 1 / n + 1 / m times (1 - mean
    k) too large. The unbiased one (lemma 6) leaves these pairs out and may be negative; of a domain with one
    example, which has no other pair, k(s, s) = 1 stays. k is the mean over b of exp(-|x - y|^2 / (b M)),
    several kernels at once as in Long et al. 2015, arXiv:1502.02791, section 3.1, but with equal weights. M
    is the median of |x - y|^2 over pairs of different examples of both domains, taken as a constant.

    Args:
        bandwidths: of the kernels, in units of M.
        unbiased: which estimate.
    """
    if not len(source) or not len(target):
        return _nothing(source, target)
    # One matrix of all pairs holds the three means as blocks.
    n, both = len(source), torch.cat([source, target])
    distances = squared_distances(both, both).clamp(min=0)
    apart = ~torch.eye(len(both), dtype=torch.bool, device=both.device)
    # Not 0 even where all examples are equal, or the kernels would be exp(-0 / 0).
    median = distances.detach()[apart].median().clamp(min=torch.finfo(both.dtype).tiny)
    kernels = torch.stack([(-distances / (b * median)).exp() for b in bandwidths]).mean(0)
    within = [_within(block, unbiased=unbiased) for block in (kernels[:n, :n], kernels[n:, n:])]
    return within[0] + within[1] - 2 * kernels[:n, n:].mean()


def class_confusion(logits: Tensor, temperature: float) -> Tensor:
    """How much a batch's predictions confuse classes, in [0, 1]: 0 where each is certain.

    Jin, Wang, Long and Wang 2020, arXiv:1912.03699, equations 2 to 7: with p = softmax(z / temperature) and
    weights w proportional to 1 + exp(-H(p)), of mean 1, C_ab = sum_i w_i p_ia p_ib, each row divided by its
    sum, and the mean over rows of what lies off the diagonal. As in the authors' code no gradient passes
    through w.

    Args:
        logits: (n, n_classes); 0 where there are none.
    """
    if not len(logits):
        return logits.sum() * 0
    p = (logits / temperature).softmax(-1)
    weights = entropy_weights(logits / temperature)
    weights = weights / weights.mean()
    confusion = (weights.unsqueeze(1) * p).T @ p
    # A class that no example can be has a row of zeros.
    rows = confusion / confusion.sum(1, keepdim=True).clamp(min=torch.finfo(p.dtype).tiny)
    return (rows.sum() - rows.trace()) / rows.shape[0]


def semantic_alignment(distances: Tensor, same: Tensor) -> Tensor:
    """Mean of d^2 / 2 over the pairs of one class.

    Motiian, Piccirilli, Adjeroh and Doretto 2017, arXiv:1709.10190, equations 5 and 6, as a mean instead
    of a sum.

    Args:
        distances: (n, m), of pairs.
        same: (n, m) bool, whether a pair is of one class.
    """
    return _mean(distances.pow(2) / 2, same)


def separation(distances: Tensor, different: Tensor, margin: float) -> Tensor:
    """Mean of max(0, margin - d)^2 / 2 over the pairs of different classes.

    Motiian et al. 2017, arXiv:1709.10190, equations 7 and 8, as a mean instead of a sum.
    """
    return _mean((margin - distances).clamp(min=0).pow(2) / 2, different)


def reversed_gradient(features: Tensor, strength: float) -> Tensor:
    """The features unchanged; their gradient is multiplied by -strength.

    Ganin et al. 2016, arXiv:1505.07818, equations 16 and 17.
    """
    return cast("Tensor", _Reversal.apply(features, strength))  # type: ignore[no-untyped-call]


def domain_loss(logits: Tensor, n_source: int, weights: Tensor | None = None) -> Tensor:
    """Mean cross-entropy of telling the domains apart: (mean over the source + mean over the target) / 2.

    Ganin et al. 2016, arXiv:1505.07818, equation 9, with both domains weighted equally, however many
    examples each has.

    Args:
        logits: (n + m,), that an example is of the source; the n of the source come first.
        weights: (n + m,) of the examples, normalised here in each domain, or None for equal ones.
    """
    is_source = torch.arange(len(logits), device=logits.device) < n_source
    losses = F.binary_cross_entropy_with_logits(logits, is_source.to(logits.dtype), reduction="none")
    weights = torch.ones_like(logits) if weights is None else weights
    halves = [(losses[part], weights[part]) for part in (is_source, ~is_source)]
    return torch.stack([(loss * w).sum() / w.sum().clamp(min=1e-12) for loss, w in halves]).mean()


def entropy_weights(logits: Tensor) -> Tensor:
    """w = 1 + exp(-H(softmax)), (n, c) -> (n,): confident examples weigh up to twice as much.

    Long, Cao, Wang and Jordan 2018, arXiv:1705.10667, equation 10. No gradient passes through them.
    """
    log_probabilities = F.log_softmax(logits.detach(), -1)
    entropy = -(log_probabilities.exp() * log_probabilities).sum(-1)
    return 1 + torch.exp(-entropy)


def multilinear(features: Tensor, probabilities: Tensor) -> Tensor:
    """f x g, all products: (n, d), (n, c) -> (n, d c). Long et al. 2018, arXiv:1705.10667, equation 3."""
    return (features.unsqueeze(2) * probabilities.unsqueeze(1)).flatten(1)


def randomised_multilinear(features: Tensor, probabilities: Tensor, maps: tuple[Tensor, Tensor]) -> Tensor:
    """(R_f f) * (R_g g) / sqrt(D): (n, d), (n, c) -> (n, D).

    Long et al. 2018, arXiv:1705.10667, equation 6: its inner products are those of `multilinear` in
    expectation, where all products would be too many.

    Args:
        maps: R_f (D, d) and R_g (D, c), entries of mean 0 and variance 1, fixed.
    """
    of_features, of_probabilities = maps
    product = (features @ of_features.T) * (probabilities @ of_probabilities.T)
    return product / math.sqrt(len(of_features))


def squared_distances(features: Tensor, points: Tensor) -> Tensor:
    """|x - p|^2 for each pair, (n, d), (m, d) -> (n, m); rounding may make it slightly negative.

    Written out, because torch.cdist cannot be exported; in full precision under autocast, where
    the difference of large squares would be lost.
    """
    with torch.autocast(features.device.type, enabled=False):
        x, p = features.float() if features.dtype != torch.float64 else features, points
        p = p.to(x.dtype)
        return x.pow(2).sum(-1, keepdim=True) - 2 * x @ p.T + p.pow(2).sum(-1)


def _within(kernels: Tensor, *, unbiased: bool) -> Tensor:
    """The mean of k over the pairs of one domain, (n, n)."""
    n = len(kernels)
    if not unbiased or n == 1:
        return kernels.mean()
    return (kernels.sum() - kernels.trace()) / (n * (n - 1))


def _covariance(features: Tensor) -> Tensor:
    centred = features - features.mean(0)
    return centred.T @ centred / max(1, len(features) - 1)


def _mean(values: Tensor, chosen: Tensor) -> Tensor:
    """The mean of the chosen values, 0 where there are none."""
    return (values * chosen).sum() / chosen.sum().clamp(min=1)


def _nothing(source: Tensor, target: Tensor) -> Tensor:
    # A zero with a graph: autograd refuses a loss that does not depend on the weights.
    return (source.sum() + target.sum()) * 0


class _Reversal(Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return features.view_as(features)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return -ctx.strength * gradients[0], None
