"""What answers inputs, and what it says of them, whatever computes it: torch or another runtime."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from coldstart_cli.datasets.own.raw import Raw
from coldstart_cli.datasets.readers.problems import Problems

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a bundle says of n inputs.

    Attributes:
        labels: class names, None where it abstains; empty for a regression.
        probabilities: (n, n_classes) float64, calibrated, or None for a regression.
        values: (n, n_outputs) of a regression, in the unit of its targets, or None.
        classes: the class of each column of `probabilities`; empty for a regression.
    """

    labels: list[str | None]
    probabilities: Tensor | None
    values: Tensor | None
    classes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answered:
    """A prediction of n inputs, and what is to be said beside it.

    Attributes:
        sound: (n,) whether all outputs of an input are finite numbers.
        shift: what is odd about the inputs for a network that was trained on others, or None.
    """

    prediction: Prediction
    sound: list[bool]
    shift: str | None


class Predictor(Protocol):
    """What `coldstart predict` answers by."""

    def raws(self, path: str, *, problems: Problems, chunk: int) -> Iterator[Raw]:
        """Examples of a file, a folder or standard input, read as its own data were; see `read_raw`."""

    def answered(self, inputs: Any, threshold: float | None) -> Answered:
        """Of inputs that `raws` made; `threshold` None: the card's."""
