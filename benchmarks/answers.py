"""Strategies that fit a language model's answers to a support set: accuracy after steps, seconds, memory.

    python benchmarks/answers.py strategy=label_lora model.dtype=bf16 prompt@model.prompt=intent \
        dataset=banking77 dataset.root=DIR dataset.n_query=4 --split new --tasks 10 --shots 5 --steps 0 10 20

The words before are overrides as for `coldstart train`; `--outer N` trains N outer steps first, and scores
ablations too. A line for each task as it is done, then means in percent with the 95 % interval over tasks.
"""

from __future__ import annotations

import argparse
import math
import resource
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice, pairwise
from typing import cast

import torch

from coldstart_cli.config import composition
from coldstart_cli.core.strategy import Adapted
from coldstart_cli.core.tasks import Split, Task
from coldstart_cli.experiment.assembly import assemble


def hits(adapted: Adapted, task: Task) -> float:
    """Percent of the query set that is answered rightly."""
    with torch.no_grad():
        outputs = adapted.module(task.query.inputs)
    return 100 * float((outputs.argmax(1) == task.query.targets).float().mean())


def after(adaptation: Iterator[Adapted], task: Task, steps: list[int]) -> tuple[dict[int, float], float]:
    """Accuracy after each of the steps, the last one's where there are fewer; seconds of adaptation."""
    found, seconds, latest = dict[int, float](), 0.0, None
    for step in range(max(steps) + 1):
        before = time.perf_counter()
        latest = next(adaptation, latest)
        seconds += time.perf_counter() - before
        if step in steps:
            assert latest is not None
            found[step] = hits(latest, task)
    return found, seconds


def peak() -> int:
    """MiB that the process has needed."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--split", default="new")
    parser.add_argument("--tasks", type=int, default=10)
    parser.add_argument("--first", type=int, default=0, help="index of the first task")
    parser.add_argument("--shots", type=int, nargs="+", default=[1, 5])
    parser.add_argument("--steps", type=int, nargs="+", default=[0, 10, 20])
    parser.add_argument("--outer", type=int, default=0)
    options, words = parser.parse_known_args()
    base = ["model=smollm2", "baseline=null", "hardware=cpu", "evaluation.k_shots=[1]"]
    ((_, config),) = composition.points([*base, *words])
    made = assemble(config)
    before = time.perf_counter()
    for step, metrics in enumerate(islice(made.strategy.train().fit(made.source), options.outer)):
        print(step, {name: round(value, 3) for name, value in metrics.items()}, flush=True)
    print(f"{options.outer} outer steps, {time.perf_counter() - before:.0f} s", flush=True)
    strategy = made.strategy.eval()
    for k in options.shots:
        source = made.source.with_shape(replace(made.source.shape, k_shot=k))
        right: dict[str, list[float]] = defaultdict(list)
        indices = range(options.first, options.first + options.tasks)
        tasks = source.tasks(cast(Split, options.split), [*indices, indices[-1] + 1])
        for task, other in pairwise(tasks):
            found, seconds = after(strategy.adapt(task.support), task, options.steps)
            for step, value in found.items():
                right[f"step {step}"].append(value)
            if options.outer:
                for name, adaptation in strategy.ablations(task.support, other.support).items():
                    right[name].append(hits(next(adaptation), task))
            print(f"  k = {k} {task.name} {found} {seconds:.0f} s, {peak()} MiB", flush=True)
        print(f"k = {k}: {options.tasks} tasks of {options.split}", flush=True)
        for name, values in right.items():
            told = torch.tensor(values)
            half = 1.96 * float(told.std()) / math.sqrt(len(told)) if len(told) > 1 else math.nan
            print(f"  {name:10} {float(told.mean()):5.1f} +- {half:.1f}", flush=True)


if __name__ == "__main__":
    main()
