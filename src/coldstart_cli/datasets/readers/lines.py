"""Lines of a text file, or of standard input as they are typed."""

from __future__ import annotations

import codecs
import contextlib
import os
import select
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from coldstart_cli.errors import RequestError
from coldstart_cli.files.regular import opened as opened_file

STDIN = "-"
_ENDS_OF_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_AT_ONCE = 1 << 16
"""Bytes that are read from standard input at a time, at most."""


class Lines(Iterator[str]):
    """Lines with their ends, of which some may be looked at before they are read.

    Bytes that are not text come as lone surrogates, so that the row they stand in can be named.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self._ahead: list[str] = []

    def __next__(self) -> str:
        return self._ahead.pop(0) if self._ahead else next(self._lines)

    def peek(self) -> str:
        """The first line that is not blank, or ''; it stays to be read, as do those before it."""
        for line in self._ahead:
            if line.strip():
                return line
        for line in self._lines:
            self._ahead.append(line)
            if line.strip():
                return line
        return ""

    def idle(self) -> bool:
        """Whether the next line may take a while: what has been read is to be answered now."""
        return False


class Typed(Lines):
    """Standard input: whole lines as soon as they are there, as a person or another program writes them.

    Python's own buffer would hide whether a further line waits.
    """

    def __init__(self, descriptor: int, encoding: str) -> None:
        self._descriptor = descriptor
        self._decoder = codecs.getincrementaldecoder(encoding)("surrogateescape")
        self._begun, self._whole, self._ended = "", list[str](), False
        super().__init__(self._read())

    def idle(self) -> bool:
        if self._ahead or self._whole or self._ended:
            return False
        ready, _, _ = select.select([self._descriptor], [], [], 0)
        return not ready

    def _read(self) -> Iterator[str]:
        while not self._ended:
            found = os.read(self._descriptor, _AT_ONCE)
            self._ended = not found
            text = self._begun + self._decoder.decode(found, final=self._ended)
            # not splitlines(), which takes letters such as U+2028 for the end of a line
            *whole, self._begun = text.split("\n")
            self._whole = [f"{line}\n" for line in whole]
            while self._whole:
                yield self._whole.pop(0)
        if self._begun:
            yield self._begun


@contextlib.contextmanager
def opened(path: str, encoding: str) -> Iterator[Lines]:
    """The lines of a file, or of standard input for `-`.

    Raises:
        RequestError: where it cannot be read, or the encoding is none.
    """
    try:
        codecs.lookup(encoding)
    except LookupError as error:
        raise RequestError(
            f"dataset.encoding: {encoding} is not an encoding; write utf-8 or cp1252"
        ) from error
    if path == STDIN:
        yield _standard_input(plain(encoding))
        return
    try:
        with opened_file(Path(path)) as raw:
            start = raw.read(2)
        if start in _ENDS_OF_UTF16 and plain(encoding) == "utf-8-sig":
            raise RequestError(f"{path}: is UTF-16; say so with dataset.encoding=utf-16 (E15)")
        # newline="": a field of CSV may hold line ends, which belong to it
        with Path(path).open(encoding=plain(encoding), errors="surrogateescape", newline="") as stream:
            yield Lines(stream)
    except OSError as error:
        raise RequestError(f"{path}: cannot be read ({error.strerror}); check the path") from error


def plain(encoding: str) -> str:
    """UTF-8 with or without a byte order mark."""
    return "utf-8-sig" if encoding.lower().replace("_", "-") in ("utf-8", "utf8") else encoding


def _standard_input(encoding: str) -> Lines:
    try:
        return Typed(sys.stdin.fileno(), encoding)
    except (OSError, ValueError):  # a stream in memory, as where another program embeds this one
        sys.stdin.reconfigure(encoding=encoding, errors="surrogateescape")  # type: ignore[union-attr]
        return Lines(sys.stdin)
