"""Conv1d against numpy's convolution, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.func import functional_call, vmap

from coldstart_cli.models.conv1d import Conv1d


def conv1d(n_blocks: int = 2, **values: object) -> Conv1d:
    torch.manual_seed(0)
    asked = {"hidden": 4, "kernel_size": 3, "norm": "group", "groups": 2, **values}
    return Conv1d((3, 9), n_blocks=n_blocks, **asked).double()  # type: ignore[arg-type]


def block(
    x: NDArray[np.float64], weight: NDArray[np.float64], bias: NDArray[np.float64]
) -> NDArray[np.float64]:
    """One window (C, T): padded, convolved at every second step, normalised in two groups, cut at zero."""
    padded = np.pad(x, ((0, 0), (1, 1)))
    starts = range(0, x.shape[1], 2)
    out = np.array([[(w * padded[:, t : t + 3]).sum() for t in starts] for w in weight]) + bias[:, None]
    grouped = out.reshape(2, -1)
    grouped = (grouped - grouped.mean(1, keepdims=True)) / np.sqrt(grouped.var(1, keepdims=True) + 1e-5)
    return np.maximum(grouped.reshape(out.shape), 0)


def test_conv1d_equals_numpy() -> None:
    encoder = conv1d()
    x = torch.randn(2, 3, 9, dtype=torch.float64)
    expected = []
    for window in x.numpy():
        for conv in encoder.convs:
            window = block(window, conv.weight.detach().numpy(), conv.bias.detach().numpy())  # type: ignore[union-attr,operator]
        expected.append(window.mean(1))
    np.testing.assert_allclose(encoder(x).detach().numpy(), expected, atol=1e-9)
    assert encoder.feature_dim == 4


def test_conv1d_is_lifted_by_vmap_and_reads_short_windows() -> None:
    encoder = conv1d(5)
    weights = {name: torch.stack([p, 2 * p]) for name, p in encoder.named_parameters()}
    x = torch.randn(2, 5, 3, 9, dtype=torch.float64)
    both = vmap(lambda w, inputs: functional_call(encoder, w, (inputs,)))(weights, x)
    alone = functional_call(encoder, {name: w[1] for name, w in weights.items()}, (x[1],))
    torch.testing.assert_close(both[1], alone)


@pytest.mark.parametrize(
    ("shape", "kernel", "message"),
    [
        ((3,), 3, "reads windows"),
        ((1, 8, 8), 3, "reads windows"),
        ((3, 9), 4, "4 has no middle; choose"),
    ],
)
def test_conv1d_refuses_what_it_cannot_read(shape: tuple[int, ...], kernel: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Conv1d(shape, hidden=4, n_blocks=1, kernel_size=kernel, norm="group", groups=2)
