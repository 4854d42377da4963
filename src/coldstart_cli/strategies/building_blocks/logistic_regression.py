"""Multinomial logistic regression by Newton's method, whose steps are found by conjugate gradients.

Lin, Weng and Keerthi 2008, "Trust region Newton method for large-scale logistic regression", JMLR 9, with a
line search in place of the trust region. A second derivative is never formed: its product with a direction
costs two products of matrices, as a gradient does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]
TOLERANCE = 1e-7
"""The greatest slope of the sum of losses that counts as none."""
MOST_STEPS, MOST_DIRECTIONS = 200, 1000
"""Of Newton, and of conjugate gradients in one of them; a few, and a few tens, are enough as a rule."""


def logistic_regression(
    features: Tensor, targets: Tensor, n_classes: int, C: float, weights: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The minimum of sum_i w_i CE(W x_i + b, y_i) + |W|^2 / (2 C); the bias is not penalised, and has mean 0.

    As scikit-learn's for three classes and more. Of two it has one vector of weights, w = W_1 - W_0, and the
    penalty |w|^2 / (2 C); here |W|^2 = |w|^2 / 2, so that C is what 2 C is there.

    On the CPU in double precision, whatever the features' type: for a few examples this takes less time than
    a GPU would save.

    Args:
        features: (n, feature_dim).
        targets: (n,) class ids.
        weights: (n,) w; None for 1.

    Returns:
        W (n_classes, feature_dim) and b (n_classes,), of the features' type and device.
    """
    x: Array = features.detach().cpu().double().numpy()
    span: Array | None = None
    if len(x) < x.shape[1]:  # a penalised W lies in the span of the examples, which has fewer dimensions
        directions, coordinates = np.linalg.qr(x.T)
        x, span = np.ascontiguousarray(coordinates.T), directions.T
    counts = np.ones(len(x)) if weights is None else weights.detach().cpu().double().numpy()
    loss = _Loss(
        np.concatenate([x, np.ones((len(x), 1))], axis=1),
        counts[:, None] * np.eye(n_classes)[targets.cpu().numpy()],
        counts[:, None],
        np.append(np.full(x.shape[1], 1 / C), 0.0),
    )
    solution = _minimum(loss, np.zeros((n_classes, x.shape[1] + 1)))
    weight, bias = solution[:, :-1], solution[:, -1] - solution[:, -1].mean()
    weight = weight if span is None else weight @ span
    # MPS has no double precision: first the type, then the device.
    found = [torch.from_numpy(a).to(features.dtype).to(features.device) for a in (weight, bias)]
    return found[0], found[1]


@dataclass(frozen=True, slots=True)
class _Loss:
    """The penalised loss as a function of W and b side by side, (n_classes, n_columns).

    Attributes:
        x: (n, n_columns), the last column 1.
        wanted: (n, n_classes), each example's weight at its class.
        weights: (n, 1).
        penalty: (n_columns,), 0 for the bias.
    """

    x: Array
    wanted: Array
    weights: Array
    penalty: Array

    def at(self, point: Array) -> tuple[float, Array]:
        """The loss, and what is said of each example: (n, n_classes), times its weight."""
        outputs = self.x @ point.T
        outputs -= outputs.max(1, keepdims=True)
        said = np.exp(outputs)
        total = said.sum(1, keepdims=True)
        fit = (self.weights * np.log(total)).sum() - (self.wanted * outputs).sum()
        said *= self.weights / total
        return float(fit + (point * point * self.penalty).sum() / 2), said

    def slope(self, point: Array, said: Array) -> Array:
        found: Array = (said - self.wanted).T @ self.x + point * self.penalty
        return found

    def bend(self, direction: Array, said: Array) -> Array:
        """The second derivative times a direction."""
        along = said * (self.x @ direction.T)
        # p (v - p'v) for an example of weight 1; `said` is w p, hence the division by w.
        along -= said * (along.sum(1, keepdims=True) / np.maximum(self.weights, 1e-300))
        found: Array = along.T @ self.x + direction * self.penalty
        return found

    def diagonal(self, said: Array) -> Array:
        """That of the second derivative, (n_classes, n_columns)."""
        variance = said * (1 - said / np.maximum(self.weights, 1e-300))
        found: Array = variance.T @ np.square(self.x) + self.penalty
        return np.maximum(found, 1e-12)


def _minimum(loss: _Loss, point: Array) -> Array:
    value, said = loss.at(point)
    for _ in range(MOST_STEPS):
        slope = loss.slope(point, said)
        if not np.abs(slope).max() > TOLERANCE:  # so that NaN ends it as well
            break
        step = _newton_step(loss, slope, said)
        falls, length = float((slope * step).sum()), 1.0
        # Armijo's rule; the whole step is taken near the minimum, where it converges quadratically.
        while True:
            moved, said_there = loss.at(point + length * step)
            if moved <= value + 1e-4 * length * falls:
                break
            length /= 2
            if length < 1e-10:  # rounding is all that is left
                return point
        point, value, said = point + length * step, moved, said_there
    return point


def _newton_step(loss: _Loss, slope: Array, said: Array) -> Array:
    """About -H^-1 slope, more exactly the smaller the slope is; by its diagonal preconditioned."""
    step, left, diagonal = np.zeros_like(slope), -slope, loss.diagonal(said)
    size = float(np.linalg.norm(slope))
    enough = max(min(0.1, size**0.5) * size, TOLERANCE / 10)
    scaled = left / diagonal
    direction, squared = scaled, float((left * scaled).sum())
    for _ in range(MOST_DIRECTIONS):
        bent = loss.bend(direction, said)
        curvature = float((direction * bent).sum())
        if not curvature > 0:  # a direction in which the loss is flat: all biases alike
            break
        step = step + squared / curvature * direction
        left = left - squared / curvature * bent
        if np.linalg.norm(left) < enough:
            break
        scaled = left / diagonal
        before, squared = squared, float((left * scaled).sum())
        direction = scaled + squared / before * direction
    return step
