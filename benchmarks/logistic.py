"""The logistic head beside scikit-learn's on the same features: milliseconds, and how far from the minimum.

    taskset -c 0 python -m benchmarks.logistic

Features are random, of length 1, in clusters; one thread. The slope is the greatest of the sum of losses.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.nn import functional as F

from coldstart_cli.strategies.building_blocks.logistic_regression import logistic_regression

SIZES = [(25, 384, 5), (150, 384, 15), (320, 384, 64), (616, 384, 77), (2000, 64, 10)]
PENALTIES = [1.0, 10.0]
Head = Callable[[Tensor, Tensor, int, float], tuple[Tensor, Tensor]]


def main() -> None:
    torch.set_num_threads(1)
    print(f"{'examples x width x classes':>26} {'C':>3}  ours: ms    slope  sklearn: ms    slope")
    for n, width, n_classes in SIZES:
        generator = torch.Generator().manual_seed(0)
        targets = torch.arange(n) % n_classes
        means = torch.randn(n_classes, width, generator=generator)
        x = F.normalize(means[targets] + 1.5 * torch.randn(n, width, generator=generator), dim=1)
        for C in PENALTIES:
            ours = _measured(logistic_regression, x, targets, n_classes, C)
            theirs = _measured(_theirs, x, targets, n_classes, C)
            of = f"{n} x {width} x {n_classes}"
            print(f"{of:>26} {C:>3g} {ours[0]:>9.1f} {ours[1]:>8.0e} {theirs[0]:>12.1f} {theirs[1]:>8.0e}")


def _theirs(x: Tensor, targets: Tensor, _: int, C: float) -> tuple[Tensor, Tensor]:
    fitted = LogisticRegression(C=C, max_iter=1000).fit(x.numpy(), targets.numpy())
    return torch.from_numpy(fitted.coef_), torch.from_numpy(fitted.intercept_)


def _measured(head: Head, x: Tensor, targets: Tensor, n_classes: int, C: float) -> tuple[float, float]:
    """The median of seven calls in milliseconds, and the slope where it ended."""
    seconds = []
    for _ in range(7):
        before = time.perf_counter()
        weight, bias = head(x, targets, n_classes, C)
        seconds.append(time.perf_counter() - before)
    x, weight, bias = x.double(), weight.double(), bias.double()
    surplus = F.linear(x, weight, bias).softmax(1) - F.one_hot(targets, n_classes)
    slope = torch.cat([(surplus.T @ x + weight / C).ravel(), surplus.sum(0)]).abs().max()
    return 1000 * statistics.median(seconds), float(slope)


if __name__ == "__main__":
    main()
