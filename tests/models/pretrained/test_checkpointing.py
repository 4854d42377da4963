"""Checkpointed layers give the gradients of plain ones, also of tensors that are placed for one call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

from coldstart_cli.models.language.causal_lm import CausalLM
from coldstart_cli.models.language.token_tree import token_tree
from coldstart_cli.models.network import tree_of
from coldstart_cli.models.pretrained.checkpointing import checkpoint_layers
from coldstart_cli.models.updates.low_rank import low_rank
from coldstart_cli.models.updates.low_rank_layers import placed, with_low_rank_layers
from tests.models.language.test_causal_lm import ids, lm_at

TREE = token_tree([ids(3, 4), ids(9)], [ids(30), ids(31, 32)])


def apart(plain: Tensor, found: Tensor) -> float:
    return float((plain - found).abs().max() / plain.abs().max())


def of_prompt(lm: CausalLM) -> Tensor:
    """Of a soft prompt: through keys and values, which a second call reads."""
    vectors = lm.embedded(ids(5, 9, 11)).detach().clone().requires_grad_()
    past = lm.keys_and_values(vectors[1:], lm.keys_and_values(vectors[:1]))
    value = lm.log_likelihoods(TREE, past).square().sum()
    return torch.autograd.grad(value, vectors)[0]


def of_factors(lm: CausalLM) -> Tensor:
    """Of low-rank factors that are no longer placed when the gradient is taken."""
    weights = with_low_rank_layers(lm, lm.decoder_name)
    factors = {n: (f + 0.1).requires_grad_() for n, f in low_rank(weights, 2, 0).items()}
    with placed(lm, factors, 3.0):
        value = lm.log_likelihoods(TREE, lm.keys_and_values(lm.embedded(ids(5, 9)))).square().sum()
    return torch.cat([g.flatten() for g in torch.autograd.grad(value, list(factors.values()))])


def of_weights(lm: CausalLM) -> Tensor:
    """Of weights by `functional_call`."""
    weights = {name: (p * 1.5).detach().requires_grad_() for name, p in lm.named_parameters()}
    inputs = {"input_ids": ids(3, 4, 9)[None], "attention_mask": torch.ones(1, 3, dtype=torch.bool)}
    value = functional_call(lm, weights, (inputs,)).square().sum()
    found = torch.autograd.grad(value, list(weights.values()), allow_unused=True)
    return torch.cat([g.flatten() for g in found if g is not None])


@pytest.mark.parametrize("gradient", [of_prompt, of_factors, of_weights])
def test_gradients_are_those_of_plain_layers(tiny_lm: Path, gradient: Callable[[CausalLM], Tensor]) -> None:
    plain, found = (gradient(lm_at(tiny_lm, checkpointing=c)) for c in (False, True))
    assert plain.abs().sum() > 0
    assert apart(plain, found) < 1e-5
    # A module tree of its own, as an evaluation makes it.
    copied: Any = tree_of(lm_at(tiny_lm, checkpointing=True))
    assert apart(plain, gradient(copied)) < 1e-5


def test_torchs_own_checkpoint_gives_others_under_functional_call() -> None:
    """Why ours is needed; where this fails, torch has mended it."""

    class Naive(nn.Sequential):
        def forward(self, x: Tensor) -> Any:
            return checkpoint(super().forward, x, use_reentrant=False)

    found = []
    for kind in (nn.Sequential, Naive):
        torch.manual_seed(0)
        network = kind(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))
        weights = {n: (p * 1.5).detach().requires_grad_() for n, p in network.named_parameters()}
        value = functional_call(network, weights, (torch.ones(3, 4),)).square().sum()
        found.append(torch.cat([g.flatten() for g in torch.autograd.grad(value, list(weights.values()))]))
    assert apart(*found) > 0.01


def test_activations_are_not_kept(tiny_lm: Path) -> None:
    def kept(lm: CausalLM) -> int:
        sizes: list[int] = []
        vectors = lm.embedded(torch.arange(3, 50)).detach().clone().requires_grad_()
        with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
            lm.keys_and_values(vectors)
        return sum(sizes)

    assert kept(lm_at(tiny_lm, frozen=True, checkpointing=True)) < 0.3 * kept(lm_at(tiny_lm, frozen=True))


def test_names_of_weights_stay_and_a_decoder_without_layers_is_refused(tiny_lm: Path) -> None:
    assert list(lm_at(tiny_lm).state_dict()) == list(lm_at(tiny_lm, checkpointing=True).state_dict())
    with pytest.raises(ValueError, match=r"^checkpointing: true, and Linear has no list of layers; choose"):
        checkpoint_layers(nn.Linear(2, 2))
