"""How many steps an adaptation takes, and how that was chosen; the temperature, and what it was fitted on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from coldstart_cli.bundles.adapting.preparing import prepared
from coldstart_cli.bundles.adapting.settling import calibrated, chosen_steps
from coldstart_cli.bundles.judging.held_out_labels import Rehearsal
from coldstart_cli.bundles.kept.card import BY_LABELS, CLOSED_FORM
from tests.bundles.test_bundle import PLAN

Config = Callable[..., dict[str, Any]]


@pytest.mark.parametrize(
    ("strategy", "candidates", "step", "how"),
    [
        ("nearest_centroid", (0, 5), 0, CLOSED_FORM),
        ("scratch", (5,), 5, "given"),
        ("scratch", (0, 5), None, BY_LABELS),
    ],
)
def test_steps_are_given_chosen_by_labels_or_none_are_taken(
    config: Config, strategy: str, candidates: tuple[int, ...], step: int | None, how: str
) -> None:
    ready = prepared(config(f"strategy={strategy}"), PLAN, None)
    rehearsal = Rehearsal(ready.strategy, ready.support, ready.together, lambda what, done, total: None)
    found, said = chosen_steps(rehearsal, candidates, PLAN, None)
    assert said == how and found in (candidates if step is None else (step,))


def test_a_temperature_is_fitted_to_held_out_labels_or_is_one_with_the_reason(config: Config) -> None:
    asked = config("strategy=nearest_centroid")
    ready = prepared(asked, PLAN, None)
    rehearsal = Rehearsal(ready.strategy, ready.support, ready.together, lambda what, done, total: None)
    answers = rehearsal.answers(0, PLAN.folds_to_estimate, PLAN.repeats_to_estimate)
    fitted, by = calibrated(asked, PLAN, None, ready, answers, 0)
    assert by == BY_LABELS and fitted > 0
    assert calibrated(asked, PLAN, None, ready, None, 0) == (
        1.0, "none: too few labels, and no trained run whose validation tasks could tell"
    )  # fmt: skip
