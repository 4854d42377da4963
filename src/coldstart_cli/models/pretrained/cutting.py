"""Which texts are longer than a model reads, by whatever tokenizer counts; it needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

_COUNTED = 4096
"""Texts that are counted at a time."""


def cut_of(
    texts: Sequence[str], lengths: Callable[[list[str]], list[int]], max_length: int, most: Callable[[], int]
) -> tuple[int, int]:
    """How many texts are longer than `max_length` tokens, and a length that is enough for them; or (0, 0).

    Args:
        lengths: in tokens, uncut, with those that begin and end a text.
        most: tokens that the model was made for.
    """
    # A token takes a byte at least, so that short texts need not be read to know that they fit.
    long = [text for text in texts if len(text.encode("utf-8", "surrogatepass")) + 2 > max_length]
    n_cut = longest = 0
    for start in range(0, len(long), _COUNTED):
        over = [n for n in lengths(long[start : start + _COUNTED]) if n > max_length]
        n_cut, longest = n_cut + len(over), max([longest, *over])
    if not n_cut:
        return 0, 0
    # The next power of two, or what the model was made for: longer texts have no place in it.
    return n_cut, min(1 << (longest - 1).bit_length(), most())
