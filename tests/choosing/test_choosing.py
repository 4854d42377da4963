"""From labels to a verdict and a bundle: who wins and why, what goes on, what costs too much."""

from __future__ import annotations

from pathlib import Path

import pytest

from coldstart_cli.bundles.bundle import Bundle
from coldstart_cli.bundles.judging import held_out_labels
from coldstart_cli.choosing import choosing
from coldstart_cli.choosing.requests import choose
from tests.choosing.conftest import QUICK, TABLE, write_table


def test_the_favourite_is_taken_unless_another_is_surely_better(here: Path) -> None:
    verdict, bundle = choose([*TABLE, *QUICK, "bundle=b"], [])
    assert (verdict.winner, verdict.favourite, verdict.by) == ("ridge", "ridge", "rule")
    assert (verdict.labels, verdict.classes, verdict.folds, verdict.repeats) == (24, 3, 8, 2)
    assert verdict.rows[0].place == "winner" and verdict.p is None
    assert bundle.card.strategy == "r2d2" and bundle.card.model == "features"
    assert any("among 2 candidates, by rule" in line for line in bundle.card.said)
    assert Bundle.load("b").predict([{"a": 0.0, "b": 0.0}]).labels == ["x"]
    found = bundle.card.cross_validation
    assert found is not None and verdict.rows[0].value == pytest.approx(found.mean)


def test_labels_overrule_the_rule(here: Path) -> None:
    own = here / "own" / "candidates"
    own.mkdir(parents=True)
    (own / "vectors.yaml").write_text(
        "# Mine\nblind:  # the inputs weigh nothing\n"
        "  words: [strategy=logistic, model=features, strategy.C=1e-9, strategy.normalise=false]\n"
        "  prefer: {}\n"
        "ridge:\n  words: [strategy=r2d2, model=features, strategy.source_training=false]\n"
    )
    write_table(Path("table.csv"), 10, 0.3)
    # Classes of unequal size, so that one that is blind answers with the largest.
    rows = Path("table.csv").read_text().splitlines()
    Path("table.csv").write_text("\n".join(rows[:1] + rows[1:11] + rows[11:31:3]) + "\n")
    verdict, bundle = choose([*TABLE, "bundle=b"], [str(here / "own")])
    assert (verdict.favourite, verdict.winner, verdict.by) == ("blind", "ridge", "cross-validation")
    assert bundle.card.strategy == "r2d2" and verdict.p is not None and verdict.p < 0.05


def test_the_same_command_again_goes_on(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = choose([*TABLE, *QUICK, "bundle=b"], [])
    asked = []
    answered = held_out_labels.Rehearsal.answers
    monkeypatch.setattr(
        held_out_labels.Rehearsal, "answers", lambda *arguments: asked.append(1) or answered(*arguments)
    )
    again, _ = choose([*TABLE, *QUICK, "bundle=b", "overwrite=true"], [])
    assert asked == []
    assert [row.value for row in again.rows] == [row.value for row in first.rows]
    kept = sorted(Path("outputs/choose").glob("*.npz"))
    assert len(kept) == 2
    kept[0].write_bytes(b"damaged")
    choose([*TABLE, *QUICK, "bundle=b", "overwrite=true"], [])
    assert len(asked) == 1  # one candidate anew
    write_table(Path("table.csv"), 8, 0.4, seed=1)
    choose([*TABLE, *QUICK, "bundle=b", "overwrite=true"], [])
    assert len(asked) == 1 + 2


def test_one_label_a_class_is_left_to_the_rule(here: Path) -> None:
    write_table(Path("table.csv"), 1, 0.1)
    verdict, bundle = choose([*TABLE, *QUICK, "bundle=b"], [])
    assert (verdict.winner, verdict.by) == ("ridge", "rule")
    assert all(row.value is None and row.place != "tied" for row in verdict.rows)
    assert bundle.card.cross_validation is None


def test_too_little_time_leaves_the_slowest_out_and_says_so(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from coldstart_cli.choosing import entrants

    monkeypatch.setattr(
        entrants, "_foretold", lambda ready: (1000.0 if ready.candidates != (0, 1, 5, 10, 30) else 0.001, 1.0)
    )
    verdict, _ = choose([*TABLE, "candidates=[logistic,network]", "bundle=b"], [])
    assert [row.name for row in verdict.rows] == ["logistic"]
    assert "two folds would take about" in verdict.left_out["network"]
    assert "time_minutes=" in verdict.left_out["network"]


def test_luck_lowers_what_the_card_says(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, _ = choose([*TABLE, *QUICK, "bundle=b"], [])
    honest = choosing.choose

    def lucky(*arguments: object, **more: object) -> choosing.Choice:
        found = honest(*arguments, **more)  # type: ignore[arg-type]
        return choosing.Choice(found.winner, found.overruled, found.p, found.tied, 0.1)

    monkeypatch.setattr(choosing, "choose", lucky)
    less, bundle = choose([*TABLE, *QUICK, "bundle=c"], [])
    found = bundle.card.cross_validation
    assert found is not None and plain.rows[0].value is not None
    assert found.mean == pytest.approx(plain.rows[0].value - 0.1)
    assert less.rows[0].value == pytest.approx(found.mean)
    assert found.low == pytest.approx((plain.rows[0].low or 0.0) - 0.1)
    assert found.high == plain.rows[0].high


def test_the_rule_asks_frozen_candidates_in_more_folds_than_a_slow_one_allows(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from coldstart_cli.choosing.contest import Deal

    asked = []
    honest, dealt = choosing.judged, choosing.dealt

    def spy(entrants: list[choosing.Entrant], deal: Deal, *more: object) -> list[choosing.Judged]:
        asked.append((deal, [entrant.name for entrant in entrants]))
        return honest(entrants, deal, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(choosing, "judged", spy)
    monkeypatch.setattr(choosing, "dealt", lambda *a: (Deal(2, 1), *dealt(*a)[1:]))
    verdict, bundle = choose([*TABLE, *QUICK, "bundle=b"], [])
    assert asked[0] == (Deal(2, 1), ["ridge", "nearest_centroid"])
    assert asked[1:3] == [(Deal(8, 2), ["ridge"]), (Deal(8, 2), ["nearest_centroid"])]
    found = bundle.card.cross_validation
    assert (verdict.folds, verdict.repeats) == (2, 1) and found is not None and found.folds == 8
