"""What is said of an evaluation."""

from __future__ import annotations

from coldstart_cli.bundles.evaluating import wording
from coldstart_cli.bundles.evaluating.evaluation import Guarantee, Unknown
from coldstart_cli.metrics.fresh import Foreign
from tests.kit.evaluations import WHOLE, found


def test_a_threshold_is_said_with_what_it_is_worth_and_in_the_command() -> None:
    kept = Guarantee(precision=0.7, sure=0.95, found=WHOLE)
    (said,) = wording.guarantee(kept, foreign=True)
    assert said.startswith("precision 70 %: threshold=0.5 keeps it, with a probability of 95 %")
    assert "these rows of classes that it knows" in said
    assert wording.predict_words(found(2, kept)).endswith("'bundle=my b' input=PATH threshold=0.5")


def test_what_is_not_counted_is_counted_apart() -> None:
    score = Foreign(0.9, 0.5)
    labels = {f"l{i}": 9 - i for i in range(7)}
    one = wording.unknown(Unknown(rows=1, labels={"z": 1}, by_probability=score, by_energy=score))
    many = wording.unknown(Unknown(rows=42, labels=labels, by_probability=score, by_energy=score))
    assert one[0].startswith(
        "1 row has a label that the bundle does not know (z 1); no number above counts it"
    )
    assert "l4 5, ...)" in many[0] and "AUROC 90.0 %, 50.0 % of them" in many[2]
    rows, said = wording.suspicious(found(2).classes.doubts)  # type: ignore[union-attr]
    assert len(rows) == 1 and said.startswith("labels that look wrong: 1")
    assert wording.suspicious(()) == ([], "")
