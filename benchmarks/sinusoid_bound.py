"""The least mean squared error of predictors that are linear in the support's y, on harder sinusoids.

    python -m benchmarks.sinusoid_bound

Ridge regression on any features (R2-D2) is linear in y once x is given. With phases that are uniform over a
circle, functions of amplitude A and frequency w have mean 0 and covariance E[A^2] / 2 E_w[cos(w (x - x'))];
the best linear predictor is then that of a Gaussian process with this covariance, and its error is the
posterior variance, averaged over supports and queries.
"""

from __future__ import annotations

import numpy as np

AMPLITUDE, FREQUENCY, RANGE, RELATIVE_NOISE = (0.1, 5.0), (0.5, 2.0), (-5.0, 5.0), 0.01


def bound(k_shot: int, n_tasks: int, seed: int) -> tuple[float, float]:
    """(mean, half-width of its 95 % interval) over random supports of k_shot points."""
    random = np.random.default_rng(seed)
    low, high = AMPLITUDE
    power = (high**3 - low**3) / (3 * (high - low))  # E[A^2]
    frequencies = np.linspace(*FREQUENCY, 301)[:, None, None]

    def covariance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return power / 2 * np.cos(frequencies * (first[:, None] - second[None])).mean(0)

    errors = []
    for _ in range(n_tasks):
        x, query = random.uniform(*RANGE, k_shot), random.uniform(*RANGE, 100)
        known = covariance(x, x) + RELATIVE_NOISE**2 * power * np.eye(k_shot)
        between = covariance(query, x)
        explained = np.einsum("ij,ji->i", between, np.linalg.solve(known, between.T))
        errors.append(float(np.mean(power / 2 - explained)))
    return float(np.mean(errors)), float(1.96 * np.std(errors) / np.sqrt(n_tasks))


if __name__ == "__main__":
    for k in (5, 10, 20):
        print("K = {}: {:.4f} ± {:.4f}".format(k, *bound(k, 600, 0)))
