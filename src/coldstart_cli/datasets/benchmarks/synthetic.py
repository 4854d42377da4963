"""Sine waves: the regression of Finn, Abbeel and Levine (2017, arXiv:1703.03400), section 5.1.

A task is one function y = amplitude * sin(frequency * x - phase), all three uniform in their ranges.
With noise in proportion to the amplitude and finitely many functions they are the harder sinusoids
of Tossou, Dura, Laviolette, Marchand and Lacoste (2019, arXiv:1905.12131), table 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, final

import numpy as np
import torch
from annotated_types import Ge
from numpy.typing import NDArray
from torch import Tensor

from coldstart_cli.core.objectives import Regression
from coldstart_cli.core.tasks import Examples, Pool, Split, Support, Task, TaskShape, TaskSource
from coldstart_cli.datasets.episodes.counter import Words, normals, seeds, task_keys, uniforms
from coldstart_cli.datasets.episodes.shapes import no_task, reshaped
from coldstart_cli.digests import digest

# Streams of the counter: every kind of choice has its own, so that none moves another.
_FUNCTION, _SUPPORT, _QUERY, _UNLABELLED, _POOL, _NOISE, _POOL_NOISE, _SUPPORT_SEED = range(8)
_SPLITS: tuple[Split, ...] = ("train", "validation", "source_test", "new")

Reals = NDArray[np.float64]


@final
class Sinusoid(TaskSource):
    """Sine waves from a few points; their one output is the source's.

    Every split has functions of its own, apart from source_test: its task i is the function of
    training task i at other points. Where a split has `n` functions, tasks i, i + n, i + 2 n, ... are
    one function at other points.

    Args:
        bank_seed: determines tasks and pools.
        k_shot: support points of a task.
        n_query: query points of a task.
        n_unlabelled: points of a task without their y.
        amplitude: lowest and highest, in units of y.
        phase: lowest and highest, in radians.
        frequency: lowest and highest, in radians a unit of x.
        x_range: lowest and highest x.
        noise: standard deviation of normal noise on y in supports and pools; queries are exact, so
            that their error is that of the function.
        relative_noise: the same as a share of the function's amplitude; the two add up.
        n_functions: functions of a split by its name, endless where it is not named; null: all endless.
            source_test has those of train.
        pool_tasks: functions in the pool of a split.
        pool_points: points of each function in the pool.

    Raises:
        ValueError: where a range is not [low, high], or functions are counted of no split.
    """

    shares_labels = True

    def __init__(
        self,
        *,
        bank_seed: Annotated[int, Ge(0)],
        k_shot: Annotated[int, Ge(1)],
        n_query: Annotated[int, Ge(1)],
        n_unlabelled: Annotated[int, Ge(0)],
        amplitude: list[float],
        phase: list[float],
        frequency: list[float],
        x_range: list[float],
        noise: Annotated[float, Ge(0)],
        relative_noise: Annotated[float, Ge(0)],
        n_functions: Mapping[str, Annotated[int, Ge(1)]] | None,
        pool_tasks: Annotated[int, Ge(1)],
        pool_points: Annotated[int, Ge(1)],
    ) -> None:
        self.bank_seed = bank_seed
        self.amplitude = _range("amplitude", amplitude)
        self.phase = _range("phase", phase)
        self.frequency = _range("frequency", frequency)
        self.x_range = _range("x_range", x_range)
        self.noise = noise
        self.relative_noise = relative_noise
        self.n_functions = _counts(n_functions)
        self.pool_tasks = pool_tasks
        self.pool_points = pool_points
        self.input_shape = (1,)
        self.shape = TaskShape(None, k_shot, n_query, n_unlabelled)
        ranges = (self.amplitude, self.phase, self.frequency, self.x_range)
        counts = (sorted(self.n_functions.items()), pool_tasks, pool_points)
        content = (ranges, noise, relative_noise, counts)
        # The points are a function of the seed, so that it belongs to the content.
        self.fingerprint = digest([repr((bank_seed, content))])

    @property
    def objective(self) -> Regression:
        return Regression(1)

    def tasks(self, split: Split, indices: Sequence[int]) -> list[Task]:
        """Tasks number `indices`: support (k_shot, 1) -> (k_shot, 1), query (n_query, 1) -> (n_query, 1)."""
        shape = self.shape
        keys = task_keys(self.bank_seed, split, indices)
        waves = self._waves(split, indices)
        support_x = self._points(keys, _SUPPORT, shape.k_shot)
        query_x = self._points(keys, _QUERY, shape.n_query)
        support_y = waves.at(support_x) + self._noise(waves) * normals(keys, _NOISE, shape.k_shot)
        support, support_targets = _tensors(support_x), _tensors(support_y)
        query, query_targets = _tensors(query_x), _tensors(waves.at(query_x))
        unlabelled = _tensors(self._points(keys, _UNLABELLED, shape.n_unlabelled))
        return [
            Task(
                Support(
                    support[i],
                    support_targets[i],
                    self.objective,
                    seed,
                    unlabelled[i] if shape.n_unlabelled > 0 else None,
                    source_classes=torch.zeros(1, dtype=torch.int64),
                ),
                Examples(query[i], query_targets[i]),
                f"{split}/{index}",
            )
            for i, (index, seed) in enumerate(zip(indices, seeds(keys, _SUPPORT_SEED), strict=True))
        ]

    def pool(self, split: Split) -> Pool:
        """The first `pool_tasks` functions of a split at `pool_points` points each; inputs are x alone.

        With one x and many functions the best answer is their mean: what MAML's paper calls
        pretraining on all tasks.
        """
        indices = range(self.pool_tasks)
        keys = task_keys(self.bank_seed, split, indices)
        x = self._points(keys, _POOL, self.pool_points)
        waves = self._waves(split, indices)
        y = waves.at(x) + self._noise(waves) * normals(keys, _POOL_NOISE, self.pool_points)
        inputs, targets = (torch.from_numpy(values).float().view(-1, 1) for values in (x, y))
        known = range(self.n_functions.get(_owner(split), self.pool_tasks))
        return _Points(inputs, targets, self._waves(split, known).names())

    def refusal(self, split: Split, shape: TaskShape) -> str | None:
        if shape.n_way is not None:
            return "sinusoid: a regression has no classes; leave out n_way"
        reason = no_task("sinusoid", shape)
        if reason is not None:
            return reason
        return None

    def with_shape(self, shape: TaskShape) -> Sinusoid:
        return reshaped(self, shape)

    def facts(self) -> dict[str, str]:
        return {
            split: f"{self.n_functions.get(_owner(split), 'endless')} functions, "
            f"pool of {self.pool_tasks} functions x {self.pool_points} points"
            for split in _SPLITS
        }

    def _waves(self, split: Split, indices: Sequence[int]) -> _Waves:
        own = _owner(split)
        n = self.n_functions.get(own)
        numbers = indices if n is None else [index % n for index in indices]
        uniform = uniforms(task_keys(self.bank_seed, own, numbers), _FUNCTION, 3)
        drawn = [
            low + (high - low) * uniform[:, [place]]
            for place, (low, high) in enumerate((self.amplitude, self.phase, self.frequency))
        ]
        return _Waves(*drawn)

    def _noise(self, waves: _Waves) -> Reals:
        """Standard deviation for each task, (n_tasks, 1)."""
        return self.noise + self.relative_noise * np.abs(waves.amplitude)

    def _points(self, keys: Words, stream: int, n_points: int) -> Reals:
        low, high = self.x_range
        return low + (high - low) * uniforms(keys, stream, n_points)


@dataclass(frozen=True, slots=True)
class _Waves:
    """Functions of a batch of tasks, each parameter (n_tasks, 1)."""

    amplitude: Reals
    phase: Reals
    frequency: Reals

    def at(self, x: Reals) -> Reals:
        """Returns y (n_tasks, n) at x (n_tasks, n)."""
        return np.asarray(self.amplitude * np.sin(self.frequency * x - self.phase))

    def names(self) -> tuple[str, ...]:
        """One for each function: equal names are equal functions."""
        parameters = np.hstack([self.amplitude, self.frequency, self.phase]).tolist()
        return tuple(f"{a!r} sin({w!r} x - {b!r})" for a, w, b in parameters)


@final
class _Points(Pool):
    """inputs (n, 1) and targets (n, 1); the names of the split's functions, as far as they are numbered."""

    def __init__(self, inputs: Tensor, targets: Tensor, names: tuple[str, ...]) -> None:
        self.objective, self.names = Regression(1), names
        self._all = Examples(inputs, targets)

    def __len__(self) -> int:
        return len(self._all)

    def examples(self, indices: Tensor) -> Examples:
        return self._all.take(indices)


def _range(key: str, ends: Sequence[float]) -> tuple[float, float]:
    if len(ends) != 2 or not ends[0] <= ends[1]:
        raise ValueError(f"{key}: {list(ends)} is not a range; write [lowest, highest]")
    return float(ends[0]), float(ends[1])


def _counts(n_functions: Mapping[str, int] | None) -> dict[Split, int]:
    counted = dict(n_functions or {})
    own: tuple[Split, ...] = ("train", "validation", "new")
    for name in counted:
        if name not in own:
            raise ValueError(f"n_functions: {name} has none of its own; count those of {', '.join(own)}")
    return {split: counted[split] for split in own if split in counted}


def _owner(split: Split) -> Split:
    """The split whose functions are its functions."""
    return "train" if split == "source_test" else split


def _tensors(values: Reals) -> Sequence[Tensor]:
    """(n_points, 1) float32 of each task."""
    return torch.from_numpy(values).float().unsqueeze(-1).unbind(0)
