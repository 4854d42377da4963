"""How much a source resembles a new task, as a number: the larger, the more similar.

- LEEP: Nguyen, Hassner, Seeger and Archambeau 2020, arXiv:2002.12462, equation 2.
- LogME: You, Liu, Wang and Long 2021, arXiv:2102.11005, algorithm 1.
- Task2Vec: Achille et al. 2019, arXiv:1902.03545, equation 1 and section 4.

All read a network that has seen the source, and the new task's labelled examples. A number alone
does not tell what it is worth: `strategy_notes.similarity_check` compares it with the gain of a transfer.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from coldstart_cli.core.tasks import Examples, Inputs, map_inputs
from coldstart_cli.training.inner_loop import Weights

_SMALL = 1e-5  # added to the denominators of LogME's fixed point, as in its authors' code


def leep(probabilities: Tensor, targets: Tensor, n_way: int) -> float:
    """The mean log-likelihood, in nats, of the task's labels under a predictor made of the source's outputs.

    (1/n) sum_i log sum_z P(y_i | z) p_z(x_i), with P(y | z) = P(y, z) / P(z) and
    P(y, z) = (1/n) sum_{i: y_i = y} p_z(x_i): equation 2.

    Args:
        probabilities: (n, n_source) of the source's classes z for each example.
        targets: (n,) class ids in [0, n_way).
    """
    p = probabilities.detach().cpu().double()
    members = torch.nn.functional.one_hot(targets.cpu(), n_way).double()
    together = members.T @ p / len(p)  # (n_way, n_source)
    # P(y | z); for a source class without any probability 0 rather than 0 / 0.
    given = together / together.sum(0).clamp(min=torch.finfo(p.dtype).tiny)
    likelihood = (p @ given.T * members).sum(1)
    return float(likelihood.clamp(min=torch.finfo(p.dtype).tiny).log().mean())


def logme(features: Tensor, columns: Tensor) -> float:
    """The largest log evidence per example, in nats, of a Bayesian linear model: a mean over columns.

    For each column y: max over alpha and beta of log p(y | F, alpha, beta) / n, with w ~ N(0, 1 / alpha) and
    y ~ N(F w, 1 / beta), by the fixed point gamma = sum_i beta s_i^2 / (alpha + beta s_i^2),
    alpha = gamma / m'm, beta = (n - gamma) / |F m - y|^2: algorithm 1, with the singular values s of F.

    Args:
        features: (n, d).
        columns: (n, n_columns); classes are one-hot.
    """
    f, y = features.detach().cpu().double(), columns.detach().cpu().double()
    # One SVD serves all columns and iterations: in its basis m'm and the residual are sums over r values.
    left, singular, _ = torch.linalg.svd(f, full_matrices=False)
    squares = singular.square().unsqueeze(1)  # (r, 1)
    z = (left.T @ y).square()  # (r, n_columns)
    # The part of y that no weights can reach, the same at every iteration.
    outside = (y.square().sum(0) - z.sum(0)).clamp(min=0)
    alpha, beta = torch.ones_like(outside), torch.ones_like(outside)
    n, d, rank = len(f), f.shape[1], len(singular)
    for _ in range(200):
        ratio = alpha / beta
        gamma = (squares / (ratio + squares)).sum(0)
        length = (squares * z / (ratio + squares).square()).sum(0)  # m'm
        residual = (z * (ratio / (ratio + squares)).square()).sum(0) + outside  # |F m - y|^2
        # Bounded below: where the features explain a target perfectly, or not at all, it would end in nan.
        alpha = (gamma / (length + _SMALL)).clamp(min=_SMALL)
        beta = ((n - gamma) / (residual + _SMALL)).clamp(min=_SMALL)
        if bool(((alpha / beta - ratio).abs() <= 1e-6 * ratio).all()):
            break
    ratio = alpha / beta
    length = (squares * z / (ratio + squares).square()).sum(0)
    residual = (z * (ratio / (ratio + squares)).square()).sum(0) + outside
    # log det(alpha I + beta F'F): rank directions with data, d - rank that only the prior knows.
    log_det = (alpha + beta * squares).log().sum(0) + (d - rank) * alpha.log()
    evidence = d / 2 * alpha.log() + n / 2 * (beta.log() - math.log(2 * math.pi))
    evidence = evidence - (beta * residual + alpha * length + log_det) / 2
    return float(evidence.mean() / n)


def task_embedding(
    log_probabilities: Callable[[Weights, Inputs], Tensor],
    weights: Weights,
    inputs: Inputs,
    labels: Tensor,
) -> Tensor:
    """The diagonal of the Fisher information of a probe network, averaged over each filter: (n_filters,).

    F = E_{x, y ~ p_w(y | x)} (d log p_w(y | x) / d w)^2: the diagonal of equation 1, for weights of two
    dimensions or more; a filter is a row of such a weight. Departures from the paper: labels are sampled from
    the prediction rather than averaged over it, and there is no variational estimate with added noise.

    Args:
        log_probabilities: (weights, inputs) -> (n, n_classes).
        weights: of the probe; those of two dimensions or more make filters.
        inputs: n examples of the task.
        labels: (n,) drawn from the probe's own prediction, one for each example (`sampled_labels`).
    """
    filters = {name: w.detach().requires_grad_() for name, w in weights.items() if w.ndim > 1}
    squares = {name: torch.zeros_like(w) for name, w in filters.items()}
    # One example at a time: the Fisher information is a mean of squares, not the square of a mean.
    for i, label in enumerate(labels):
        with torch.enable_grad():
            one = map_inputs(lambda tensor, i=i: tensor[i : i + 1], inputs)  # type: ignore[misc]
            chosen = log_probabilities({**weights, **filters}, one)[0, label]
            gradients = torch.autograd.grad(chosen, list(filters.values()))
        for name, gradient in zip(filters, gradients, strict=True):
            squares[name] += gradient.square()
    rows = [(square / len(labels)).flatten(1).mean(1) for square in squares.values()]
    return torch.cat(rows)


def sampled_labels(log_probabilities: Tensor, generator: torch.Generator) -> Tensor:
    """A label for each example, drawn from the network's own prediction: (n, n_classes) -> (n,)."""
    # On the CPU, where the generator is, so that every device draws the same labels.
    chances = log_probabilities.detach().cpu().exp()
    labels = torch.multinomial(chances, 1, generator=generator).squeeze(1)
    return labels.to(log_probabilities.device)


def cycled(examples: Examples, n: int) -> Examples:
    """n examples, the given ones repeated in order."""
    return examples.take(torch.arange(n, device=examples.targets.device) % len(examples))


def task2vec(first: Tensor, second: Tensor) -> float:
    """1 - the symmetric distance of two tasks' embeddings, in [0, 1].

    cos(F_a / (F_a + F_b), F_b / (F_a + F_b)), each filter divided by the sum of both: section 4. A filter
    that neither task uses says nothing about them and is left out.
    """
    a, b = first.detach().cpu().double(), second.detach().cpu().double()
    total = a + b
    used = total > 0
    a, b = a[used] / total[used], b[used] / total[used]
    size = float(a.norm() * b.norm())
    return float(a @ b) / size if size > 0 else 0.0
