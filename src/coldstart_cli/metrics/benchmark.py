"""What `coldstart bench` measured: values alone, in the order in which --json prints them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from coldstart_cli.metrics.json_edge import ABSENT


@dataclass(frozen=True, slots=True)
class Spread:
    """The middle of n measurements, and the quarter and three quarters of them."""

    low: float
    middle: float
    high: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What was measured on; `cores` are those that the process may use (`Hardware.facts` has the others)."""

    torch: str
    cores: int
    device: str
    name: str
    threads: int
    processes: int | None = field(default=None, metadata=ABSENT)
    precision: str
    deterministic: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTime:
    """An outer step.

    Attributes:
        overrides: that compose what is trained.
        ms: milliseconds.
        flops: of one step, a multiply-add counted as 2.
        peak: the name of the peak that bounds it.
        of_peak: the share of that peak which it reaches.
        beside: the first row of its kind; None of that row itself.
        times: how many times as long as that one it takes.
    """

    name: str
    overrides: Sequence[str]
    ms: Spread
    flops: int
    gflops_per_second: float
    peak: str
    of_peak: float
    beside: str | None
    times: Spread | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """All of it.

    Attributes:
        peaks: GFLOP a second by kind of work and precision (`conv_fp32`).
        tasks_per_second: data set -> tasks that one core draws a second.
        startup: command -> seconds from typing it to its answer.
    """

    format: int
    machine: Machine
    peaks: Mapping[str, float]
    steps: Sequence[StepTime]
    tasks_per_second: Mapping[str, float]
    startup: Mapping[str, Spread]
