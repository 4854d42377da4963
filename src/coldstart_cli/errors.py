"""What a person reads when something is refused. Imports nothing heavy, so that every layer may raise it."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable

from coldstart_cli.safe_text import printable


class RequestError(Exception):
    """A request that cannot be served: one line, exit code 2.

    The message reads `<key or file>: <what is wrong>; <what to do>`.
    """


class Unserved(RequestError):
    """A method that cannot serve the task at all, however it is set: in a sweep, a stated result."""


class JobError(Exception):
    """A job that was accepted and then failed: one line, exit code 1."""


LONGEST_LINE = 300
"""Characters of a message: one line that a person reads to its end."""


def line(message: str) -> str:
    """A message as one line that a terminal shows as it is: names in it may be anything.

    What is too long loses its middle, for the key stands in front and what to do at the end.
    """
    words = " ".join(message.split())
    shown = printable(words)
    if len(shown) <= LONGEST_LINE:
        return shown
    return f"{shown[: LONGEST_LINE - 123]}...{shown[-120:]}"


def suggestion(word: str, known: Iterable[str]) -> str:
    """`did you mean X?` when one of `known` resembles `word`, else the list of what is known."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]}?"
    return f"known: {', '.join(names)}" if names else "nothing is known here"


def unforeseen(error: Exception) -> tuple[str, int]:
    """The line and the exit code of an error that nobody turned into a refusal."""
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return f"{str(error.filename)[:60]}...: no name may be as long; give a shorter one", 2
    if out_of_memory(error):
        return "memory: not enough; lower strategy.meta_batch_size or dataset.n_query", 1
    what = " ".join(f"{type(error).__name__}: {error}".split())
    return f"coldstart: {what[:200]}; run it with --debug for the stack", 1


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
