"""What is known of a candidate before it is judged: its cost, and why it cannot take part."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from coldstart_cli.choosing import entrants
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
    monkeypatch.setattr("coldstart_cli.core.strategy.installed", lambda package: package != "scikit-learn")
    found = outlook([*TABLE, "candidates=[ridge,extra_trees]"], [])
    assert list(found.seconds) == ["ridge"]
    assert found.left_out == {
        "extra_trees": "strategy: it adapts by scikit-learn, which is not installed; "
        "pip install -e '.[trees]' in the clone (E24)"
    }


@pytest.mark.parametrize(("most", "seconds"), [(0, 1.0), (1, 6.0), (100, 1 + 100 * 0.5), (40, 1 + 40 * 0.5)])
def test_the_first_step_is_not_taken_for_the_others(
    most: int, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(wall=7.0, taken=0)

    def adapt(support: object) -> Iterator[None]:
        for takes in (1.0, 5.0, *[0.5] * (most - 1)):
            clock.wall += takes
            clock.taken += 1
            yield

    monkeypatch.setattr(entrants.time, "perf_counter", lambda: clock.wall)
    monkeypatch.setattr(entrants.time, "process_time", lambda: clock.wall / 4)
    strategy = SimpleNamespace(adapt=adapt, last_step=lambda support: 40)
    ready: Any = SimpleNamespace(strategy=strategy, support=None, candidates=(0, most))
    found, core = entrants._foretold(ready)
    assert found == pytest.approx(1 + 40 * 0.5 if most == 100 else seconds) and core == pytest.approx(0.25)
    assert clock.taken <= 2 + entrants.TIMED_STEPS  # which took long enough


def test_a_closed_form_takes_its_one_item(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(1, 100))
    monkeypatch.setattr(entrants.time, "perf_counter", lambda: next(ticks))
    strategy = SimpleNamespace(adapt=lambda support: (i for i in range(1)), last_step=lambda support: None)
    ready: Any = SimpleNamespace(strategy=strategy, support=None, candidates=(30,))
    assert entrants._foretold(ready)[0] == 1.0
