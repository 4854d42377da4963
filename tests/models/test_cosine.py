"""The cosine head against torch's own weight normalisation."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from coldstart_cli.models.cosine import CosineHead, cosine_scale


def test_cosine_head_is_a_weight_normalised_layer_on_features_of_length_one() -> None:
    head = CosineHead(6, 4, scale=2.0, seed=3).double()
    theirs = weight_norm(nn.Linear(6, 4, bias=False).double(), dim=0)
    with torch.no_grad():
        head.norm.mul_(torch.tensor([1.0, 2.0, 3.0, 4.0]))
        theirs.parametrizations.weight.original0.copy_(head.norm[:, None])  # type: ignore[union-attr,index]
        theirs.parametrizations.weight.original1.copy_(head.weight)  # type: ignore[union-attr,index]
    features = torch.randn(5, 6, dtype=torch.float64)
    expected = 2 * theirs(features / features.norm(dim=1, keepdim=True))
    torch.testing.assert_close(head(features), expected)


def test_cosine_head_starts_as_the_linear_layer_of_its_weight() -> None:
    head, features = CosineHead(6, 4, scale=10.0, seed=0), torch.randn(5, 6)
    expected = 10 * F.normalize(features, dim=1) @ head.weight.T
    torch.testing.assert_close(head(features), expected)
    torch.testing.assert_close(head(7 * features), expected)


def test_cosine_head_depends_on_its_seed_alone() -> None:
    torch.manual_seed(1)
    one = CosineHead(6, 4, scale=2.0, seed=5)
    torch.manual_seed(2)
    two, other = CosineHead(6, 4, scale=2.0, seed=5), CosineHead(6, 4, scale=2.0, seed=6)
    assert torch.equal(one.weight, two.weight)
    assert not torch.equal(one.weight, other.weight)


def test_cosine_scale_is_that_of_the_papers_code() -> None:
    assert [cosine_scale(n) for n in (5, 200, 201, 4112)] == [2.0, 2.0, 10.0, 10.0]
