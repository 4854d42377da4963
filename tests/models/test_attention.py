"""Multi-head attention against numpy, head by head, and against torch's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from coldstart_cli.models.attention import MultiHeadAttention


def made() -> tuple[MultiHeadAttention, torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    attention = MultiHeadAttention(6, 2).double()
    return attention, *(torch.randn(n, 6, dtype=torch.float64) for n in (3, 4, 4))


def test_output_equals_numpy_head_by_head() -> None:
    attention, queries, keys, values = made()
    mask = np.array([[1, 1, 0, 0], [0, 0, 1, 1], [1, 1, 1, 1]], dtype=bool)
    w = {name: p.detach().numpy() for name, p in attention.named_parameters()}
    heads = []
    for h in (slice(0, 3), slice(3, 6)):
        q, k, v = (
            x.numpy() @ w[f"{n}.weight"][h].T
            for n, x in (("query", queries), ("key", keys), ("value", values))
        )
        powers = np.exp(q @ k.T / np.sqrt(3)) * mask
        heads.append(powers / powers.sum(1, keepdims=True) @ v)
    expected = np.concatenate(heads, 1) @ w["output.weight"].T + w["output.bias"]
    with torch.no_grad():
        found = attention(queries, keys, values, torch.from_numpy(mask))
    assert found.numpy() == pytest.approx(expected)


def test_output_equals_torchs_own_module() -> None:
    attention, queries, keys, values = made()
    theirs = nn.MultiheadAttention(6, 2, bias=False, dtype=torch.float64)
    with torch.no_grad():
        attention.output.bias.zero_()
        parts = (attention.query.weight, attention.key.weight, attention.value.weight)
        theirs.in_proj_weight.copy_(torch.cat(parts))
        theirs.out_proj.weight.copy_(attention.output.weight)
    torch.testing.assert_close(attention(queries, keys, values), theirs(queries, keys, values)[0])


def test_tasks_in_one_call_read_their_own_sets() -> None:
    attention, queries, keys, values = made()
    stacked = [torch.stack([x, -x]) for x in (queries, keys, values)]
    both = torch.func.vmap(attention)(*stacked)
    torch.testing.assert_close(both[1], attention(-queries, -keys, -values))


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^n_heads: 4 does not divide the width 6; choose a divisor"):
        MultiHeadAttention(6, 4)
