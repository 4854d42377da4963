"""Answers of a language model: room for prompts, and states that hold a prompt of another length."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import Any

import pytest
import torch

from coldstart_cli.errors import RequestError
from coldstart_cli.strategies.building_blocks.answers import lack_of_room
from tests.models.language.test_causal_lm import ids
from tests.strategies.transfer.test_prompt_tuning import support_of, trial

pytestmark = pytest.mark.usefixtures("torch_settings")


def test_room_is_what_the_longest_text_and_label_leave() -> None:
    lm = trial("prefix").strategy.lm
    labels = [ids(9), ids(9, 10, 11)]
    pieces = sum(len(lm.piece(name)) for name in ("before", "between", "after"))
    most = lm.context - pieces - lm.max_length - 3
    assert lack_of_room(lm, most, labels) is None
    lack = str(lack_of_room(lm, most + 1, labels))
    assert lack.startswith(f"what stands before a text takes {most + 1} tokens, a prompt up to 513, and the")


@pytest.mark.parametrize(
    ("kind", "settings", "n"),
    [
        ("soft_prompt", {"length": 510}, 510),
        ("prefix", {"length": 510}, 510),
        # names of 2, 2 and 2 tokens between "Label:" and "\n\n", which has none
        ("prompt_encoder", {"n_vectors": 170}, 3 * (170 + 2 + 2)),
    ],
)
def test_what_is_trained_before_a_text_must_fit_before_anything_is_trained(
    kind: str, settings: dict[str, int], n: int
) -> None:
    with pytest.raises(RequestError, match=rf"^strategy: what stands .* takes {n} tokens, .* reads 512 at"):
        trial(kind, **settings)


@pytest.mark.parametrize("kind", ["prefix", "label_lora", "ia3"])
def test_predictor_built_for_other_names_takes_a_state_whole(kind: str) -> None:
    """As a bundle is built again: from zeros of the same shape, whose names have all their tokens."""
    made = trial(kind, lr=0.05)
    own, other = support_of(made), support_of(made, 1)
    assert isinstance(other.names, dict)
    full = {**other.names, "attention_mask": torch.ones_like(other.names["attention_mask"])}
    trained: Any = list(islice(made.strategy.adapt(own), 3))[-1].module
    built = next(made.strategy.adapt(replace(other, names=full))).module
    with torch.no_grad():
        assert not torch.allclose(built(own.inputs), trained(own.inputs), atol=1e-3)
        built.load_state_dict(trained.state_dict())
        assert torch.equal(built(own.inputs), trained(own.inputs))
