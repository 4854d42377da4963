"""Ranges of inputs, and whether further ones lie far outside: by numpy, for predictions without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WIDEST = 1024
"""Features of a vector that are looked at singly; of wider ones, and of images, the mean of an example."""
_FEWEST_NEW = 5
"""Examples below which a mean says too little."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputRange:
    """The smallest and the largest value among n examples, of each feature or of the mean of an example.

    Attributes:
        n: examples that were looked at.
        low, high: of each feature, or of the mean in one number.
    """

    n: int
    low: tuple[float, ...]
    high: tuple[float, ...]


Ranges = Mapping[str, InputRange]
"""By the name of the tensor, which is empty where inputs are one."""


def shift_of(looked_at: Mapping[str, NDArray[np.float32]], known: Ranges) -> str | None:
    """What is odd about values (n, d) for a network that was trained on the known ranges; or None."""
    for name, values in looked_at.items():
        reach = known.get(name)
        if reach is None or len(values) < _FEWEST_NEW:
            continue
        low, high = np.array(reach.low, np.float32), np.array(reach.high, np.float32)
        mean = values.mean(0)
        if len(low) != len(mean):
            continue
        margin = (high - low) / 2
        # a feature that was constant says nothing of its scale
        beyond = np.maximum(low - mean, 0) + np.maximum(mean - high, 0)
        excess = np.divide(beyond, margin, out=np.zeros_like(beyond), where=margin > 0)
        worst = int(excess.argmax())
        if excess[worst] > 1:
            of = f"{int((excess > 1).sum())} of {len(mean)} features" if len(mean) > 1 else "the inputs"
            return (
                f"{of} lie far outside what the network was trained on (mean {mean[worst]:.3g}, there "
                f"{low[worst]:.3g} to {high[worst]:.3g}): another scale, unit or polarity? (images: "
                "dataset.invert)"
            )
    return None
