"""FLOPs of a call: by hand, as torch counts them, and without its compiler."""

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from coldstart_cli.tracing.flops import flops

IMAGES, WORDS = torch.zeros(2, 3, 7, 6), torch.randn(2, 4, 6, 8)


def backward() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(80, 5))
    (gradient,) = torch.autograd.grad(network(IMAGES).sum(), [network[0].weight], create_graph=True)
    gradient.square().sum().backward()


CALLS: dict[str, Callable[[], object]] = {
    "second order": backward,
    "attention": lambda: F.scaled_dot_product_attention(WORDS, WORDS, WORDS),
    "attention without gradients": lambda: torch.no_grad()(F.scaled_dot_product_attention)(
        WORDS, WORDS, WORDS
    ),
    "encoder": lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()(WORDS[0]),
    "recurrent": lambda: nn.GRU(8, 5, batch_first=True)(WORDS[0]),
    "bilinear": lambda: F.bilinear(torch.ones(3, 2), torch.ones(3, 4), torch.ones(5, 2, 4)),
}


def test_flops_count_a_multiply_add_as_two() -> None:
    conv = nn.Conv2d(3, 5, 3, padding=1, bias=False)
    assert flops(lambda: conv(IMAGES)) == 2 * (3 * 3 * 3) * 5 * (7 * 6) * 2
    left, right = torch.zeros(4, 6), torch.zeros(6, 5)
    assert flops(lambda: left @ right) == 2 * 4 * 6 * 5
    assert flops(lambda: left + left) == 0


@pytest.mark.parametrize("name", CALLS)
def test_flops_are_those_that_torch_counts(name: str) -> None:
    with FlopCounterMode(display=False) as counter:
        CALLS[name]()
    assert flops(CALLS[name]) == counter.get_total_flops()
