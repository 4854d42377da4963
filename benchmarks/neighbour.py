"""A step beside a busy neighbour: a process that spins on one core, as there often is on a shared machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks import page
from coldstart_cli.bench import measuring, rows
from coldstart_cli.bench.measuring import Spread
from coldstart_cli.bench.rows import Case

NAMES = ("MAML, sinusoid, 25 tasks", "MAML, 4 tasks", "ProtoNet, 5-way, fp32")


@contextmanager
def neighbour() -> Iterator[int]:
    """The id of a process that spins on the first core that this one may use, stopped to begin with."""
    core = min(os.sched_getaffinity(0))
    code = f"import os\nos.sched_setaffinity(0, {{{core}}})\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", code]) as child:
        try:
            time.sleep(0.2)
            os.kill(child.pid, signal.SIGSTOP)
            yield child.pid
        finally:
            child.kill()


def slowed(case: Case, seconds: float) -> tuple[Spread, Spread]:
    """Milliseconds of a step alone, and how many times it takes beside the neighbour, block by block."""
    step = case.step()
    step()
    alone, times = [], []
    with neighbour() as pid:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end or len(times) < 3:
            quiet = _block(step)
            os.kill(pid, signal.SIGCONT)
            busy = _block(step)
            os.kill(pid, signal.SIGSTOP)
            alone.append(1e3 * quiet)
            times.append(busy / quiet)
    return measuring.spread(alone), measuring.spread(times)


def _block(step: measuring.Step) -> float:
    """Mean seconds of a step over a fifth of a second or more; the first one is not counted."""
    step()
    started, n = time.perf_counter(), 0
    while time.perf_counter() - started < 0.2:
        step()
        n += 1
    return (time.perf_counter() - started) / n


def section() -> str:
    lines = ["| outer step | ms alone | times beside a busy neighbour |", "| --- | ---: | ---: |"]
    for name in NAMES:
        row = next(row for row in rows.ROWS if row.name == name)
        alone, times = slowed(rows.built(row, ["hardware=cpu"]), seconds=4.0)
        lines.append(
            f"| {name} | {alone.middle:.1f} ({alone.low:.1f}-{alone.high:.1f}) "
            f"| {times.middle:.2f} ({times.low:.2f}-{times.high:.2f}) |"
        )
    words = (
        "The same step, in turn alone and with one other process that spins on one of the cores; "
        "two cores shared fairly make 1.33 the least that is to be expected."
    )
    return "\n\n".join(["## Beside a busy neighbour", words, "\n".join(lines)])


if __name__ == "__main__":
    page.show("neighbour", section(), "--write" in sys.argv)
