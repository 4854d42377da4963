"""The range of inputs that a network was trained on, and a line where further inputs lie far outside it.

White on black and black on white, centimetres and metres: a network reads either without a complaint. What
can be noticed is that the mean of new inputs lies where no single example of the source did.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coldstart_cli.core.tasks import Inputs, Pool, n_examples
from coldstart_cli.datasets.episodes.gathering import gather

_LOOKED_AT = 2000
"""Examples that tell a range: more hardly widen it."""
_WIDEST = 1024
"""Features of a vector that are looked at singly; of wider ones, and of images, the mean of an example."""
_FEWEST_KNOWN, _FEWEST_NEW = 20, 5
"""Examples below which a range, or a mean, says too little."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputRange:
    """The smallest and the largest value among n examples, of each feature or of the mean of an example."""

    n: int
    low: tuple[float, ...]
    high: tuple[float, ...]


Ranges = Mapping[str, InputRange]
"""By the name of the tensor, which is empty where inputs are one."""


def ranges_of(inputs: Inputs, rows: NDArray[np.integer] | None = None) -> dict[str, InputRange]:
    """The ranges of these inputs, or of some `rows` of them; token ids and masks have none.

    Empty where examples are few: their range says little, and would give single values of them away.
    """
    found = {}
    for name, values in _looked_at(inputs, rows).items():
        if len(values) < _FEWEST_KNOWN:
            continue
        low, high = values.amin(0), values.amax(0)
        found[name] = InputRange(n=len(values), low=tuple(low.tolist()), high=tuple(high.tolist()))
    return found


def ranges_of_pool(pool: Pool) -> dict[str, InputRange]:
    """The ranges of a pool's examples, of which some are drawn evenly."""
    return ranges_of(pool.examples(torch.from_numpy(_evenly(len(pool)))).inputs) if len(pool) else {}


def shift_from(known: Ranges, inputs: Inputs, rows: NDArray[np.integer] | None = None) -> str | None:
    """What is odd about the inputs for a network that was trained on the known ranges; or None."""
    for name, values in _looked_at(inputs, rows).items():
        reach = known.get(name)
        if reach is None or len(values) < _FEWEST_NEW:
            continue
        low, high, mean = torch.tensor(reach.low), torch.tensor(reach.high), values.mean(0)
        if len(low) != len(mean):
            continue
        margin = (high - low) / 2
        # a feature that was constant says nothing of its scale
        excess = torch.where(margin > 0, ((low - mean).clamp(min=0) + (mean - high).clamp(min=0)) / margin, 0)
        worst = int(excess.argmax())
        if excess[worst] > 1:
            of = f"{int((excess > 1).sum())} of {len(mean)} features" if len(mean) > 1 else "the inputs"
            return (
                f"{of} lie far outside what the network was trained on (mean {mean[worst]:.3g}, there "
                f"{low[worst]:.3g} to {high[worst]:.3g}): another scale, unit or polarity? (images: "
                "dataset.invert)"
            )
    return None


def as_json(ranges: Ranges) -> dict[str, Any]:
    """For environment.json."""
    return {
        name: {"n": reach.n, "low": list(reach.low), "high": list(reach.high)}
        for name, reach in ranges.items()
    }


def from_json(value: Mapping[str, Any]) -> dict[str, InputRange]:
    """What `as_json` wrote."""
    return {
        name: InputRange(n=int(reach["n"]), low=tuple(reach["low"]), high=tuple(reach["high"]))
        for name, reach in value.items()
    }


def _looked_at(inputs: Inputs, rows: NDArray[np.integer] | None) -> dict[str, Tensor]:
    """(n, d) values in single precision of some examples: features, or the mean of each example."""
    some = _evenly(n_examples(inputs)) if rows is None else rows[_evenly(len(rows))]
    drawn = gather(inputs, some, None)
    found = {}
    for name, tensor in ({"": drawn} if isinstance(drawn, Tensor) else dict(drawn)).items():
        if len(some) and (tensor.is_floating_point() or tensor.dtype == torch.uint8):
            values = tensor.float()
            by_feature = values.ndim == 2 and values.shape[1] <= _WIDEST
            found[name] = values if by_feature else values.flatten(1).mean(1, keepdim=True)
    return found


def _evenly(n: int) -> NDArray[np.int64]:
    """(n or fewer,) numbers of examples from the first to the last."""
    return np.arange(n) if n <= _LOOKED_AT else np.linspace(0, n - 1, _LOOKED_AT).astype(np.int64)
