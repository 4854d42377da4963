"""What an older coldstart wrote is read as today's, and nothing of the training is made up."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from coldstart_cli.config import composition
from coldstart_cli.errors import RequestError
from coldstart_cli.experiment.assembly import check_values
from coldstart_cli.runs import migrations
from coldstart_cli.runs.migrations import FORMAT, as_hashed, completed, migrated


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    ((_, config),) = composition.points(["evaluation=smoke", "evaluation.budget.p95_ms=7"])
    return config


def test_migrated_run_of_format_1_did_not_count_examples() -> None:
    state = {"format": 1, "state": "finished", "steps": 3}
    assert migrated(state, Path("run")) == {
        "format": 2, "state": "finished", "steps": 3, "examples": None
    }  # fmt: skip
    assert state["format"] == 1


def test_migrated_run_of_today_is_as_it_is() -> None:
    state = {"format": FORMAT, "examples": 5}
    assert migrated(state, Path("run")) == state


@pytest.mark.parametrize("version", [0, -1, FORMAT + 1, "1", None])
def test_migrated_run_of_no_known_format_is_refused(version: object) -> None:
    with pytest.raises(
        RequestError, match=rf"^run: run has format {version}, .*; install a newer one \(E33\)$"
    ):
        migrated({"format": version}, Path("run"))


def test_completed_config_of_today_is_as_it_is(config: dict[str, Any]) -> None:
    assert completed(config) == config


def test_completed_config_of_before_can_be_asked_what_is_new(config: dict[str, Any]) -> None:
    older = copy.deepcopy(config)
    new = ("beyond", "coverage", "timed_seconds", "budget")
    for key in new:
        del older["evaluation"][key]
    before = copy.deepcopy(older)
    filled = completed(older)
    assert older == before
    ((_, today),) = composition.points([])
    standard = today["evaluation"]
    assert {key: filled["evaluation"][key] for key in new} == {key: standard[key] for key in new}
    assert filled["evaluation"]["k_shots"] == [1]  # of smoke, not of standard
    assert filled["evaluation"]["beyond"] == "refuse"  # as it was then
    check_values(filled)
    assert {k: v for k, v in filled.items() if k != "evaluation"} == {
        k: v for k, v in config.items() if k != "evaluation"
    }


def test_completed_config_of_before_has_the_hardware_keys_of_today(config: dict[str, Any]) -> None:
    older = copy.deepcopy(config)
    del older["hardware"]["processes"], older["hardware"]["replay"]
    assert completed(older) == config
    older["hardware"]["replay"] = False
    assert completed(older)["hardware"]["replay"] is False


def test_completed_config_has_what_a_part_has_gained(config: dict[str, Any]) -> None:
    older = copy.deepcopy(config)
    del older["evaluation"]["budget"]["flops"]
    assert completed(older) == config
    other = copy.deepcopy(older)
    other["evaluation"]["budget"]["_target_"] = "theirs.Budget"
    assert completed(other) == other


@pytest.mark.parametrize("evaluation", [None, [], {"_target_": "theirs.Plan"}, {}])
def test_completed_config_of_an_evaluation_that_is_not_ours_is_as_it_is(
    config: dict[str, Any], evaluation: object
) -> None:
    other = {**config, "evaluation": evaluation}
    assert completed(other) == other
    del other["evaluation"]
    assert completed(other) == other


def test_hashed_config_lacks_gained_keys_at_their_neutral_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrations, "NEUTRAL", {"mine.Thing": {"new": False}})
    node = {"dataset": [{"_target_": "mine.Thing", "old": 1, "new": False}]}
    assert as_hashed(node) == {"dataset": [{"_target_": "mine.Thing", "old": 1}]}
    assert completed(as_hashed({"a": node["dataset"][0]}))["a"] == node["dataset"][0]
    for other in (True, 0):  # 0 is not the value that changes nothing, though 0 == False
        changed = {"_target_": "mine.Thing", "old": 1, "new": other}
        assert as_hashed(changed) == changed


def test_a_redesigned_class_has_another_hash_wherever_it_stands() -> None:
    target = "coldstart_cli.strategies.FiLM"
    node = {"guard": {"_target_": target, "task_dim": 3}, "_target_": "coldstart_cli.strategies.MAML"}
    assert as_hashed(node)["guard"]["design"] == 2
    assert "design" not in as_hashed(node)
    assert "design" not in as_hashed(node, designs={})["guard"]
