"""What a command prints."""

from __future__ import annotations

import io
import os
import sys


def emit(text: str) -> None:
    """Prints to stdout; whoever reads may have gone (`| head`), and a letter may have no encoding."""
    if sys.stdout is None:  # closed by the caller
        return
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # else the interpreter complains when it flushes at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
