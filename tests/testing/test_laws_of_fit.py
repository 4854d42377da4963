"""Laws of `fit`: kept with dropout in the loss, and each broken by a plug-in with a sentence of its own."""

from __future__ import annotations

import pytest

from coldstart_cli.testing.laws_of_fit import has_fallen, loss_of
from coldstart_cli.testing.trial import Trial
from tests.kit.plugin import OUTSIDE, TRUST, assert_breaks, broken


@pytest.mark.parametrize(
    ("how", "law", "seen", "mend"),
    [
        ("forgets", "stopped_training_goes_on_alike", "after a stop at step 1 of 4", "(seed, step)"),
        ("rests", "fit_lowers_its_losses", "over the same few tasks", "learns_from_source"),
    ],
)
def test_a_plugin_that_breaks_a_law_is_told_which_and_what_to_do(
    how: str, law: str, seen: str, mend: str
) -> None:
    assert_breaks(how, law, seen, mend)


def with_dropout(name: str) -> Trial:
    return Trial(str(OUTSIDE / "strategy" / f"{name}.yaml"), overrides=[TRUST, "model=random"])


@pytest.mark.parametrize("name", ["nearest", "own_maml", "own_finetune"])
def test_a_loss_with_dropout_keeps_the_laws(name: str) -> None:
    assert broken(with_dropout(name)) == {}


def test_a_loss_has_fallen_where_its_last_values_are_lower_by_a_share() -> None:
    assert has_fallen([2.0, 2.0, 2.0, 1.0, 1.0, 1.7], 0.1) and not has_fallen([2.0, 2.0, 2.0, 1.9, 1.9], 0.1)
    assert not has_fallen([1.0, 1.0, 1.0], 0.0)
    assert has_fallen([-1.0, -1.0, -2.0], 0.5) and not has_fallen([-1.0, -1.0, -1.0], 0.03)


def test_the_loss_of_a_step_is_its_first() -> None:
    assert loss_of({"teacher_loss": 1.0, "loss": 2.0, "accuracy": 3.0}) == {"teacher_loss": 1.0}
    assert loss_of({"accuracy": 1.0}) == {}
