"""What a person reads when something is refused. Imports nothing, so that every layer may raise it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class RequestError(Exception):
    """A request that cannot be served: one line, exit code 2.

    The message reads `<key or file>: <what is wrong>; <what to do>`.
    """


class Unserved(RequestError):
    """A method that cannot serve the task at all, however it is set: in a sweep, a stated result."""


class JobError(Exception):
    """A job that was accepted and then failed: one line, exit code 1."""


def suggestion(word: str, known: Iterable[str]) -> str:
    """`did you mean X?` when one of `known` resembles `word`, else the list of what is known."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]}?"
    return f"known: {', '.join(names)}" if names else "nothing is known here"


def out_of_memory(error: BaseException) -> bool:
    """Whether an error, or what caused it, says that memory is short: torch says it as a RuntimeError."""
    seen: BaseException | None = error
    while seen is not None:
        text = str(seen).lower()
        if isinstance(seen, MemoryError) or any(sign in text for sign in OUT_OF_MEMORY):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


OUT_OF_MEMORY = (
    "can't allocate memory",  # torch, on the CPU
    "cannot allocate memory",  # the system
    "out of memory",  # CUDA, MPS
    "bad_alloc",  # C++
    "can't start new thread",
    "failed to map segment",  # a library that is loaded
)
