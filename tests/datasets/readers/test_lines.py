"""Lines of files and of standard input: each is there once it is whole, and one may look ahead."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from coldstart_cli.datasets.readers.lines import Lines, Typed


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """(end to read, end to write)."""
    read, write = os.pipe()
    yield read, write
    for end in (read, write):
        try:
            os.close(end)
        except OSError:  # the test has closed it
            continue


def test_peek_leaves_every_line_to_be_read() -> None:
    lines = Lines(["\n", "first\n", "second\n"])
    assert lines.peek() == "first\n" == lines.peek()
    assert list(lines) == ["\n", "first\n", "second\n"] and lines.peek() == ""


def test_typed_lines_are_there_before_the_next_is_written(pipe: tuple[int, int]) -> None:
    read, write = pipe
    os.write(write, "\ufeffone\ntw".encode())
    lines = Typed(read, "utf-8-sig")
    assert next(lines) == "one\n" and lines.idle()
    os.write(write, b"o\r\nthree\n")
    assert next(lines) == "two\r\n" and not lines.idle()  # the third line waits
    os.write(write, b"the end")
    os.close(write)
    assert list(lines) == ["three\n", "the end"] and lines.idle() is False


def test_typed_bytes_that_are_no_text_are_kept_as_surrogates(pipe: tuple[int, int]) -> None:
    read, write = pipe
    os.write(write, b"caf\xe9\xe2\x80")
    os.close(write)
    assert "".join(Typed(read, "utf-8")) == "caf\udce9\udce2\udc80"
