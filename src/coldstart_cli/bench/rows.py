"""`coldstart bench`: how fast this machine trains, compared with the most that it can do.

A row is a list of overrides, composed and built as by `coldstart train`; but the data are drawn once,
beforehand, and the learning rate is so small that the weights hardly change. Other libraries are measured by
`make bench` of the source repository, which takes the rows from here.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from coldstart_cli.bench import measuring
from coldstart_cli.bench.measuring import FixedTasks, Step
from coldstart_cli.config import composition
from coldstart_cli.core.strategy import Strategy
from coldstart_cli.core.tasks import Examples, Inputs, Task, map_inputs
from coldstart_cli.errors import RequestError
from coldstart_cli.experiment import assembly
from coldstart_cli.hardware import Hardware, usable_cores
from coldstart_cli.metrics.benchmark import Benchmark, Machine, Spread, StepTime
from coldstart_cli.metrics.json_edge import from_json
from coldstart_cli.tracing.flops import flops

Extent = Literal["quick", "usual", "all"]
STILL = ("optimizer=sgd", "optimizer.lr=1e-9", "optimizer.momentum=0", "optimizer.nesterov=false",
         "optimizer.weight_decay=0", "optimizer.schedule=constant", "optimizer.warmup=0")  # fmt: skip
SINES = ("dataset=sinusoid", "model=mlp", "dataset.k_shot=10", "dataset.n_query=10")
IMAGES = ("dataset=glyphs", "model=conv4", "model.norm=batch_transductive", "model.downsample=pool")
ONE_PASS = "without a gradient on the support set"
NARROW = ("training.validation.n_way=5", "evaluation.n_way=5", "evaluation.n_query=5")


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of outer step.

    Attributes:
        group: rows of one group are measured in turn, and compared with its first.
        extent: the shortest benchmark that includes the row.
    """

    name: str
    group: str
    extent: Extent
    overrides: tuple[str, ...]


def _maml(name: str, extent: Extent, *overrides: str) -> Row:
    return Row(name, name, extent, (*IMAGES, *overrides))


def _protonet(n_way: int, precision: str, extent: Extent) -> Row:
    words = (*IMAGES, *NARROW, "strategy=protonet", "dataset.n_query=15")
    sizes = (f"dataset.n_way={n_way}", f"hardware.precision={precision}")
    return Row(f"ProtoNet, {n_way}-way, {precision}", f"ProtoNet, {n_way}-way", extent, (*words, *sizes))


def _one_pass(strategy: str, title: str, extent: Extent) -> Row:
    words = (*IMAGES, f"strategy={strategy}", "dataset.n_query=15", "strategy.meta_batch_size=4")
    return Row(f"{title}, 4 tasks", ONE_PASS, extent, words)


ROWS = (
    Row("MAML, sinusoid, 25 tasks", "sinusoid", "quick",
        (*SINES, "strategy=maml", "strategy.meta_batch_size=25", "strategy.inner_lr=0.01")),
    _maml("MAML, 4 tasks", "quick", "strategy=maml", "dataset.n_query=15", "strategy.meta_batch_size=4"),
    _maml("MAML, 16 tasks", "usual", "strategy=maml", "dataset.n_query=15", "strategy.meta_batch_size=16"),
    _maml("MAML, 32 tasks, 5 queries", "all",
          "strategy=maml", "dataset.n_query=5", "strategy.meta_batch_size=32"),
    _maml("MAML, 16 tasks, 5 inner steps", "all",
          "strategy=maml", "dataset.n_query=15", "strategy.meta_batch_size=16", "strategy.inner_steps=5"),
    _maml("MAML, 20-way, 4 tasks", "all",
          "strategy=maml", "dataset.n_query=15", "dataset.n_way=20", "evaluation.n_query=5",
          "training.validation.n_query=5", "strategy.meta_batch_size=4"),
    _maml("FOMAML, 16 tasks", "usual",
          "strategy=fomaml", "dataset.n_query=15", "strategy.meta_batch_size=16"),
    _maml("ANIL, 16 tasks", "usual", "strategy=anil", "dataset.n_query=15", "strategy.meta_batch_size=16"),
    _maml("Reptile, 5 tasks of 5 steps", "usual", "strategy=reptile", "dataset.n_query=15"),
    _protonet(5, "fp32", "quick"), _protonet(5, "bf16", "quick"),
    _protonet(20, "fp32", "usual"), _protonet(20, "bf16", "usual"),
    _protonet(60, "fp32", "all"), _protonet(60, "bf16", "all"),
    _one_pass("protonet", "ProtoNet", "usual"), _one_pass("matching", "Matching networks", "all"),
    _one_pass("r2d2", "R2-D2", "usual"), _one_pass("task_encoder", "Task encoder", "usual"),
    _one_pass("film", "FiLM", "usual"),
)  # fmt: skip
"""All but the first are 5-way 1-shot on Conv4 with 15 queries a class, 28x28, unless they say otherwise."""

EXTENTS: tuple[Extent, ...] = ("quick", "usual", "all")


@dataclass(frozen=True, slots=True)
class Case:
    """A row that has been built; its tasks are floats, as other libraries would get them."""

    row: Row
    config: Mapping[str, Any]
    hardware: Hardware
    strategy: Strategy
    source: FixedTasks

    def step(self) -> Step:
        return measuring.stepper(self.strategy.train().fit(self.source), self.hardware)

    def flops(self) -> int:
        """FLOPs of a step: those of a step on one task, times the number of tasks."""
        one = replace(self, source=FixedTasks(self.source.source, self.source.drawn[:1]))
        return flops(one.step()) * len(self.source.drawn)

    @property
    def limit(self) -> str:
        """The name of the peak that limits it."""
        convolves = any(isinstance(module, nn.Conv2d) for module in self.strategy.modules())
        return f"{'conv' if convolves else 'gemm'}_{self.hardware.precision}"


