"""What is read and built before anything adapts, and what is refused then."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coldstart_cli.bundles.adapting.preparing import AdaptPlan, plan_of, prepared
from coldstart_cli.config import composition
from coldstart_cli.errors import RequestError
from tests.bundles.test_bundle import PLAN

Config = Callable[..., dict[str, Any]]


def test_the_plan_is_that_of_its_yaml_and_its_values_are_checked() -> None:
    values = composition.values_of("adapt", ["steps=3", "overwrite=true"])
    plan = plan_of(values)
    assert isinstance(plan, AdaptPlan) and (plan.steps, plan.overwrite) == (3, True)
    with pytest.raises(RequestError, match=r"^adapt\.steps: -1 is out of range"):
        plan_of({**values, "steps": -1})


def test_what_is_prepared_is_read_and_built_and_nothing_is_written(config: Config) -> None:
    ready = prepared(config("strategy=scratch"), PLAN, None)
    assert ready.task.labelled.classes == ("a", "b") and not Path("bundle").exists()


def test_a_data_set_that_is_not_ones_own_is_refused(torch_settings: None) -> None:
    ((_, sines),) = composition.points(["model=mlp", "dataset=sinusoid", "hardware=cpu", "baseline=null"])
    with pytest.raises(RequestError, match=r"^dataset: "):
        prepared(sines, PLAN, None)
