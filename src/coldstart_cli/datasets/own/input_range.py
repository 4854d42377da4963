"""The range of inputs that a network was trained on, and a line where further inputs lie far outside it.

White on black and black on white, centimetres and metres: a network reads either without a complaint. What
can be noticed is that the mean of new inputs lies where no single example of the source did.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coldstart_cli.core.tasks import Inputs, Pool, n_examples
from coldstart_cli.datasets.episodes.gathering import gather
from coldstart_cli.datasets.own.shift import WIDEST, InputRange, Ranges, shift_of

_LOOKED_AT = 2000
"""Examples that tell a range: more hardly widen it."""
_FEWEST_KNOWN = 8
"""Examples below which a range says too little."""
_SINGLE = 20
"""Examples from which on the smallest and the largest are kept; of fewer they would give single ones away."""


def ranges_of(inputs: Inputs, rows: NDArray[np.integer] | None = None) -> dict[str, InputRange]:
    """The ranges of these inputs, or of some `rows` of them; token ids and masks have none.

    Of few examples it is three deviations to either side of the mean, of very few there is none.
    """
    found = {}
    for name, values in _looked_at(inputs, rows).items():
        if len(values) < _FEWEST_KNOWN:
            continue
        low, high = values.amin(0), values.amax(0)
        if len(values) < _SINGLE:
            mean, reach = values.mean(0), 3 * values.std(0)
            low, high = mean - reach, mean + reach
        found[name] = InputRange(n=len(values), low=tuple(low.tolist()), high=tuple(high.tolist()))
    return found


def ranges_of_pool(pool: Pool) -> dict[str, InputRange]:
    """The ranges of a pool's examples, of which some are drawn evenly."""
    return ranges_of(pool.examples(torch.from_numpy(_evenly(len(pool)))).inputs) if len(pool) else {}


def shift_from(known: Ranges, inputs: Inputs, rows: NDArray[np.integer] | None = None) -> str | None:
    """What is odd about the inputs for a network that was trained on the known ranges; or None."""
    return shift_of({name: values.numpy() for name, values in _looked_at(inputs, rows).items()}, known)


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
            by_feature = values.ndim == 2 and values.shape[1] <= WIDEST
            found[name] = values if by_feature else values.flatten(1).mean(1, keepdim=True)
    return found


def _evenly(n: int) -> NDArray[np.int64]:
    """(n or fewer,) numbers of examples from the first to the last."""
    return np.arange(n) if n <= _LOOKED_AT else np.linspace(0, n - 1, _LOOKED_AT).astype(np.int64)
