"""What adapting would do and take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from coldstart_cli.bundles.adapting.adapting import adapt
from coldstart_cli.bundles.adapting.changes import earlier_in
from coldstart_cli.bundles.adapting.outlook import kept_there, outlook
from tests.bundles.test_bundle import PLAN

Config = Callable[..., dict[str, Any]]


def test_an_outlook_counts_the_adaptations_and_writes_nothing(config: Config) -> None:
    found = outlook(config("strategy=scratch"), PLAN, None)
    assert (found.to_select, found.to_estimate) == (0, PLAN.folds_to_estimate * PLAN.repeats_to_estimate)
    assert found.bundle == "bundle" and not Path("bundle").exists()


def test_a_bundle_that_is_there_is_said_to_be_kept_unless_no_versions_are(config: Config) -> None:
    adapt(config("strategy=logistic"), PLAN, None)
    there = earlier_in(Path("bundle"))
    (line,) = kept_there(there, replace(PLAN, overwrite=False, keep_versions=2))
    assert "bundle/versions/1" in line
    assert kept_there(there, replace(PLAN, keep_versions=0)) == () == kept_there(None, PLAN)
