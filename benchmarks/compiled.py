"""Outer steps with recordings, compiled (`hardware.compile`), and by JAX, interleaved in one process.

    pip install --target .venv-bench/jax jax optax     once, for the column of JAX
    python -m benchmarks.compiled

Gradient and Adam's step, on tasks that were drawn beforehand; medians. JAX has the first row alone: the same
network, tasks and inner step, under jit, vmap over tasks and optax.adam; its meta-gradient is first found
equal to the plain one. The seconds are those of our first step: compiling anew, and from what was kept.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks import page
from benchmarks.plain import gradients, plain_step, problem
from coldstart_cli.bench import rows
from coldstart_cli.bench.measuring import FixedTasks
from coldstart_cli.config import composition
from coldstart_cli.core.tasks import Task
from coldstart_cli.experiment.assembly import assemble
from coldstart_cli.tracing import compiled

JAX = Path(__file__).resolve().parents[1] / ".venv-bench" / "jax"
PLAIN = ("baseline=null", "hardware=cpu", "hardware.threads=1")
SINES = (*rows.SINES, "strategy.meta_batch_size=25")
SENSORS = ("dataset=sensors", "model=mlp", "model.hidden=[64,64]")
GLYPHS = ("model=conv4_small", "dataset.n_way=20")
ROWS: Mapping[str, tuple[str, ...]] = {
    "maml, sinusoid, MLP 40-40, 25 tasks": ("strategy=maml", *SINES, "strategy.inner_lr=0.01"),
    "maml, sensors, MLP 64-64, 8 tasks": ("strategy=maml", *SENSORS),
    "task_encoder, sinusoid, MLP 40-40, 25 tasks": ("strategy=task_encoder", *SINES),
    "protonet, glyphs, conv4_small, 20-way": ("strategy=protonet", *GLYPHS),
}
N_ROUNDS, N_STEPS = 30, 20
HEAD = """## Compiled steps

`hardware.compile=true` beside recordings, in one process, in turn, one thread: gradient and Adam's step on
tasks that were drawn beforehand. JAX has the first row alone: the same network, tasks and inner step under
jit, vmap over tasks and optax.adam; its meta-gradient was found equal within 1e-5. The seconds are those of
our first step: compiled anew, and from what an earlier run has kept.

