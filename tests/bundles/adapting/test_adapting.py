"""What `adapt` makes of a config: the chosen steps, the card, and what is refused before anything adapts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coldstart_cli.bundles.adapting.adapting import (
    AdaptPlan,
    adapt,
    base_of,
    outlook,
    plan_of,
    prepared,
)
from coldstart_cli.bundles.bundle import Bundle
from coldstart_cli.config import composition
from coldstart_cli.errors import RequestError
from tests.bundles.test_bundle import PLAN

SMALL = (
    "model=mlp", "model.hidden=[4]", "dataset=arrays", "dataset.root=points.npz", "hardware=cpu",
    "hardware.threads=1", "experiment=smoke", "baseline=null",
)  # fmt: skip


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torch_settings: None) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("coldstart_cli.experiment.parts._sources", {})  # kept by path
    x = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
    np.savez("points.npz", x=x, y=np.repeat(["a", "b"], 6))


def config(*overrides: str) -> dict[str, Any]:
    ((_, found),) = composition.points([*SMALL, *overrides])
    return found


def test_the_plan_is_that_of_its_yaml_and_its_values_are_checked() -> None:
    values = composition.values_of("adapt", ["steps=3", "overwrite=true"])
    plan = plan_of(values)
    assert isinstance(plan, AdaptPlan) and (plan.steps, plan.overwrite) == (3, True)
    with pytest.raises(RequestError, match=r"^adapt\.steps: -1 is out of range"):
        plan_of({**values, "steps": -1})


def test_a_bundle_of_another_task_is_not_put_away_unasked(here: None) -> None:
    words = ("strategy=logistic", "seed=0")
    adapt(config(*words), PLAN, None)
    x = np.random.default_rng(1).normal(size=(12, 4)).astype(np.float32)
    np.savez("others.npz", x=x, y=np.repeat(["c", "d"], 6))
    other = config(*words, "dataset.root=others.npz")
    with pytest.raises(RequestError, match=r"of another task .*'a'.*overwrite=true"):
        prepared(other, replace(PLAN, overwrite=False), None)
    Path("bundle/card.json").write_text("{")
    with pytest.raises(RequestError, match=r"cannot be kept as an earlier version .*overwrite=true"):
        prepared(other, replace(PLAN, overwrite=False), None)
    assert adapt(other, PLAN, None).card.labels == ("c", "d")


def test_a_model_without_a_path_has_no_base() -> None:
    assert base_of({"width": 3}) is None and base_of({"path": None}) is None


def test_the_card_says_what_was_learned_from_and_progress_is_told(here: None) -> None:
    told: list[tuple[str, int]] = []
    bundle = adapt(
        config("strategy=scratch"), PLAN, None, lambda what, done, total: told.append((what, done))
    )
    card = Bundle.load("bundle").card
    assert card == bundle.card
    assert (card.labels, card.data.examples, card.examples_of) == (("a", "b"), 12, {"a": 6, "b": 6})
    assert card.steps == PLAN.steps and {*card.input_ranges} == {""}  # of the one tensor that its inputs are
    assert any(done > 0 for _, done in told)


def test_the_card_says_how_many_steps_were_taken(here: None) -> None:
    few = config("strategy=setfit", "strategy.iterations=1", "strategy.pair_batch_size=8")
    card = adapt(few, replace(PLAN, steps=10_000), None).card
    assert card.steps == 3 and "setfit ends by itself, here after 3 steps of 10,000" in card.said  # 24 pairs


def test_what_is_prepared_is_read_and_built_and_nothing_is_written(here: None) -> None:
    ready = prepared(config("strategy=scratch"), PLAN, None)
    assert ready.task.labelled.classes == ("a", "b") and not Path("bundle").exists()


def test_an_outlook_counts_the_adaptations_and_writes_nothing(here: None) -> None:
    found = outlook(config("strategy=scratch"), PLAN, None)
    assert (found.to_select, found.to_estimate) == (0, PLAN.folds_to_estimate * PLAN.repeats_to_estimate)
    assert found.bundle == "bundle" and not Path("bundle").exists()


def test_a_data_set_that_is_not_ones_own_is_refused(torch_settings: None) -> None:
    ((_, sines),) = composition.points(["model=mlp", "dataset=sinusoid", "hardware=cpu", "baseline=null"])
    with pytest.raises(RequestError, match=r"^dataset: "):
        prepared(sines, PLAN, None)


def test_what_another_command_put_there_meanwhile_is_what_the_next_version_is_compared_with(
    here: None,
) -> None:
    plan = replace(PLAN, overwrite=False)
    first, second = config("strategy=logistic"), config("strategy=logistic", "strategy.C=1")
    there: list[Bundle] = []

    def meanwhile(config: dict[str, Any]) -> Any:
        def told(what: str, done: int, total: int) -> None:
            if not there:  # as this one cross-validates
                there.append(adapt(config, plan, None))

        return told

    found = adapt(second, plan, None, meanwhile(first))
    assert (there[0].card.version, found.card.version) == (1, 2)
    assert found.card.changed is not None
    assert (found.card.changed.since, found.card.changed.added, found.card.changed.judged) == (1, 0, 12)
    there.clear()
    third = config("strategy=logistic", "strategy.C=0.5")
    again = adapt(third, plan, None, meanwhile(third))  # the same by both: one version
    assert (again.found, again.card.version) == (True, 3)
