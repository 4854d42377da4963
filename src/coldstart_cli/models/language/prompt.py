"""What stands around texts and labels when a language model reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """header, then of each demonstration: before, text, between, label, after; then before, text, between.

    A space stands before every text and every label. For the channel (Min et al. 2022, arXiv:2108.04106) a
    demonstration is between, label, after, before, text.

    Args:
        header: said once, at the beginning.
        before: before a text.
        between: between a text and its label.
        after: after a label.

    Raises:
        ValueError: where nothing stands between a text and its label.
    """

    header: str
    before: str
    between: str
    after: str

    def __post_init__(self) -> None:
        if not self.between.strip():
            raise ValueError(
                "between: it is empty, and the model cannot see where a label begins; "
                r'write something, such as "\nLabel:"'
            )