"""
Step = Callable[[], object]


def ours(words: Sequence[str], *, compiling: bool) -> tuple[Step, float]:
    """An outer step, and the seconds of the first one."""
    ((_, config),) = composition.points([*PLAIN, *words, f"hardware.compile={str(compiling).lower()}"])
    experiment = assemble(config)
    n_tasks = int(config["strategy"]["meta_batch_size"])
    source = FixedTasks(experiment.source, experiment.source.tasks("train", range(n_tasks)))
    steps = experiment.strategy.train().fit(source)
    before = time.perf_counter()
    next(steps)
    return lambda: next(steps), time.perf_counter() - before


def by_jax() -> Step | None:
    """The first row's step as a user of JAX writes it; None where JAX is not there."""
    sys.path.append(str(JAX))  # last: numpy is this environment's
    try:
        import jax
        import optax
        from jax import numpy as jnp
    except ImportError as error:
        print(f"JAX is left out: {error}", file=sys.stderr)
        return None
    row = next(row for row in rows.ROWS if row.name == "MAML, sinusoid, 25 tasks")
    case = rows.built(row, ["hardware=cpu", "hardware.threads=1"])
    plain = problem(case).network()
    layers = [module for module in plain.modules() if isinstance(module, nn.Linear)]
    held = [(layer.weight.detach().T.numpy(), layer.bias.detach().numpy()) for layer in layers]
    parameters = [tuple(map(jnp.asarray, layer)) for layer in held]
    inner_lr, tasks = problem(case).values["inner_lr"], case.source.drawn

    def predicted(weights: Any, x: Any) -> Any:
        for w, b in weights[:-1]:
            x = jax.nn.relu(x @ w + b)
        return x @ weights[-1][0] + weights[-1][1]

    def loss(weights: Any, x: Any, y: Any) -> Any:
        return ((predicted(weights, x) - y) ** 2).mean()

    def of_task(weights: Any, x: Any, y: Any, query_x: Any, query_y: Any) -> Any:
        slopes = jax.grad(loss)(weights, x, y)
        adapted = jax.tree.map(lambda w, g: w - inner_lr * g, weights, slopes)
        return loss(adapted, query_x, query_y)

    def of_all(weights: Any, *data: Any) -> Any:
        return jax.vmap(of_task, in_axes=(None, 0, 0, 0, 0))(weights, *data).mean()

    optimizer = optax.adam(1e-3)

    @jax.jit
    def moved(weights: Any, state: Any, *data: Any) -> Any:
        value, slopes = jax.value_and_grad(of_all)(weights, *data)
        changes, state = optimizer.update(slopes, state)
        return optax.apply_updates(weights, changes), state, value

    data = stacked(tasks)
    plain_step(problem(case), plain)(tasks)
    wanted = torch.cat([g.T.flatten() if g.ndim == 2 else g for g in gradients(plain).values()])
    found = jax.tree.leaves(jax.grad(of_all)(parameters, *map(jnp.asarray, data)))
    flat = torch.cat([torch.from_numpy(jax.device_get(g).copy()).flatten() for g in found])
    difference = float((flat - wanted).norm() / wanted.norm())
    assert difference < 1e-5, f"JAX computes another meta-gradient: {difference:.1g} of its norm off"
    now = [parameters, optimizer.init(parameters)]

    def step() -> None:
        now[0], now[1], value = moved(now[0], now[1], *data)
        float(value)  # waits for it, as a training that logs its loss does

    before = time.perf_counter()
    step()
    print(f"JAX {jax.__version__} compiled in {time.perf_counter() - before:.1f} s", file=sys.stderr)
    return step


def stacked(tasks: Sequence[Task]) -> list[Any]:
    """Support and query inputs and targets, (n_tasks, n, 1) arrays of numpy."""
    parts = [(t.support.inputs, t.support.targets, t.query.inputs, t.query.targets) for t in tasks]
    return [torch.stack(list(part)).numpy() for part in zip(*parts, strict=True)]  # type: ignore[arg-type]


def medians(steps: Mapping[str, Step]) -> dict[str, float]:
    """Milliseconds of a step, all sides in turn."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(N_ROUNDS):
        for name, step in steps.items():
            before = time.perf_counter()
            for _ in range(N_STEPS):
                step()
            times[name].append((time.perf_counter() - before) * 1e3 / N_STEPS)
    return {name: statistics.median(values) for name, values in times.items()}


def section() -> str:
    jax_step = by_jax()
    heads = ("outer step", "recorded, ms", "compiled, ms", "times", "JAX, ms", "compiling, s", "kept, s")
    lines = [f"| {' | '.join(heads)} |", "| --- " + "| ---: " * (len(heads) - 1) + "|"]
    for i, (name, words) in enumerate(ROWS.items()):
        with tempfile.TemporaryDirectory() as folder:
            os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder
            steps = {"recorded": ours(words, compiling=False)[0]}
            steps["compiled"], anew = ours(words, compiling=True)
            torch.compiler.reset()
            _, kept = ours(words, compiling=True)
            if i == 0 and jax_step is not None:
                steps["JAX"] = jax_step
            ms = medians(steps)
        one, other = (f"{ms[side]:.2f}" for side in ("recorded", "compiled"))
        theirs = f"{ms['JAX']:.2f}" if "JAX" in ms else "-"
        quotient = f"{ms['recorded'] / ms['compiled']:.2f}"
        lines.append(
            "| " + " | ".join((name, one, other, quotient, theirs, f"{anew:.0f}", f"{kept:.0f}")) + " |"
        )
    compiled.switch(False, Path)
    return HEAD + "\n".join(lines)


if __name__ == "__main__":
    page.show("compiled", section(), "--write" in sys.argv)
