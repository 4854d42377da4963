"""Measuring time: steps in turn, their spread, and the most that this machine can do."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import count

import torch
from torch.nn import functional as F

from coldstart_cli.core.tasks import Objective, Pool, Split, Task, TaskShape, TaskSource
from coldstart_cli.hardware import Hardware
from coldstart_cli.metrics.benchmark import Spread
from coldstart_cli.tracing.flops import flops

Step = Callable[[], object]


def spread(values: Sequence[float]) -> Spread:
    """The spread of one or more values."""
    if len(values) == 1:
        return Spread(values[0], values[0], values[0], 1)
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(low, middle, high, len(values))


def interleaved(
    sides: Mapping[str, Step], seconds: float, *, least: int, hardware: Hardware
) -> dict[str, list[float]]:
    """Seconds of each step, the sides taking turns, so that a noisy machine is equally noisy for all.

    Every side begins with all threads, whatever the side before it has set. The first turn is a warm-up.

    Args:
        seconds: after which no further turn begins, once there have been `least` turns.
    """
    times: dict[str, list[float]] = {side: [] for side in sides}
    for turn in count():
        # The clock starts after the warm-up.
        if turn == 1:
            end = hardware.now() + seconds
        for side, step in sides.items():
            torch.set_num_threads(hardware.threads)
            started = hardware.now()
            step()
            if turn:
                times[side].append(hardware.now() - started)
        if turn >= least and hardware.now() >= end:
            return times
    raise AssertionError("unreachable: the turns have no end")


def ratios(times: Mapping[str, Sequence[float]], slow: str, fast: str) -> Spread:
    """How many times longer a step of `slow` takes than one of `fast`, turn by turn."""
    # Ratios within a turn: what slows the machine for a while slows both sides of it.
    return spread([s / f for s, f in zip(times[slow], times[fast], strict=True)])


def peaks(hardware: Hardware, seconds: float) -> dict[str, float]:
    """GFLOP/s of the best of many calls: what no step here can exceed.

    `conv_fp32` and `conv_bf16`: a 3x3 convolution of 64 to 64 channels, 80 maps of 14x14, channels last.
    `gemm_fp32` and `gemm_bf16`: a product of two square matrices of 1,024.
    """
    found: dict[str, float] = {}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        maps = torch.randn(80, 64, 14, 14, device=hardware.device, dtype=dtype)
        maps = maps.to(memory_format=torch.channels_last)
        kernel = torch.randn(64, 64, 3, 3, device=hardware.device, dtype=dtype)
        kernel = kernel.to(memory_format=torch.channels_last)
        square = torch.randn(1024, 1024, device=hardware.device, dtype=dtype)
        sides: dict[str, Step] = {
            f"conv_{name}": partial(F.conv2d, maps, kernel, padding=1),
            f"gemm_{name}": partial(torch.mm, square, square),
        }
        with torch.no_grad():
            times = interleaved(sides, seconds / 2, least=10, hardware=hardware)
            for side, step in sides.items():
                # The minimum: a peak is what the machine can do undisturbed.
                found[side] = flops(step) / min(times[side]) / 1e9
    return found


class FixedTasks(TaskSource):
    """A source that gives the same tasks at every step, so that steps are timed without their data."""

    def __init__(self, source: TaskSource, drawn: list[Task]) -> None:
        self.source, self.drawn = source, drawn
        self.input_shape, self.shape, self.fingerprint = source.input_shape, source.shape, source.fingerprint
        self.shares_labels, self.has_source = source.shares_labels, source.has_source

    @property
    def objective(self) -> Objective:
        return self.source.objective

    def tasks(self, split: Split, indices: Sequence[int]) -> list[Task]:
        return self.drawn

    def pool(self, split: Split) -> Pool:
        return self.source.pool(split)

    def refusal(self, split: Split, shape: TaskShape) -> str | None:
        return self.source.refusal(split, shape)

    def with_shape(self, shape: TaskShape) -> TaskSource:
        return self.source.with_shape(shape)

    def facts(self) -> dict[str, str]:
        return self.source.facts()


def stepper(steps: Iterator[object], hardware: Hardware) -> Step:
    """The next step of a training, under the precision of the run."""

    def step() -> None:
        with hardware.autocast():
            next(steps)

    return step
