"""Interpreters that are started from here look for no modules in the folder where the command was typed.

Python puts that folder first in a child's search path: `python -c` and `python -m`, by which fork servers,
ranks and submitit's jobs start, both do. A file `signal.py` among somebody's data would then run in place of
Python's own.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

VARIABLE = "PYTHONSAFEPATH"
"""Python's own name for it; every child inherits it, also those that a library starts."""


@contextlib.contextmanager
def safe_path() -> Iterator[None]:
    """Holds for the children that are started inside; a caller's own environment is left as it was."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before


def leave_out_this_folder() -> None:
    """The same for this process, where `python -m` has put the folder first."""
    if not sys.flags.safe_path and sys.path[:1] in ([""], [os.getcwd()]):
        del sys.path[0]
