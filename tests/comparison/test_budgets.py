"""One line that says where contestants were given different budgets."""

from __future__ import annotations

from coldstart_cli.comparison.budgets import differences
from coldstart_cli.comparison.findings import ContestantFacts, Training
from tests.kit.verdicts import contestant


def given(
    name: str,
    *,
    steps: float | None = 100,
    examples: float | None = 6400,
    reach: int = 10,
    trials: float | None = 20,
) -> ContestantFacts:
    training = Training(steps=steps, seconds=1.0, examples=examples, adaptation_steps=reach, trials=trials)
    return contestant(name, training=training)


def test_equal_budgets_are_not_remarked() -> None:
    assert differences([given("a"), given("b", examples=6420)]) == []
    assert differences([given("a", trials=None), given("b", trials=None)]) == []
    assert differences([]) == []


def test_the_least_and_the_most_of_each_quantity_are_named() -> None:
    found = differences([given("a"), given("b", examples=12000, steps=300), given("c", reach=30, trials=6)])
    assert found == [
        "budgets differ: labelled source examples 6,400 (a) to 12,000 (b); outer steps 100 (a) to 300 (b); "
        "adaptation steps tried 10 (a) to 30 (c); search trials 6 (c) to 20 (a)"
    ]


def test_what_is_not_known_of_some_is_said() -> None:
    found = differences([given("a", trials=None), given("b"), given("c", trials=None)])
    assert found == ["budgets differ: search trials 20 (b), not known of a, c"]


def test_who_learns_nothing_from_the_source_does_not_differ_by_that() -> None:
    assert differences([given("a"), given("scratch", steps=0, examples=0)]) == []
