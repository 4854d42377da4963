"""How time and memory grow, and what more processes cost: `python -m benchmarks.scaling --write`.

Growth is CPU time of one thread in one process, which a busy machine disturbs least, with a straight line
fitted to it. Two processes are compared with two threads in alternation, in the same two processes. What this
machine cannot run is computed from what was fitted; docs/scale.md says which is which.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from coldstart_cli.config import composition
from coldstart_cli.experiment.assembly import assemble
from coldstart_cli.processes import launch, ranks, streams

DOCUMENT = Path(__file__).parents[1] / "docs" / "scale.md"
BEGIN, END = "<!-- measured -->\n", "<!-- end -->\n"
CONV4 = (
    "strategy=maml",
    "strategy.meta_batch_size=4",
    "dataset=glyphs",
    "hardware=cpu",
    "hardware.threads=1",
    "baseline=null",
)
"""5-way 1-shot, 15 queries, 64 channels: what varies is set after it."""
GROWTH = {
    "tasks in a meta-batch": ("strategy.meta_batch_size={}", (1, 2, 4, 8)),
    "ways": ("dataset.n_way={}", (2, 5, 10, 20)),
    "shots": ("dataset.k_shot={}", (1, 5, 10)),
    "queries a class": ("dataset.n_query={}", (5, 10, 15)),
    "inner steps": ("strategy.inner_steps={}", (1, 3, 5)),
    "channels": ("model.hidden={}", (16, 32, 64)),
}
PAIRS = {
    "MAML, sinusoid, MLP 40-40, 24 tasks": (
        "strategy=maml", "dataset=sinusoid", "model=mlp", "strategy.meta_batch_size=24", "dataset.k_shot=10",
    ),
    "MAML, Conv4, 5-way 1-shot, 4 tasks": ("strategy=maml", "dataset=glyphs", "strategy.meta_batch_size=4"),
    "ProtoNet, Conv4, 5-way 1-shot, 4 tasks": (
        "strategy=protonet", "dataset=glyphs", "strategy.meta_batch_size=4",
    ),
    "fine-tuning's source classifier, Conv4, 64 images": ("strategy=finetune", "dataset=glyphs"),
}  # fmt: skip
SIZES = (10**3, 10**4, 10**5, 10**6, 10**7)
NETWORKS = {  # bytes a second, seconds a message: of data sheets, rounded; not measured here
    "10 Gbit/s Ethernet": (1.25e9, 50e-6),
    "100 Gbit/s InfiniBand": (12.5e9, 10e-6),
    "NVLink": (3e11, 5e-6),
}
MODELS = {  # parameters that learn
    "Conv4, 64 channels": 1.1e5,
    "ResNet-12": 8e6,
    "ViT-B": 8.6e7,
    "10^9, all": 1e9,
    "10^9, LoRA": 24 * 2 * 2 * 8 * 2048,  # rank 8 on 2 of the 2048 x 2048 matrices in each of 24 layers
}


def config_of(*overrides: str) -> dict[str, Any]:
    ((_, config),) = composition.points(overrides)
    return config


def training_of(config: dict[str, Any]) -> Callable[[], Any]:
    """One outer step a call."""
    experiment = assemble(config)
    steps = experiment.strategy.train().fit(experiment.source)
    return partial(next, steps)


def growth(override: str, values: Sequence[int], repeats: int) -> list[float]:
    """CPU seconds of a step at each value, in turns; the least, for a neighbour can only add."""
    steps = [training_of(config_of(*CONV4, override.format(value))) for value in values]
    times: list[list[float]] = [[] for _ in values]
    for _ in range(repeats + 1):
        for step, kept in zip(steps, times, strict=True):
            before = time.process_time()
            step()
            kept.append(time.process_time() - before)
    return [min(kept[1:]) for kept in times]


def fitted(xs: Sequence[float], ys: Sequence[float]) -> tuple[float, float, float]:
    """(a, b, largest relative deviation) of y = a + b x by least squares of relative errors."""
    x, y = np.array(xs, dtype=float), np.array(ys, dtype=float)
    system = np.stack([1 / y, x / y], 1)
    a, b = np.linalg.lstsq(system, np.ones(len(y)), rcond=None)[0]
    return float(a), float(b), float(np.abs(a + b * x - y).max() / y.max())


def _memory(override: str, results: Any) -> None:
    step = training_of(config_of(*CONV4, override))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(2):
        step()
    results.send((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)


def memory(override: str, values: Sequence[int]) -> list[float]:
    """Bytes that two steps add to the peak of a process that has built all it needs, a process each."""
    context = multiprocessing.get_context("fork")  # its peak begins where ours is
    found = []
    for value in values:
        ours, theirs = context.Pipe(duplex=False)
        child = context.Process(target=_memory, args=(override.format(value), theirs))
        child.start()
        theirs.close()
        found.append(float(ours.recv()))
        child.join()
    return found


def in_pair(configs: dict[str, dict[str, Any]], folder: str, repeats: int) -> None:
    """Seconds of messages, and of steps by two processes of one thread and by one of two, in turns."""
    speaks = {}
    for n in SIZES:
        parameter = torch.nn.Parameter(torch.zeros(n))
        parameter.grad = torch.zeros(n)
        speaks[n] = min(_clocked(partial(ranks.average_gradients, [parameter])) for _ in range(30))
    steps = {}
    for name, config in configs.items():
        together, alone = training_of(config), {n: training_of(_with_threads(config, n)) for n in (1, 2)}
        times: list[tuple[float, ...]] = []
        for _ in range(repeats + 1):
            ranks.largest(0)  # the second waits here while the first is alone
            torch.set_num_threads(1)
            pair = _clocked(together)
            single = [_alone(alone[n], n) for n in (1, 2)] if ranks.first() else []
            times.append((pair, *single))
        steps[name] = times[1:]
    if ranks.first():
        Path(folder, "found.json").write_text(json.dumps({"speaks": [*speaks.items()], "steps": steps}))


def _with_threads(config: dict[str, Any], n: int) -> dict[str, Any]:
    return {**config, "hardware": {**config["hardware"], "threads": n}}


def _clocked(call: Callable[[], Any]) -> float:
    before = time.perf_counter()
    call()
    return time.perf_counter() - before


def _alone(call: Callable[[], Any], threads: int) -> float:
    torch.set_num_threads(threads)
    place, ranks._place = ranks.place(), ranks.Place()
    try:
        return _clocked(call)
    finally:
        ranks._place = place


def drawn_at(index: int) -> float:
    """CPU seconds to draw a task of that number: a source is a function of it and keeps none."""
    source = assemble(config_of(*CONV4)).source
    source.tasks("train", [index])
    before = time.process_time()
    for i in range(50):
        source.tasks("train", [index + i])
    return (time.process_time() - before) / 50


def growth_table(repeats: int) -> list[str]:
    rows = ["| what grows | CPU time of a step, ms | fitted | added to peak memory, MiB | fitted |"]
    rows += ["| --- | --- | --- | --- | --- |"]
    spaces_of = {name: memory(*grows) for name, grows in GROWTH.items()}  # before anything is trained here
    for name, (override, values) in GROWTH.items():
        times = [1e3 * t for t in growth(override, values, repeats)]
        spaces = [m / 2**20 for m in spaces_of[name]]
        said = [f"| {name}: {', '.join(map(str, values))}"]
        for found in (times, spaces):
            a, b, off = fitted(values, [max(f, 1e-3) for f in found])
            said += [" / ".join(f"{f:.0f}" for f in found), f"{a:.0f} + {b:.3g} x, within {100 * off:.0f} %"]
        rows.append(" | ".join(said) + " |")
    return rows


def pair_tables(found: dict[str, Any]) -> list[str]:
    rows = [
        "| step | two processes, ms | one of one thread | times faster | one of two threads | times faster |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, times in found["steps"].items():
        row = f"| {name} | {1e3 * statistics.median(t[0] for t in times):.1f} |"
        for i in (1, 2):
            low, middle, high = statistics.quantiles([t[i] / t[0] for t in times], n=4)
            row += (
                f" {1e3 * statistics.median(t[i] for t in times):.1f} | {middle:.2f} ({low:.2f}-{high:.2f}) |"
            )
        rows.append(row)
    bytes_of = [4.0 * n for n in SIZES]
    seconds = [found["speaks"][n] for n in SIZES]
    a, b, off = fitted(bytes_of, seconds)
    measured = ", ".join(f"{n:.0e}: {1e3 * s:.2f}" for n, s in zip(SIZES, seconds, strict=True))
    rows += [
        "",
        f"Averaging gradients of n parameters between two processes here, in ms: {measured}. Fitted: "
        f"{1e3 * a:.2f} ms + bytes / {1e-9 / b:.2f} GB/s, within {100 * off:.0f} % of the longest.",
    ]
    return rows


def all_reduce(parameters: float, processes: int, bandwidth: float, latency: float) -> float:
    """Seconds of a ring all-reduce: 2 (P - 1) messages of 1 / P of the bytes (Patarasuk and Yuan 2009)."""
    return 2 * (processes - 1) * (latency + 4 * parameters / processes / bandwidth)


def extrapolated() -> list[str]:
    rows = [
        "| parameters that learn | bytes a process sends | " + " | ".join(NETWORKS) + " |",
        "| --- | --- |" + " --- |" * len(NETWORKS),
    ]
    for name, n in MODELS.items():
        times = [1e3 * all_reduce(n, 8, *network) for network in NETWORKS.values()]
        sent = 4 * n * 2 * 7 / 8
        rows.append(f"| {name} ({n:.2g}) | {_bytes(sent)} | " + " | ".join(f"{t:.3g}" for t in times) + " |")
    rows += [
        "",
        "| parameters that learn of 10^9 | weights | gradients | Adam | a task of MAML, 5 steps |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, n in (("all", 1e9), ("LoRA", MODELS["10^9, LoRA"])):
        inner = 4 * n * (2 * 5 + 1)
        rows.append(f"| {name} | {_bytes(4e9)} | {_bytes(4 * n)} | {_bytes(8 * n)} | {_bytes(inner)} |")
    return rows


def million(step_seconds: float) -> list[str]:
    """10^6 tasks in meta-batches of 4 a process, Conv4: as many seconds as one process needs for its four."""
    rows = [
        "| processes | tasks a step | steps for 10^6 tasks | hours, Conv4 on one core each |",
        "| --- | --- | --- | --- |",
    ]
    for processes in (1, 8, 64):
        spoken = 0.0 if processes == 1 else all_reduce(1.1e5, processes, *NETWORKS["10 Gbit/s Ethernet"])
        steps = 10**6 / (4 * processes)
        rows.append(
            f"| {processes} | {4 * processes} | {steps:,.0f} | {steps * (step_seconds + spoken) / 3600:.1f} |"
        )
    return rows


def _bytes(n: float) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if n >= size:
            return f"{n / size:.3g} {unit}"
    return f"{n / 1e3:.3g} kB"


def report(repeats: int) -> str:
    configs = {
        name: config_of("hardware=cpu_x2", "hardware.threads=1", "baseline=null", *overrides)
        for name, overrides in PAIRS.items()
    }
    torch.set_num_threads(1)
    grown = growth_table(repeats)
    step = growth("strategy.meta_batch_size={}", (4,), repeats)[0]
    first, last = 1e3 * drawn_at(0), 1e3 * drawn_at(10**6)
    with tempfile.TemporaryDirectory() as folder:
        launch.launch(in_pair, (configs, folder, 5 * repeats), 2)
        found = json.loads(Path(folder, "found.json").read_text())
        found["speaks"] = dict(found["speaks"])
    lines = [
        f"Measured with torch {torch.__version__}, {platform.machine()}, {os.cpu_count()} cores, by "
        f"`python -m benchmarks.scaling --write`, at a load average of {os.getloadavg()[0]:.0f}.",
        "",
        "### One process: MAML, second order, Conv4 of 64 channels, 5-way 1-shot, 15 queries, 4 tasks",
        "",
        *grown,
        "",
        f"Drawing a task takes {first:.2f} ms at number 0 and {last:.2f} ms at number 1,000,000.",
        "",
        "### Two processes of one thread against one process of two threads",
        "",
        *pair_tables(found),
        "",
        "### Computed: milliseconds to average gradients among 8 processes, and memory",
        "",
        *extrapolated(),
        "",
        "### Computed: 10^6 tasks",
        "",
        *million(step),
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--write", action="store_true", help="put it into docs/scale.md")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    text = report(arguments.repeats)
    if not arguments.write:
        print(text)
        return
    page = DOCUMENT.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    DOCUMENT.write_text(before + BEGIN + text + END + after, encoding="utf-8")


if __name__ == "__main__":
    streams.set_up()
    main()
