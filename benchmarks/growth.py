"""How the cost of a training step grows with ways, shots, queries, inner steps and tasks.

    python -m benchmarks.growth             prints the section
    python -m benchmarks.growth --write     writes it into docs/benchmarks.md, and docs/figures/growth.svg

Each point is measured in a process of its own. Memory is what it allocated, without the pages of
libraries, which are read in when it pleases the system.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import page

FIGURE = page.PAGE.parent / "figures" / "growth.svg"
MEBIBYTE = 2**20


@dataclass(frozen=True)
class Axis:
    """What is varied, and why cost grows with it as it does.

    Attributes:
        row: of `coldstart bench`, that it departs from.
        key: of the config, that is varied.
        also: overrides that the larger values need.
        reason: what theory says of time and of memory.
    """

    title: str
    row: str
    key: str
    values: tuple[int, ...]
    reason: str
    also: tuple[str, ...] = ()


NARROW = ("evaluation.n_query=5", "training.validation.n_query=5")
AXES = (
    Axis("ways", "MAML, 4 tasks", "dataset.n_way", (2, 5, 10, 20),
         "images of a task, n_way x (k_shot + n_query), and with them time and the activations that are kept",
         NARROW),
    Axis("shots", "MAML, 4 tasks", "dataset.k_shot", (1, 2, 5, 10),
         "each shot adds n_way support images, which are differentiated twice", NARROW),
    Axis("queries", "MAML, 4 tasks", "dataset.n_query", (3, 6, 9, 12, 15),
         "each adds n_way images, which are differentiated once", NARROW),
    Axis("inner steps", "MAML, 4 tasks", "strategy.inner_steps", (1, 2, 3, 5),
         "each passes the support set again, and second order keeps the graph of every step"),
    Axis("tasks, one after another", "MAML, 4 tasks", "strategy.meta_batch_size", (1, 2, 4, 8, 16),
         "each task is a pass of its own; its graph is freed before the next one begins, "
         "so memory stays"),
    Axis("tasks, in one call (sinusoid)", "MAML, sinusoid, 25 tasks", "strategy.meta_batch_size",
         (1, 10, 50, 200, 1000),
         "a small network waits for the calls themselves, whose number is that of one task: "
         "cost is a constant until arithmetic outweighs it"),
)  # fmt: skip


@dataclass(frozen=True)
class Line:
    """y = intercept + slope x, by least squares; `r2` is the share of the variance that it explains."""

    intercept: float
    slope: float
    r2: float


def fitted(x: Sequence[float], y: Sequence[float]) -> Line:
    slope, intercept = np.polyfit(x, y, 1)
    rest = np.asarray(y) - (intercept + slope * np.asarray(x))
    spread = np.asarray(y) - np.mean(y)
    total = float(spread @ spread)
    return Line(float(intercept), float(slope), 1 - float(rest @ rest) / total if total else 1.0)


def verdict(x: Sequence[float], y: Sequence[float]) -> str:
    """`flat` where all of it lies within a tenth of its middle, else `linear` from R2 = .98 on."""
    if max(y) - min(y) <= 0.2 * float(np.median(y)):
        return "flat"
    return "linear" if fitted(x, y).r2 >= 0.98 else "no line"


def measured(axis: Axis) -> list[dict[str, float]]:
    """A point of each value: seconds of a step and bytes at its peak, above what stood before it."""
    points = []
    for value in axis.values:
        words = [axis.row, f"{axis.key}={value}", *axis.also]
        command = [sys.executable, "-m", "benchmarks.growth", "point", *words]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        points.append({"x": float(value), **json.loads(done.stdout)})
        print(axis.title, points[-1], file=sys.stderr, flush=True)
    return points


def point(row: str, overrides: Sequence[str]) -> dict[str, Any]:
    """One value of an axis, in this process: the median of up to seven steps after one.

    The clock is the processor's, of one thread: what other processes do does not lengthen it.
    """
    from dataclasses import replace

    from coldstart_cli.bench import measuring, rows

    chosen = next(r for r in rows.ROWS if r.name == row)
    case = rows.built(
        replace(chosen, overrides=(*chosen.overrides, *overrides)), ["hardware=cpu", "hardware.threads=1"]
    )
    step, before = case.step(), _memory()
    step()
    times: list[float] = []
    while len(times) < 3 or (len(times) < 7 and sum(times) < 1.5):
        started = time.process_time()
        step()
        times.append(time.process_time() - started)
    after = _memory()
    allocated = after["VmHWM"] - after["RssFile"] - before["RssAnon"]
    return {"seconds": measuring.spread(times).middle, "bytes": max(0, allocated)}


def _memory() -> dict[str, int]:
    """Bytes by the kernel's names: VmHWM, the peak; RssAnon, what is allocated; RssFile, libraries."""
    lines = Path("/proc/self/status").read_text().splitlines()
    fields = (line.split() for line in lines if line.startswith(("VmHWM", "RssAnon", "RssFile")))
    return {name.rstrip(":"): 1024 * int(number) for name, number, _ in fields}


