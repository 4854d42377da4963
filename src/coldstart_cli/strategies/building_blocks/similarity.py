"""How much a source resembles a new task, as a number: the larger, the more similar.

- LEEP: Nguyen, Hassner, Seeger and Archambeau 2020, arXiv:2002.12462, equation 2.
- LogME: You, Liu, Wang and Long 2021, arXiv:2102.11005, algorithm 1.
- N-LEEP: Li, Jia, Sang, Zhu, Green, Wang and Gong 2021, arXiv:2011.11200, section 3.
- H-score: Bao et al. 2019 (ICIP, "An information-theoretic approach to transferability in task transfer
  learning"), shrunken as in Ibrahim, Ponomareva and Mazumder 2021, arXiv:2110.06893.
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


def n_leep(features: Tensor, targets: Tensor, n_way: int, components: int) -> float:
    """LEEP with the components of a Gaussian mixture, fitted to the features, in place of source classes.

    The features are reduced to the principal directions that hold 80 % of their variance, and p_z(x) of
    `leep` is the posterior of component z. Departure: the mixture starts from a clustering without chance.
    Where there are as many components as examples, each has one of its own and the value is 0, whatever the
    features are: so at one label a class.

    Args:
        features: (n, d).
        targets: (n,) class ids in [0, n_way).
        components: of the mixture for each class; the authors' code has 5, on thousands of examples.
    """
    x = features.detach().cpu().double()
    x = x - x.mean(0)
    left, singular, _ = torch.linalg.svd(x, full_matrices=False)
    share = (singular.square() / singular.square().sum().clamp(min=_SMALL)).cumsum(0)
    kept = min(int((share <= 0.8).sum()) + 1, len(singular))
    reduced = left[:, :kept] * singular[:kept]
    members = _clusters(reduced, min(len(x), components * n_way))
    return leep(mixture_posteriors(reduced, members), targets, n_way)


def mixture_posteriors(x: Tensor, members: Tensor) -> Tensor:
    """p(component | x) of a Gaussian mixture with full covariances, by expectation maximisation.

    As scikit-learn's defaults: 1e-6 on each variance, at most 100 iterations, until the mean log-likelihood
    gains less than 1e-3.

    Args:
        x: (n, d), double.
        members: (n, n_components), the posteriors that the first maximisation takes.
    """
    d, before = x.shape[1], -math.inf
    for _ in range(100):
        sizes = members.sum(0) + 10 * torch.finfo(x.dtype).eps
        means = members.T @ x / sizes.unsqueeze(1)
        centred = x.unsqueeze(1) - means  # (n, n_components, d)
        covariances = torch.einsum("nk,nkd,nke->kde", members, centred, centred) / sizes.view(-1, 1, 1)
        factors = torch.linalg.cholesky(covariances + 1e-6 * torch.eye(d, dtype=x.dtype))
        white = torch.linalg.solve_triangular(factors, centred.permute(1, 2, 0), upper=False)
        log_det = factors.diagonal(dim1=1, dim2=2).log().sum(1)
        log_density = -0.5 * (d * math.log(2 * math.pi) + white.square().sum(1).T) - log_det
        together = log_density + (sizes / len(x)).log()
        total = together.logsumexp(1, keepdim=True)
        members = (together - total).exp()
        if abs(float(total.mean()) - before) < 1e-3:
            break
        before = float(total.mean())
    return members


def _clusters(x: Tensor, n_clusters: int) -> Tensor:
    """One-hot members (n, n_clusters) by k-means from centres that lie farthest from those before."""
    chosen = [int((x - x.mean(0)).square().sum(1).argmin())]
    nearest = (x - x[chosen[0]]).square().sum(1)
    while len(chosen) < n_clusters:
        chosen.append(int(nearest.argmax()))
        nearest = nearest.minimum((x - x[chosen[-1]]).square().sum(1))
    centres = x[chosen]
    for _ in range(100):
        members = torch.nn.functional.one_hot(torch.cdist(x, centres).argmin(1), n_clusters).to(x.dtype)
        sizes = members.sum(0).unsqueeze(1)
        # A cluster that lost its members, as equal examples make it, stays where it is.
        moved = torch.where(sizes > 0, members.T @ x / sizes.clamp(min=1), centres)
        if torch.equal(moved, centres):
            break
        centres = moved
    return members


def h_score(features: Tensor, targets: Tensor, n_way: int) -> float:
    """(1 - a) tr(C_a^-1 C_z): how much of the features' variance lies between the task's classes.

    C_z is the covariance of the examples' class means, C_a = (1 - a) C + a tr(C) / d I the covariance of the
    features shrunken as by Ledoit and Wolf 2004 (J. Multivariate Anal. 88, 365-411). Bao's score is a = 0,
    which with fewer examples than features, as here, is n_way - 1 for any features.

    Args:
        features: (n, d).
        targets: (n,) class ids in [0, n_way).
    """
    x = features.detach().cpu().double()
    x = x - x.mean(0)
    n, d = x.shape
    members = torch.nn.functional.one_hot(targets.cpu(), n_way).to(x.dtype)
    means = members @ (members.T @ x / members.sum(0).clamp(min=1).unsqueeze(1))
    covariance = x.T @ x / n
    mean_variance = covariance.trace() / d
    if mean_variance <= 0:
        return 0.0
    # Squared distances, each divided by d: of the covariance from the scaled identity, and of its estimate
    # from the true one.
    apart = covariance.square().sum() / d - mean_variance.square()
    noise = (x.square().sum(1).square().sum() / n - covariance.square().sum()) / (n * d)
    shrinkage = float((noise.minimum(apart) / apart).clamp(0, 1)) if apart > 0 else 1.0
    shrunken = (1 - shrinkage) * covariance + shrinkage * mean_variance * torch.eye(d, dtype=x.dtype)
    return float((1 - shrinkage) * torch.linalg.solve(shrunken, means.T @ means / n).trace())


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
