"""One key as a person types it, with its description."""

from __future__ import annotations

import re
from dataclasses import dataclass

EVALUATED = ("dataset", "evaluation", "hardware", "logger", "baseline", "again", "trust")
"""Keys that `evaluate` may change in a run's config; the others belong to its training."""

CONFIG = "config"
_LINE = 90
"""Longest description in a line of help, in characters."""
RUN = "run directory"
_PATH = re.compile(r"\b(folder|file|directory)\b")


@dataclass(frozen=True, slots=True)
class Key:
    """One key, as typed.

    Attributes:
        type: with its range, in words.
        default: as YAML writes it.
        line: its description in the docstring of its target.
        comment: the comment beside its value in the YAML file.
        choices: the words that it may be set to, where there are no other values.
    """

    name: str
    type: str
    default: str = ""
    line: str = ""
    comment: str = ""
    choices: tuple[str, ...] = ()

    @property
    def short(self) -> str:
        """One of its two descriptions: the docstring's first sentence, or the comment if that is too long."""
        sentence = self.line.partition(". ")[0]
        told = self.comment not in ("", self.type)
        return self.comment if told and not 0 < len(sentence) <= _LINE else sentence

    @property
    def said(self) -> list[str]:
        """Both of its descriptions: the docstring's words, and the YAML file's where these say more."""
        if not self.line:
            return [self.comment]
        more = self.comment != self.type and self.comment.casefold() not in self.line.casefold()
        return [self.line, f"in its file: {self.comment}"] if more else [self.line]

    @property
    def is_path(self) -> bool:
        """Whether its value is a path: a text whose description speaks of a folder or file."""
        return self.type.startswith("text") and bool(_PATH.search(f"{self.line} {self.comment}"))