def section() -> str:
    return text({axis.title: measured(axis) for axis in AXES})


SETTING = """\
A step of MAML, second order, from 5-way 1-shot, 15 queries, 4 tasks and 1 inner step on Conv4 with 64
channels, in the last row on the MLP 40-40 of the sinusoid. Each point is a process of its own, on one
thread: the median processor time of its steps, and its peak of allocated memory less what it held before
the first step. `flat`: within a tenth of the middle; `linear`: a line explains 98 % of the variance or
more."""
CAPTION = "Time and memory of a step against ways, shots, queries, inner steps and tasks"


def text(points: dict[str, list[dict[str, float]]]) -> str:
    lines = [
        "| what grows | ms of a step | line | MiB above the start | line | why |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for axis in AXES:
        x = [p["x"] for p in points[axis.title]]
        ms = [1e3 * p["seconds"] for p in points[axis.title]]
        mib = [p["bytes"] / MEBIBYTE for p in points[axis.title]]
        cells = [_series(x, ms), _line(x, ms, "ms"), _series(x, mib), _line(x, mib, "MiB"), axis.reason]
        lines.append(f"| {axis.title} | {' | '.join(cells)} |")
    picture = f"![{CAPTION}](figures/{FIGURE.name})"
    return "\n\n".join(["## How cost grows", SETTING, "\n".join(lines), picture])


def _series(x: Sequence[float], y: Sequence[float]) -> str:
    return ", ".join(f"{a:g}: {b:.3g}" if b < 1000 else f"{a:g}: {b:.0f}" for a, b in zip(x, y, strict=True))


def _line(x: Sequence[float], y: Sequence[float], unit: str) -> str:
    line, found = fitted(x, y), verdict(x, y)
    if found == "flat":
        return found
    return f"{found}: {line.intercept:.3g} + {line.slope:.3g} {unit} each, R² {line.r2:.3f}"


def draw(points: dict[str, list[dict[str, float]]], path: Path) -> None:
    """Time in one colour, memory in another, the fitted line dashed, a panel for each axis."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "growth", "svg.fonttype": "none", "font.size": 8})
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(2, 3, figsize=(10, 5), constrained_layout=True)
    for axis, panel in zip(AXES, panels.flat, strict=True):
        x = [p["x"] for p in points[axis.title]]
        right = panel.twinx()
        for place, name, colour, factor in (
            (panel, "seconds", "tab:blue", 1e3),
            (right, "bytes", "tab:orange", 1 / MEBIBYTE),
        ):
            place.set_ylabel("ms of a step" if name == "seconds" else "MiB above the start", color=colour)
            y = [factor * p[name] for p in points[axis.title]]
            line = fitted(x, y)
            place.plot(x, y, "o", color=colour, markersize=4)
            ends = [0.0, max(x)]
            place.plot(ends, [line.intercept + line.slope * e for e in ends], "--", color=colour, linewidth=1)
            place.set_ylim(bottom=0)
            place.tick_params(axis="y", colors=colour)
        panel.set_title(axis.title)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def main() -> None:
    if sys.argv[1:2] == ["point"]:
        print(json.dumps(point(sys.argv[2], sys.argv[3:])))
        return
    write = "--write" in sys.argv
    points = {axis.title: measured(axis) for axis in AXES}
    if write:
        draw(points, FIGURE)
    page.show("growth", text(points), write)


if __name__ == "__main__":
    main()
