"""What a person reads when something is refused; it imports nothing heavy, so every layer can raise it."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable

from coldstart_cli.safe_text import printable


class RequestError(Exception):
    """A request that cannot be served: one line, exit code 2.

    The message reads `<key or file>: <what is wrong>; <what to do>`. Where there is more to say, it ends in a
    code such as `(E12)`: docs/errors.md has its help, which `coldstart explain E12` prints.
    """


class Unserved(RequestError):
    """A method that cannot serve the task under any setting: a sweep states this as that job's result."""


class JobError(Exception):
    """A job that was accepted and then failed: one line, exit code 1."""


LONGEST_LINE = 300
"""Characters of a message: one line that a person reads to its end."""


def line(message: str) -> str:
    """A message as one line that is safe to show in a terminal, whatever the names in it contain.

    A message that is too long loses its middle: the key stands at the front and what to do at the end.
    """
    words = " ".join(message.split())
    shown = printable(words)
    if len(shown) <= LONGEST_LINE:
        return shown
    return f"{shown[: LONGEST_LINE - 123]}...{shown[-120:]}"


def suggestion(word: str, known: Iterable[str]) -> str:
    """`did you mean X?` when one of `known` resembles `word`, else the list of what is known."""
    names = sorted(known)
    # A cutoff of .5, below difflib's .6: short keys such as `lr` are far from their misspellings.
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]}?"
    return f"known: {', '.join(names)}" if names else "nothing is known here"


def unforeseen(error: Exception) -> tuple[str, int]:
    """The line and the exit code of an error that no one turned into a refusal."""
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return f"{str(error.filename)[:60]}...: this name is too long; give a shorter one", 2
    if out_of_memory(error):
        return "memory: not enough; lower strategy.meta_batch_size or dataset.n_query (E52)", 1
    what = " ".join(f"{type(error).__name__}: {error}".split())
    return f"coldstart: {what[:200]}; run it with --debug for the stack", 1


def out_of_memory(error: BaseException) -> bool:
    """Whether an error, or what caused it, says that memory is short."""
    seen: BaseException | None = error
    while seen is not None:
        # torch raises a plain RuntimeError where the CPU's memory is short, so only its text can tell.
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
