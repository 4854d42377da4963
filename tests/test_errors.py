"""What a person reads when something is refused: one line, with what to do."""

from __future__ import annotations

import errno

import pytest

from coldstart_cli.errors import LONGEST_LINE, line, out_of_memory, suggestion, unforeseen


def test_a_message_is_one_line_that_a_terminal_shows_as_it_is() -> None:
    assert line("key: a\n  b \x1b[31m; do") == "key: a b \\x1b[31m; do"


def test_a_message_that_is_too_long_keeps_its_key_and_what_to_do() -> None:
    found = line(f"key: {'x' * 1000}; do this")
    assert len(found) == LONGEST_LINE and found.startswith("key: x") and found.endswith("; do this")


@pytest.mark.parametrize(
    ("word", "known", "words"),
    [
        ("inner_lrr", ["lr", "inner_lr"], "did you mean inner_lr?"),
        ("zzz", ["b", "a"], "known: a, b"),
        ("x", [], "nothing is known here"),
    ],
)
def test_a_suggestion_is_what_resembles_a_word_or_all_that_is_known(
    word: str, known: list[str], words: str
) -> None:
    assert suggestion(word, known) == words


def test_memory_that_is_short_is_seen_through_what_it_caused() -> None:
    try:
        try:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        except RuntimeError as cause:
            raise ValueError("training") from cause
    except ValueError as error:
        assert out_of_memory(error) and unforeseen(error)[1] == 1
        assert unforeseen(error)[0].startswith("memory: not enough; lower ")
    assert not out_of_memory(ValueError("no")) and out_of_memory(MemoryError())


def test_an_error_that_nobody_foresaw_is_named_with_the_way_to_its_stack() -> None:
    assert unforeseen(KeyError("x")) == ("coldstart: KeyError: 'x'; run it with --debug for the stack", 1)
    long = OSError(errno.ENAMETOOLONG, "File name too long", "n" * 300)
    assert unforeseen(long) == (f"{'n' * 60}...: this name is too long; give a shorter one", 2)
