"""Seconds from typing a command to its answer: `python -m benchmarks.startup [--write]`."""

from __future__ import annotations

import sys

from benchmarks import page
from coldstart_cli import bench


def section() -> str:
    lines = ["| coldstart | seconds |", "| --- | ---: |"]
    for name, s in bench.startup(5).items():
        lines.append(f"| {name} | {s['middle']:.2f} ({s['low']:.2f}-{s['high']:.2f}) |")
    words = "From typing a command to its answer, five processes each."
    return "\n\n".join(["## Start-up", words, "\n".join(lines)])


if __name__ == "__main__":
    page.show("startup", section(), "--write" in sys.argv)
