"""Low-rank updates in layers: as if they were merged, with gradients of the factors, as peft computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from coldstart_cli.models.language.token_tree import token_tree
from coldstart_cli.models.network import tree_of
from coldstart_cli.models.pretrained.hf import imported
from coldstart_cli.models.updates.low_rank import chosen, low_rank, merged
from coldstart_cli.models.updates.low_rank_layers import LowRankLinear, placed, with_low_rank_layers
from tests.models.language.test_causal_lm import ids, lm_at


def factors_for(weights: dict[str, torch.Tensor], seed: int = 0) -> dict[str, torch.Tensor]:
    """Factors of rank 2, neither of which is zero."""
    torch.manual_seed(seed)
    return {name: torch.randn_like(f) for name, f in low_rank(weights, 2, seed).items()}


def test_layers_with_factors_are_layers_of_merged_weights() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4, bias=False))
    inputs, plain = torch.randn(7, 3), {n: w for n, w in module.named_parameters() if "weight" in n}
    leaves = {
        n: f.requires_grad_() for n, f in factors_for({n: w.detach() for n, w in plain.items()}).items()
    }
    expected = torch.func.functional_call(module, merged(plain, leaves, 0.5), (inputs,))
    bare = module(inputs)
    assert set(with_low_rank_layers(module, "")) == set(plain)
    torch.testing.assert_close(module(inputs), bare, rtol=0, atol=0)
    with placed(module, leaves, 0.5):
        found = module(inputs)
    torch.testing.assert_close(found, expected)
    for theirs, ours in zip(
        torch.autograd.grad(expected.square().sum(), list(leaves.values())),
        torch.autograd.grad(found.square().sum(), list(leaves.values())),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(module(inputs), bare, rtol=0, atol=0)  # the block is over
    assert not any("lora" in name for name in module.state_dict())


def test_factors_of_a_copy_are_not_those_of_the_module(tiny_lm: Path) -> None:
    lm = lm_at(tiny_lm, frozen=True)
    weights = chosen(with_low_rank_layers(lm, "body"), ["q_proj", "v_proj"])
    assert len(weights) == 4
    copy, tree = tree_of(lm), token_tree([ids(3, 4)], [ids(30)])
    before = lm.log_likelihoods(tree, ())
    with placed(copy, factors_for(weights), 1.0):
        assert not torch.allclose(copy.log_likelihoods(tree, ()), before)  # type: ignore[operator]
        torch.testing.assert_close(lm.log_likelihoods(tree, ()), before)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")  # peft 0.21's call
def test_language_model_with_factors_computes_what_peft_does(tiny_lm: Path) -> None:
    peft: Any = pytest.importorskip("peft", reason="needs peft")
    lm = lm_at(tiny_lm, frozen=True)
    weights = chosen(with_low_rank_layers(lm, "body.model"), ["q_proj", "down_proj"])
    factors = factors_for(weights)
    theirs = imported().AutoModelForCausalLM.from_pretrained(tiny_lm).eval()
    config = peft.LoraConfig(r=2, lora_alpha=3.0, target_modules=["q_proj", "down_proj"], lora_dropout=0.0)
    theirs = peft.get_peft_model(theirs, config)
    for name, factor in factors.items():
        place, _, leaf = name.removeprefix("body.").partition(".weight.")
        theirs.get_submodule(f"base_model.model.{place}.{leaf}.default").weight.data = factor
    with torch.no_grad(), placed(lm, factors, 1.5):
        found = lm.log_likelihoods(token_tree([ids(3, 4)], [ids(30, 31)]), ())[0, 0]
        said = theirs(torch.tensor([[3, 4, 30, 31]])).logits[0].log_softmax(-1)
    assert float(found) == pytest.approx(float(said[1, 30] + said[2, 31]), abs=1e-4)


def test_layer_without_factors_is_the_layer_alone() -> None:
    layer = nn.Linear(2, 3)
    assert torch.equal(LowRankLinear(layer)(torch.ones(1, 2)), layer(torch.ones(1, 2)))