def built(row: Row, hardware: Sequence[str]) -> Case:
    """The row, composed and built.

    Args:
        hardware: the user's overrides, such as `hardware.threads=1`.
    """
    ((_, config),) = composition.points([*STILL, *hardware, *row.overrides])
    experiment = assembly.assemble(config)
    n_tasks = config["strategy"]["meta_batch_size"]
    # As floats, because scaling bytes would be part of our step and not of another library's.
    drawn = [_floats(task) for task in experiment.source.tasks("train", range(n_tasks))]
    source = FixedTasks(experiment.source, drawn)
    return Case(row, config, experiment.hardware, experiment.strategy, source)


def _floats(task: Task) -> Task:
    def floats(inputs: Inputs) -> Inputs:
        return map_inputs(_scaled, inputs)

    support, query = task.support, task.query
    return replace(
        task,
        support=replace(support, inputs=floats(support.inputs)),
        query=Examples(floats(query.inputs), query.targets),
    )


def _scaled(tensor: Tensor) -> Tensor:
    return tensor.float() / 255 if tensor.dtype == torch.uint8 else tensor


def measured(
    rows: Sequence[Row], overrides: Sequence[str], peaks: Mapping[str, float], seconds: float
) -> Iterator[StepTime]:
    """A record for each row: milliseconds, FLOPs, share of the peak, ratio to the first row of its group.

    Args:
        overrides: of the hardware.
        seconds: to measure each group.
    """
    for group, members in groupby(rows, key=lambda row: row.group):
        cases = [built(row, overrides) for row in members]
        if sys.stderr.isatty():
            print(f"\rmeasuring {group:<50}", end="\r", file=sys.stderr, flush=True)
        sides = {case.row.name: case.step() for case in cases}
        times = measuring.interleaved(sides, seconds, least=3, hardware=cases[0].hardware)
        for case in cases:
            first, name = cases[0].row.name, case.row.name
            milliseconds = measuring.spread([1e3 * t for t in times[name]])
            n_flops = case.flops()
            rate = n_flops / milliseconds.middle / 1e6
            yield StepTime(
                name=name,
                overrides=list(case.row.overrides),
                ms=milliseconds,
                flops=n_flops,
                gflops_per_second=rate,
                peak=case.limit,
                of_peak=rate / peaks[case.limit],
                beside=None if name == first else first,
                times=None if name == first else measuring.ratios(times, name, first),
            )


def sampling(seconds: float) -> dict[str, float]:
    """5-way 1-shot tasks with 15 queries a class that one core draws per second, in batches of 32."""
    ((_, config),) = composition.points([*IMAGES, "dataset.n_query=15", "hardware.threads=1"])
    experiment = assembly.assemble(config)
    times: list[float] = []
    while sum(times) < seconds or len(times) < 5:
        started = time.perf_counter()
        experiment.source.tasks("train", range(32 * len(times), 32 * len(times) + 32))
        times.append(time.perf_counter() - started)
    return {"glyphs": 32 / measuring.spread(times).middle}


def startup(turns: int) -> dict[str, Spread]:
    """Seconds from typing a command to its answer, each time in a new process."""
    found = {name: [seconds_of([name]) for _ in range(turns)] for name in ("--help", "ls")}
    found["train, end of the first step"] = [_seconds_to_first_step() for _ in range(turns)]
    return {name: measuring.spread(times) for name, times in found.items()}


COLDSTART = (sys.executable, "-P", "-m", "coldstart_cli")  # -P: not a module of the folder of work


def seconds_of(words: Sequence[str]) -> float:
    """Seconds from typing a command to its end."""
    started = time.perf_counter()
    subprocess.run([*COLDSTART, *words], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def _seconds_to_first_step() -> float:
    """Seconds until the first line of history.jsonl, which is written right after the first step."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["train", "strategy=maml", f"outputs={folder}", "training.log_every=1"]
        started = time.perf_counter()
        with subprocess.Popen(
            [*COLDSTART, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as child:
            try:
                while not any(path.stat().st_size for path in Path(folder).glob("*/history.jsonl")):
                    if child.poll() is not None:
                        raise RequestError(
                            "bench: a training ended before its first step; run coldstart doctor"
                        )
                    time.sleep(0.005)
                return time.perf_counter() - started
            finally:
                child.kill()


def benchmark(overrides: Sequence[str], extent: Extent) -> Benchmark:
    """Everything that `coldstart bench` prints: machine, peaks, steps, tasks per second, start-up."""
    rows = [row for row in ROWS if EXTENTS.index(row.extent) <= EXTENTS.index(extent)]
    seconds, turns = (1.0, 1) if extent == "quick" else (2.0, 3)
    hardware = built(rows[0], overrides).hardware
    peaks = measuring.peaks(hardware, seconds)
    machine = {"torch": str(torch.__version__), "cores": usable_cores(), **hardware.facts()}
    return Benchmark(
        format=1,
        machine=from_json(Machine, machine),
        peaks=peaks,
        steps=list(measured(rows, overrides, peaks, seconds)),
        tasks_per_second=sampling(0.5),
        startup=startup(turns),
    )
