"""What a predictor takes from the files of a pretrained model, as cards and runs keep it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesRead:
    """The files at `model.path` that a predictor reads each time it is built, which are not its own.

    Attributes:
        contents: digests of them, one for each part that reads some: weights, vocabulary.
        revision: the commit of a hub model, or None.
    """

    contents: tuple[str, ...]
    revision: str | None
