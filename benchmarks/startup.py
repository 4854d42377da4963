"""Seconds from typing a command to its answer: `python -m benchmarks.startup`. Medians of five processes."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COLDSTART = str(Path(sys.executable).with_name("coldstart"))


def seconds_of(*arguments: str) -> float:
    started = time.perf_counter()
    subprocess.run([COLDSTART, *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def seconds_to_first_step() -> float:
    """Until the first line of history.jsonl, which is written right after the first step."""
    with tempfile.TemporaryDirectory() as folder:
        command = [COLDSTART, "train", "strategy=maml", f"outputs={folder}", "training.log_every=1"]
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not any(p.stat().st_size for p in Path(folder).glob("*/history.jsonl")):
            if process.poll() is not None:
                raise SystemExit("startup: the training ended before its first step")
            time.sleep(0.005)
        elapsed = time.perf_counter() - started
        process.kill()
        process.wait()
        return elapsed


def seconds_of_a_finished_run(folder: str) -> float:
    """The same `train` again, after it has ended."""
    return seconds_of("train", "experiment=smoke", "hardware=cpu", f"outputs={folder}")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        _main(folder)


def _main(folder: str) -> None:
    for name, measure in (
        ("coldstart --help", lambda: seconds_of("--help")),
        ("coldstart ls", lambda: seconds_of("ls")),
        ("completion", lambda: seconds_of("_complete", "3", "coldstart", "train", "strategy=")),
        ("coldstart train of a finished run", lambda: seconds_of_a_finished_run(folder)),
        ("coldstart train strategy=maml, end of the first step", seconds_to_first_step),
    ):
        measure()
        values = [measure() for _ in range(5)]
        print(f"{name}: {statistics.median(values):.2f} s (from {min(values):.2f} to {max(values):.2f})")


if __name__ == "__main__":
    main()
