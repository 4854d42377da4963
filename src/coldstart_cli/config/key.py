"""One key as a person types it, with what there is to say of it."""

from __future__ import annotations

import re
from dataclasses import dataclass

EVALUATED = ("dataset", "evaluation", "hardware", "logger", "baseline", "again", "trust")
"""What `evaluate` may change of a run's config; the rest belongs to its training."""

CONFIG = "config"
_LINE = 90
"""Characters of a line of help."""
RUN = "run directory"
_PATH = re.compile(r"\b(folder|file|directory)\b")


@dataclass(frozen=True, slots=True)
class Key:
    """One key, as typed.

    Attributes:
        type: with its range, in words.
        default: as YAML writes it.
        line: what the docstring of its target says of it.
        comment: what stands beside its value in the YAML file.
        choices: the words that it may be set to, where these are all.
    """

    name: str
    type: str
    default: str = ""
    line: str = ""
    comment: str = ""
    choices: tuple[str, ...] = ()

    @property
    def short(self) -> str:
        """One of its two descriptions: the first sentence of the docstring, or a shorter comment."""
        sentence = self.line.partition(". ")[0]
        told = self.comment not in ("", self.type)
        return self.comment if told and not 0 < len(sentence) <= _LINE else sentence

    @property
    def is_path(self) -> bool:
        """Whether its value names a place: a text of which a folder or file is said."""
        return self.type.startswith("text") and bool(_PATH.search(f"{self.line} {self.comment}"))
