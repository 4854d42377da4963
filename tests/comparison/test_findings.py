"""A comparison as JSON, and back."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from coldstart_cli.comparison.findings import Comparison, Standing, as_json
from coldstart_cli.metrics.json_edge import from_json, to_json
from coldstart_cli.metrics.numbers import MeanInterval
from coldstart_cli.metrics.results import Calibration
from tests.kit.comparisons import comparison, typed
from tests.kit.verdicts import contestant, pair, setting, standing


@pytest.mark.parametrize("gaps", [False, True])
def test_json_is_read_back_as_it_was_written(gaps: bool) -> None:
    made = comparison(4, gaps=gaps)
    found = typed(made)
    assert as_json(found) == made
    assert from_json(Comparison, json.loads(json.dumps(as_json(found)))) == found


def test_json_has_the_keys_of_a_standing_in_their_order() -> None:
    keys = list(to_json(standing(0.5)))
    assert keys == [
        "mean", "half_width", "bootstrap", "rank", "steps", "source_test", "before", "curve", "area",
        "steps_to_95", "calibration", "gain", "metrics",
    ]  # fmt: skip
    assert list(to_json(pair("a", "b", 0.1, "win"))) == [
        "a", "b", "p_wilcoxon", "difference", "half_width", "p", "p_holm", "verdict", "seeds", "seeds_needed",
        "tasks_needed",
    ]  # fmt: skip


def test_json_has_texts_as_keys_one_step_as_a_number_and_no_nan() -> None:
    made = replace(
        standing(0.5, steps=3, curve={0: MeanInterval(0.1, None)}),
        calibration=Calibration(0.3, float("nan"), 0.9, 1.5, 0.1),
    )
    nothing = typed(comparison(0, settings=0))
    at = typed(comparison(2, ks=(1,))).settings[0].shots[1]
    whole = replace(nothing, settings=[setting({1: replace(at, results={"a": made})}, contestant("a"))])
    written = as_json(whole)["settings"][0]["shots"]["1"]["results"]["a"]
    assert written["steps"] == 3 and written["curve"] == {"0": {"mean": 0.1, "half_width": None}}
    assert written["calibration"]["brier"] is None and written["gain"] is None
    assert from_json(Standing, {**written, "steps": [0, 3], "calibration": {}}).steps == [0, 3]
    assert from_json(Standing, {**written, "calibration": {}}).calibration is None


def test_a_setting_knows_its_contestants_and_metrics() -> None:
    made = typed(comparison(3)).settings[0]
    assert made.contestant("maml").name == "maml"
    assert made.other_metrics == ["balanced_accuracy", "macro_f1"]
