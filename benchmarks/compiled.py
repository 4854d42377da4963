"""Outer steps with recordings and with compiled ones (`hardware.compile`), interleaved in one process.

    python -m benchmarks.compiled

Whole steps: tasks are drawn, their gradient is computed, the optimizer steps. Medians, with the quotient; the
seconds are those of the first step, without and with what was kept of an earlier compilation.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from coldstart_cli.config import composition
from coldstart_cli.experiment.assembly import assemble
from coldstart_cli.tracing import compiled

PLAIN = ("baseline=null", "hardware=cpu", "hardware.threads=1")
ROWS = {
    "maml, sinusoid, MLP 40-40, 25 tasks": (
        "strategy=maml", "dataset=sinusoid", "model=mlp", "dataset.k_shot=10", "dataset.n_query=10",
        "strategy.meta_batch_size=25", "strategy.inner_lr=0.01",
    ),
    "maml, sensors, MLP 64-64, 8 tasks": (
        "strategy=maml", "dataset=sensors", "model=mlp", "model.hidden=[64,64]",
    ),
    "task_encoder, sinusoid, MLP 40-40, 25 tasks": (
        "strategy=task_encoder", "dataset=sinusoid", "model=mlp", "dataset.k_shot=10", "dataset.n_query=10",
        "strategy.meta_batch_size=25",
    ),
    "protonet, glyphs, conv4_small": ("strategy=protonet", "model=conv4_small"),
}  # fmt: skip
N_ROUNDS, N_STEPS = 30, 20


def stepping(words: tuple[str, ...], *, compile_it: bool) -> tuple[Callable[[], None], float]:
    """An outer step, and the seconds of the first one."""
    ((_, config),) = composition.points([*PLAIN, *words, f"hardware.compile={str(compile_it).lower()}"])
    experiment = assemble(config)
    steps = experiment.strategy.train().fit(experiment.source)
    before = time.perf_counter()
    next(steps)
    return lambda: [next(steps) for _ in range(N_STEPS)][-1] and None, time.perf_counter() - before


def main() -> None:
    print(f"{'step':<44} recorded, ms  compiled, ms  quotient  first step, s  kept, s")
    for name, words in ROWS.items():
        with tempfile.TemporaryDirectory() as folder:
            os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder
            recorded, _ = stepping(words, compile_it=False)
            made, seconds = stepping(words, compile_it=True)
            torch._dynamo.reset()
            _, again = stepping(words, compile_it=True)
            times: dict[str, list[float]] = {"recorded": [], "compiled": []}
            for _ in range(N_ROUNDS):
                for kind, step in (("recorded", recorded), ("compiled", made)):
                    before = time.perf_counter()
                    step()
                    times[kind].append((time.perf_counter() - before) * 1e3 / N_STEPS)
        one, other = (statistics.median(times[kind]) for kind in ("recorded", "compiled"))
        print(f"{name:<44} {one:>12.2f} {other:>13.2f} {one / other:>9.2f} {seconds:>14.1f} {again:>8.1f}")
    compiled.switch(False, Path)


if __name__ == "__main__":
    main()
