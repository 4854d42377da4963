"""What is known of a candidate before it is judged: its cost, and why it cannot take part."""

from __future__ import annotations

from pathlib import Path

import pytest

from coldstart_cli.choosing.requests import choose, outlook
from tests.choosing.conftest import TABLE


def test_a_candidate_that_cannot_serve_is_left_out_with_its_reason(here: Path) -> None:
    Path("table.csv").write_text(
        "a,b,y\n" + "\n".join(f"{i * 7 % 12},{i % 3},{14.0 * i % 24 + 0.5}" for i in range(12))
    )
    verdict, bundle = choose(
        [*TABLE, "dataset.target_column=y", "candidates=[logistic,ridge]", "bundle=b"], []
    )
    assert [row.name for row in verdict.rows] == ["ridge"] and verdict.metric == "mse"
    assert "these tasks are a regression" in verdict.left_out["logistic"]
    assert verdict.rows[0].balanced_accuracy is None and bundle.card.labels == ()


def test_limits_leave_out_what_is_too_large(here: Path) -> None:
    found = outlook([*TABLE, "candidates=[logistic,network]", "max_mb=0.001"], [])
    assert set(found.seconds) == {"logistic"}
    assert (
        found.left_out["network"].startswith("it has 0.00") and "max_mb allows" in found.left_out["network"]
    )


def test_the_cost_counts_the_choice_of_steps_in_every_fold(here: Path) -> None:
    found = outlook([*TABLE, "candidates=[logistic,network]"], [])
    # Closed form: 16 adaptations. Steps: in each fold ten more, that choose their number.
    assert found.seconds["network"] > 5 * found.seconds["logistic"]


def test_what_an_adaptation_takes_is_told_by_a_few_steps(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = outlook([*TABLE, "candidates=[network]", "evaluation.steps=[5]"], []).seconds["network"]
    long = outlook([*TABLE, "candidates=[network]", "evaluation.steps=[5000]"], []).seconds["network"]
    assert long > 50 * short


def test_a_candidate_whose_package_is_missing_is_left_out_with_what_to_install(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coldstart_cli.core.tasks.installed", lambda package: package != "scikit-learn")
    found = outlook([*TABLE, "candidates=[ridge,extra_trees]"], [])
    assert list(found.seconds) == ["ridge"]
    assert found.left_out == {
        "extra_trees": "strategy: it adapts by scikit-learn, which is not installed; "
        "pip install 'coldstart-cli[trees]' (E24)"
    }
