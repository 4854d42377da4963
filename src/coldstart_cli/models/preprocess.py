"""What a model does to raw examples once, before they are drawn into tasks.

A preprocess belongs to the model, since the model determines what it reads: tokens, images of one size, or
the features of a frozen encoder. The data set is given it, applies it to all its examples once, and keeps the
result, which is what the network's `forward` reads.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import final

from torch import Tensor

from coldstart_cli.core.tasks import Inputs


class Preprocess(ABC):
    """Turns raw examples into inputs; kinds that the model does not read are refused with the reason.

    Attributes:
        fingerprint: what determines its output, for caches and bundles.
        content: a digest of the pretrained weights and vocabulary it reads; None where it reads no files.
        image_size: height and width in pixels that images should come in, or None for the data set's.
        image_channels: 1 or 3, or None for what the files have.
        max_length: tokens of a text that are read, or None where all are.
        reads_text: whether `texts` serves.
    """

    fingerprint: str
    content: str | None = None
    image_size: int | None = None
    image_channels: int | None = None
    max_length: int | None = None
    reads_text: bool = False

    def cut(self, texts: Sequence[str]) -> tuple[int, int]:
        """How many texts are longer than `max_length`, and a length that is enough for them; or (0, 0)."""
        return 0, 0

    def load(self) -> None:  # noqa: B027 - most read nothing
        """Reads now what it otherwise reads at its first use: its files may be gone by then."""

    @abstractmethod
    def images(self, images: Tensor) -> Inputs:
        """(n, C, H, W) uint8 -> inputs of n examples.

        Raises:
            ValueError: where the model does not read images.
        """

    @abstractmethod
    def texts(self, texts: Sequence[str]) -> Inputs:
        """n texts -> inputs of n examples.

        Raises:
            ValueError: where the model does not read text.
        """

    def names(self, words: Sequence[str]) -> Inputs | None:
        """What n classes are called, in words -> inputs of n examples; None where the model reads no text."""
        return self.texts(words) if self.reads_names and words else None

    @property
    def reads_names(self) -> bool:
        """Whether `names` serves: where texts are read, and where names are read beside images."""
        return self.reads_text

    @abstractmethod
    def vectors(self, values: Tensor) -> Inputs:
        """(n, ...) numbers (tables, signals, features) -> inputs of n examples.

        Raises:
            ValueError: where the model does not read numbers.
        """


def in_words(label: str) -> str:
    """A label as a person would write it: `card_payment-fee?` is `card payment fee?`."""
    words = re.sub(r"[\s_-]+", " ", label).strip()
    return words or label  # one of underscores alone has no words


@final
class Plain(Preprocess):
    """For networks that read numbers as they are: images stay uint8, text is refused."""

    fingerprint = "plain"

    def images(self, images: Tensor) -> Inputs:
        return images

    def texts(self, texts: Sequence[str]) -> Inputs:
        raise ValueError("model: it does not read text; choose one that does (model=hf_text)")

    def vectors(self, values: Tensor) -> Inputs:
        return values
