"""Laws of `adapt`, each broken by a plug-in with a sentence of its own."""

from __future__ import annotations

import pytest

from coldstart_cli.strategies.transfer.frozen_features import NearestCentroid
from coldstart_cli.testing.trial import Trial
from tests.kit.plugin import assert_breaks, broken


@pytest.mark.parametrize(
    ("how", "law", "seen", "mend"),
    [
        ("changes_self", "adapt_changes_nothing", "it changed calls", "Adapted.changed"),
        ("reads_batch", "prediction_is_inductive", "an input alone gets an output", "`transductive`"),
        ("reads_order", "order_of_the_support_does_not_matter", "in another order", "sums or means"),
        ("notes", "distance_is_noted_by_who_says_so", "notes one and says nothing", "lowers_distance_by"),
        ("notes", "adaptations_are_replayed", "it cannot be recorded", "replayable = False"),
    ],
)
def test_a_plugin_that_breaks_a_law_is_told_which_and_what_to_do(
    how: str, law: str, seen: str, mend: str
) -> None:
    assert_breaks(how, law, seen, mend)


def test_names_that_are_read_come_with_their_ablation(monkeypatch: pytest.MonkeyPatch) -> None:
    trial = Trial("name_centroid")
    assert broken(trial, "names_come_with_their_ablation") == {}
    monkeypatch.setattr(NearestCentroid, "ablations", lambda self, support, other: {"swap": iter(())})
    words = broken(trial, "names_come_with_their_ablation")["names_come_with_their_ablation"]
    assert "but its ablations are swap" in words and "`names off`" in words


def test_another_data_set_is_taken() -> None:
    trial = Trial("r2d2", "sinusoid", ["model=mlp"])
    assert broken(trial, "adapt_changes_nothing", "prediction_is_inductive") == {}
