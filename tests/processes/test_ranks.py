"""One run by two processes: the same weights as by one, whatever the strategy."""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from coldstart_cli.config import composition
from coldstart_cli.config.building import TRUSTED, located
from coldstart_cli.processes import launch, ranks
from tests.kit import pairs
from tests.kit.places import STRATEGIES, lacks_package

TINY = (
    "experiment=smoke", "dataset.n_query=4", "dataset.n_unlabelled=3", "dataset.n_way=3", "baseline=null",
    "model.hidden=8", "training.steps=4", "hardware=cpu", "hardware.threads=1", "optimizer=sgd",
    "optimizer.clip_norm=1.0", "evaluation.n_tasks=2", "optimizer.schedule=constant",
)  # fmt: skip
MORE = {
    "batch norm": ("finetune", "model.norm=batch"),
    "batch norm of tasks": ("protonet", "model.norm=batch"),
    "transductive": ("maml", "model.norm=batch_transductive"),
    "vmap": ("maml", "hardware.vectorize=vmap"),
    "adam": ("maml", "optimizer=adam"),
    "taught by batch norm": ("born_again", "model.norm=batch"),
}

pytestmark = pytest.mark.usefixtures("torch_settings")


@cache
def strategy_node(name: str) -> dict[str, Any]:
    """Of a config: which strategy is chosen changes nothing else in it."""
    ((_, config),) = composition.points([f"strategy={name}"])
    return config["strategy"]


def tiny(*overrides: str, strategy: str) -> dict[str, Any]:
    """A config whose batches of three tasks, or five examples, two processes cannot share alike."""
    ((_, config),) = composition.points([*TINY, *overrides])
    config["strategy"] = copy.deepcopy(strategy_node(strategy))
    _set(config["strategy"], {"meta_batch_size": 3, "batch_size": 5, "probe_draws": 8, "embed_every": 2})
    if strategy == "adabn":  # it serves no other norm
        config["model"]["norm"] = "batch"
    if "teacher" in config["strategy"]:
        config["strategy"]["teacher"] = config["model"]
    return config


def serves_any(config: dict[str, Any]) -> bool:
    """Whether its strategy serves any model's features."""
    strategy = located(config["strategy"]["_target_"], "strategy", TRUSTED)
    return getattr(strategy, "needs_model", "any") == "any"


def _set(node: dict[str, Any], values: dict[str, Any]) -> None:
    node.update({key: value for key, value in values.items() if key in node})
    for below in node.values():
        if isinstance(below, dict):
            _set(below, values)


@pytest.mark.timeout(600)
def test_two_processes_train_every_strategy_as_one_does_and_answer_one_another(tmp_path: Path) -> None:
    """Both by one pair: to start it takes longer than what it is asked."""
    # Those over pretrained models are tried by the laws alone: a process would load transformers first.
    configs = {name: tiny(strategy=name) for name in STRATEGIES if lacks_package(name) is None}
    configs = {name: c for name, c in configs.items() if serves_any(c)}
    configs |= {name: tiny(*overrides, strategy=strategy) for name, (strategy, *overrides) in MORE.items()}
    alone = {name: pairs.trained(config, recorded=name in MORE) for name, config in configs.items()}
    launch.launch(pairs.answer_and_train, (configs, tuple(MORE), str(tmp_path)), 2)
    assert (tmp_path / "written").read_text() == "0"
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    for name in configs:
        assert alone[name]["examples"] == first[name]["examples"], name
        for key, ours in alone[name]["state"].items():
            theirs = first[name]["state"][key]
            assert torch.equal(theirs, second[name]["state"][key]), (name, key)
            assert torch.allclose(theirs, ours, rtol=1e-8, atol=1e-9), (name, key)
        for ours, theirs in zip(alone[name]["metrics"], first[name]["metrics"], strict=True):
            assert ours == pytest.approx(theirs, rel=1e-6, abs=1e-9), name


def test_one_process_asks_nobody() -> None:
    assert (ranks.world(), ranks.first(), [1, 2, 3][ranks.mine()]) == (1, True, [1, 2, 3])
    assert ranks.weight(3, 3) == 1.0
    assert ranks.largest(2) == 2
    assert list(ranks.spread([1, 2], lambda items: (2 * i for i in items))) == [2, 4]
