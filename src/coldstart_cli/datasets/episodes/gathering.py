"""Examples by id, rotated where a class is a rotation: the images are stored once."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coldstart_cli.core.tasks import Inputs, map_inputs
from coldstart_cli.datasets.episodes.counter import Ids


def gather(inputs: Inputs, ids: NDArray[np.integer], turns: Ids | None) -> Inputs:
    """The examples `ids`, turned: (*ids.shape, ...)."""
    flat = ids.reshape(-1)

    def take(tensor: Tensor) -> Tensor:
        if turns is None:
            rows = tensor.index_select(0, torch.from_numpy(flat))
        else:
            rows = _turned(tensor, flat, turns.reshape(-1))
        return rows.view(*ids.shape, *tensor.shape[1:])

    return map_inputs(take, inputs)


def _turned(images: Tensor, ids: NDArray[np.integer], turns: Ids) -> Tensor:
    """Images `ids` (n,) of (N, C, H, H), each rotated by its quarter turns, counter-clockwise.

    Sorted by turn, so that each turn is one call, and put back: a row-wise index_select is many
    times as fast as assignment to an index.
    """
    by_turn = np.argsort(turns, kind="stable")
    ends = np.searchsorted(turns[by_turn], np.arange(5)).tolist()
    rows = images.index_select(0, torch.from_numpy(ids[by_turn]))
    parts = [rows[start:end].rot90(quarter, (-2, -1)) for quarter, (start, end) in enumerate(pairwise(ends))]
    back = np.empty_like(by_turn)
    back[by_turn] = np.arange(len(by_turn))
    return torch.cat(parts).index_select(0, torch.from_numpy(back))
