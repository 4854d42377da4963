"""Multi-head attention that torch.func.vmap lifts, in full precision.

Vaswani et al. 2017, arXiv:1706.03762, section 3.2.2. With H heads, each of width d / H,

    head_h = softmax(Q W_q,h (K W_k,h)' / sqrt(d / H)) V W_v,h,    the output [head_1, ..., head_H] W_o + b.
"""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor, nn


@final
class MultiHeadAttention(nn.Module):
    """Rows of a set read another set: (n, d), (m, d), (m, d) -> (n, d).

    Initial weights have a standard deviation of sqrt(2 / (d + d)) (Glorot and Bengio 2010).

    Args:
        width: d, of queries, keys, values and outputs.
        n_heads: H.

    Raises:
        ValueError: where `n_heads` does not divide `width`.
    """

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        if width % n_heads:
            raise ValueError(f"n_heads: {n_heads} does not divide the width {width}; choose a divisor")
        self.n_heads = n_heads
        self.query, self.key, self.value = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.output = nn.Linear(width, width)
        for layer in (self.query, self.key, self.value, self.output):
            nn.init.xavier_normal_(layer.weight)

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor, attends: Tensor | None = None) -> Tensor:
        """`attends`: (n, m) bool, whether row i reads row j; each row reads at least one. None: all."""
        with torch.autocast(queries.device.type, enabled=False):
            q, k, v = (
                layer(rows.to(layer.weight.dtype)).unflatten(-1, (self.n_heads, -1)).transpose(0, 1)
                for layer, rows in ((self.query, queries), (self.key, keys), (self.value, values))
            )
            scores = q @ k.mT / math.sqrt(q.shape[-1])  # (H, n, m)
            if attends is not None:
                scores = scores.masked_fill(~attends, float("-inf"))
            read: Tensor = self.output((scores.softmax(-1) @ v).transpose(0, 1).flatten(1))
            return read
