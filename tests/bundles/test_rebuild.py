"""A predictor built again from the values of a card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from coldstart_cli.bundles import rebuild
from coldstart_cli.bundles.kept.card import BuildFacts
from coldstart_cli.core.objectives import Classification, Regression


def build(**changes: Any) -> BuildFacts:
    facts: dict[str, Any] = {
        "recipe": {}, "strategy": {}, "model": {}, "optimizer": {}, "seed": 0, "n_steps": 1, "facts": {},
        "inputs": {}, "classification": True, "n_outputs": 3, "counts": (2, 1, 2), "n_unlabelled": 0,
    }  # fmt: skip
    return BuildFacts(**{**facts, **changes})


def test_the_objective_is_that_of_the_card() -> None:
    made = rebuild.objective_of(build())
    assert isinstance(made, Classification) and made.n_outputs == 3
    plain = rebuild.objective_of(build(classification=False, n_outputs=2, counts=(5,)))
    assert isinstance(plain, Regression) and plain.n_outputs == 2
    values = torch.tensor([[0.0], [1.0]])
    scaled = rebuild.objective_of(
        build(classification=False, n_outputs=1, counts=(5,), recipe={"target_scale": [10.0, 2.0]})
    )
    assert isinstance(scaled, Regression) and scaled.values(values).tolist() == [[10.0], [12.0]]


def test_a_model_reads_its_base_from_where_it_lies_now() -> None:
    node = {"path": "old", "width": 3, "preprocess": {"path": "old", "size": 8}}
    assert rebuild.placed(node, None) == node
    assert rebuild.placed(node, Path("b/base")) == {
        "path": "b/base", "width": 3, "preprocess": {"path": "b/base", "size": 8},
    }  # fmt: skip
    assert rebuild.placed({"width": 3, "preprocess": {"size": 8}}, Path("x")) == {
        "width": 3, "preprocess": {"size": 8},
    }  # fmt: skip
    assert node["path"] == "old"


def test_the_run_of_a_teacher_stays_behind() -> None:
    assert rebuild._without_runs({"teacher_run": "outputs/x", "lr": 0.1}) == {"teacher_run": None, "lr": 0.1}


def test_tensors_that_no_state_dict_holds_are_of_the_predictor_too() -> None:
    module = nn.Linear(2, 1)
    module.register_buffer("constant", torch.ones(2), persistent=False)
    assert "constant" not in module.state_dict()
    assert rebuild.tensors_of(module).keys() == {"weight", "bias", "constant"}


def test_a_model_without_a_path_has_no_base() -> None:
    assert rebuild.base_of({"width": 3}) is None and rebuild.base_of({"path": None}) is None
