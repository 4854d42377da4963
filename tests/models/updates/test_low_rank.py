"""Low-rank updates: which weights have one, how they begin, and what they make of a layer."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F

from coldstart_cli.models.updates.low_rank import (
    check_rank,
    chosen,
    dropped,
    low_rank,
    matrices,
    merged,
    scale_of,
)


class Assorted(nn.Module):
    """A layer of every kind."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(10, 8)
        self.position = nn.Parameter(torch.zeros(1, 5, 8))
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm = nn.LayerNorm(8)
        self.narrow = nn.Linear(1, 8)
        self.wide = nn.Linear(8, 6)
        self.sequence = nn.Conv1d(8, 4, 3)
        self.image = nn.Conv2d(3, 4, 2)
        self.memory = nn.LSTM(8, 3)


def random_factors(weights: dict[str, torch.Tensor], rank: int) -> dict[str, torch.Tensor]:
    return {name: torch.randn_like(f) for name, f in low_rank(weights, rank, seed=0).items()}


def test_matrices_are_those_of_linear_layers_convolutions_attention_and_recurrence() -> None:
    assert set(matrices(Assorted())) == {
        "attention.in_proj_weight",
        "attention.out_proj.weight",
        "wide.weight",
        "sequence.weight",
        "image.weight",
        "memory.weight_ih_l0",
        "memory.weight_hh_l0",
    }


def test_low_rank_starts_at_zero_with_factors_of_the_papers_shapes() -> None:
    weights = matrices(Assorted().double())
    factors = low_rank(weights, 2, seed=1)
    assert factors["image.weight.lora_A"].shape == (2, 3 * 2 * 2)
    assert factors["image.weight.lora_B"].shape == (4, 2)
    assert factors["attention.in_proj_weight.lora_B"].shape == (24, 2)
    for name, w in merged(weights, factors, 3.0).items():
        assert torch.equal(w, weights[name])
    assert all(f.any() == name.endswith("lora_A") for name, f in factors.items())
    assert all(f.dtype == torch.float64 for f in factors.values())
    again, other = low_rank(weights, 2, seed=1), low_rank(weights, 2, seed=2)
    assert torch.equal(factors["wide.weight.lora_A"], again["wide.weight.lora_A"])
    assert not torch.equal(factors["wide.weight.lora_A"], other["wide.weight.lora_A"])


def test_merged_convolution_is_the_convolution_and_two_narrow_ones() -> None:
    conv = nn.Conv2d(3, 4, 2, stride=2).double()
    weights = matrices(conv)
    factors, images = random_factors(weights, 2), torch.randn(5, 3, 6, 6, dtype=torch.float64)
    down = F.conv2d(images, factors["weight.lora_A"].view(2, 3, 2, 2), stride=2)
    expected = conv(images) + 0.5 * F.conv2d(down, factors["weight.lora_B"][:, :, None, None])
    torch.testing.assert_close(functional_call(conv, merged(weights, factors, 0.5), (images,)), expected)


def test_merged_attention_changes_its_projections() -> None:
    attention = nn.MultiheadAttention(8, 2, batch_first=True).double()
    weights = matrices(attention)
    factors, tokens = random_factors(weights, 2), torch.randn(3, 5, 8, dtype=torch.float64)
    theirs = nn.MultiheadAttention(8, 2, batch_first=True).double()
    theirs.load_state_dict(attention.state_dict())
    with torch.no_grad():
        for name, weight in theirs.named_parameters():
            if name in weights:
                weight += 2 * factors[f"{name}.lora_B"] @ factors[f"{name}.lora_A"]
    found = functional_call(attention, merged(weights, factors, 2.0), (tokens, tokens, tokens))
    torch.testing.assert_close(found[0], theirs(tokens, tokens, tokens)[0])


def test_rank_above_a_layer_is_refused_with_the_layer_and_its_size() -> None:
    weights = matrices(Assorted())
    check_rank(3, weights)
    with pytest.raises(
        ValueError, match=r"^rank: 4 is above .* memory\.weight_hh_l0, which is 12x3; choose at most 3"
    ):
        check_rank(4, weights)


def test_first_factors_are_those_of_the_authors_code() -> None:
    """`nn.init.kaiming_uniform_(lora_A, a=sqrt(5))`: its bounds and its variance."""
    weights = {"image.weight": torch.zeros(400, 30, 3, 3)}
    ours, theirs = low_rank(weights, 300, seed=0)["image.weight.lora_A"], torch.empty(300, 270)
    nn.init.kaiming_uniform_(theirs, a=5**0.5)
    assert float(ours.abs().max()) == pytest.approx(float(theirs.abs().max()), rel=1e-3)
    assert float(ours.abs().max()) <= 1 / 270**0.5
    assert float(ours.std()) == pytest.approx((1 / (3 * 270)) ** 0.5, rel=0.01)
    assert float(ours.std()) == pytest.approx(float(theirs.std()), rel=0.01)


def test_targets_choose_by_whole_parts_of_names() -> None:
    weights = matrices(Assorted())
    assert set(chosen(weights, ["wide", "attention.out_proj"])) == {
        "wide.weight",
        "attention.out_proj.weight",
    }
    assert chosen(weights, None).keys() == weights.keys()
    with pytest.raises(ValueError, match=r"^targets: no matrix has wid in its name; choose among "):
        chosen(weights, ["wid"])


def test_dropout_leaves_out_inputs_of_an_update_and_keeps_its_mean() -> None:
    weights = {"wide.weight": torch.randn(6, 8)}
    factors = random_factors(weights, 2)
    x, chance = torch.randn(5, 8), torch.Generator().manual_seed(0)
    plain = x @ factors["wide.weight.lora_A"].T
    seen = []
    for _ in range(4000):
        left = dropped(factors, 0.25, chance)
        assert torch.equal(left["wide.weight.lora_B"], factors["wide.weight.lora_B"])
        seen.append(x @ left["wide.weight.lora_A"].T)
    columns = left["wide.weight.lora_A"] / factors["wide.weight.lora_A"]
    assert set(columns.mean(0).mul(3).round().tolist()) == {0.0, 4.0}  # 0, or 1 / (1 - .25)
    torch.testing.assert_close(torch.stack(seen).mean(0), plain, atol=0.15, rtol=0)


def test_scale_is_alpha_over_the_rank_or_its_root() -> None:
    assert scale_of(8.0, 4, rank_stabilised=False) == 2.0
    assert scale_of(8.0, 4, rank_stabilised=True) == 4.0
