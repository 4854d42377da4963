"""A head that compares directions: the cosine classifier of Gidaris and Komodakis and of Baseline++."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@final
class CosineHead(nn.Linear):
    """Features (n, feature_dim) -> scale * norm_c * cos(x, w_c), (n, n_outputs).

    Gidaris and Komodakis 2018, arXiv:1804.09458; Chen et al. 2019, arXiv:1904.04232, section 3.2.
    A linear layer without bias that reads features of length 1. As in the code of Chen et al. its weight is
    normalised as by Salimans and Kingma (2016, arXiv:1602.07868): each class also learns a norm, which the
    text of the paper does not mention. w starts at torch's initial weights, norm_c at |w_c|.

    Args:
        feature_dim: width of the features.
        n_outputs: classes.
        scale: of the cosines; without it softmax could hardly tell them apart.
        seed: of the initial weights, since torch's global state is shared by threads that make heads.
    """

    def __init__(self, feature_dim: int, n_outputs: int, scale: float, seed: int) -> None:
        super().__init__(feature_dim, n_outputs, bias=False)
        self.scale = scale
        generator = torch.Generator().manual_seed(seed)
        # The distribution that nn.Linear starts from, drawn again from a generator of its own.
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5), generator=generator)
        self.norm = nn.Parameter(self.weight.detach().norm(dim=1))

    def forward(self, features: Tensor) -> Tensor:
        cosines = F.linear(F.normalize(features, dim=-1), F.normalize(self.weight, dim=-1))
        return self.scale * self.norm * cosines

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, scale={self.scale}"


def cosine_scale(n_outputs: int) -> float:
    """The scale of Chen et al. (2019): 2, or 10 where there are more than 200 classes."""
    return 2.0 if n_outputs <= 200 else 10.0
