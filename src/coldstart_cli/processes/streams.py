"""What must stand in a process before torch is imported: its streams, its environment, its warnings."""

from __future__ import annotations

import io
import os
import sys
import warnings
from typing import TextIO

from coldstart_cli.processes.safe_path import VARIABLE
from coldstart_cli.safe_text import printable


def open_streams() -> None:
    """Closed standard streams lead nowhere, and what a locale has no character for is shown as `?`.

    Else the next file that is opened would be standard output, and whoever prints would write into it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it takes the lowest free number
        if getattr(sys, name) is None:
            mode = "w" if number else "r"
            stream = open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def set_up() -> None:
    """What must stand in the environment before torch is imported.

    OpenMP's idle threads spin for a while before they sleep. Without a bound they take the core from a
    busy neighbour, and a step takes 2 to 20 times as long; without spinning each of a step's many small
    operations waits to be woken, 1.4 times as long. 1,500 rounds are within 5 % of the best of a quiet
    machine; beside a busy neighbour a step takes 2.4 times as long with them and 3.8 with 10,000.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "1500")
    os.environ[VARIABLE] = "1"  # of every child: fork servers, ranks, submitit's jobs, those of libraries
    warnings.showwarning = _show_warning


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Our own (RuntimeWarning) in one line, and once in a process: a sweep builds every strategy twice."""
    text = f"{printable(' '.join(str(message).split()))}\n"
    if category is not RuntimeWarning:
        text = warnings.formatwarning(message, category, filename, lineno, line)
    elif text in _shown:
        return
    _shown.add(text)
    (file or sys.stderr).write(text)


_shown: set[str] = set()
