"""Seconds from typing a command to its answer: `python -m benchmarks.startup [--write]`."""

from __future__ import annotations

import sys
import tempfile

from benchmarks import page
from coldstart_cli.bench import measuring, rows

SMOKE = ("train", "experiment=smoke", "dataset=sinusoid", "model=mlp")


def section() -> str:
    found = rows.startup(3)
    with tempfile.TemporaryDirectory() as folder:
        rows.seconds_of([*SMOKE, f"outputs={folder}"])
        times = [rows.seconds_of([*SMOKE, f"outputs={folder}"]) for _ in range(3)]
        found["train, of a run that is finished"] = measuring.spread(times)
    lines = ["| coldstart | seconds |", "| --- | ---: |"]
    for name, s in found.items():
        lines.append(f"| {name} | {s.middle:.2f} ({s.low:.2f}-{s.high:.2f}) |")
    words = "From typing a command to its answer, three processes each."
    return "\n\n".join(["## Start-up", words, "\n".join(lines)])


if __name__ == "__main__":
    page.show("startup", section(), "--write" in sys.argv)
