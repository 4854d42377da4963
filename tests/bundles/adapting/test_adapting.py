"""What `adapt` makes of a config: the chosen steps, the card, and what is refused before anything adapts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coldstart_cli.bundles.adapting.adapting import adapt
from coldstart_cli.bundles.adapting.preparing import prepared
from coldstart_cli.bundles.bundle import Bundle
from coldstart_cli.errors import RequestError
from tests.bundles.test_bundle import PLAN

Config = Callable[..., dict[str, Any]]


def test_a_bundle_of_another_task_is_not_put_away_unasked(config: Config) -> None:
    words = ("strategy=logistic", "seed=0")
    adapt(config(*words), PLAN, None)
    x = np.random.default_rng(1).normal(size=(12, 4)).astype(np.float32)
    np.savez("others.npz", x=x, y=np.repeat(["c", "d"], 6))
    other = config(*words, "dataset.root=others.npz")
    with pytest.raises(RequestError, match=r"of another task .*'a'.*overwrite=true"):
        prepared(other, replace(PLAN, overwrite=False), None)
    Path("bundle/card.json").write_text("{")
    with pytest.raises(RequestError, match=r"cannot be kept as an earlier version .*overwrite=true"):
        prepared(other, replace(PLAN, overwrite=False), None)
    assert adapt(other, PLAN, None).card.labels == ("c", "d")


def test_the_card_says_what_was_learned_from_and_progress_is_told(config: Config) -> None:
    told: list[tuple[str, int]] = []
    bundle = adapt(
        config("strategy=scratch"), PLAN, None, lambda what, done, total: told.append((what, done))
    )
    card = Bundle.load("bundle").card
    assert card == bundle.card
    assert (card.labels, card.data.examples, card.examples_of) == (("a", "b"), 12, {"a": 6, "b": 6})
    assert card.steps == PLAN.steps and {*card.input_ranges} == {""}  # of the one tensor that its inputs are
    assert any(done > 0 for _, done in told)


def test_the_card_says_how_many_steps_were_taken(config: Config) -> None:
    few = config("strategy=setfit", "strategy.iterations=1", "strategy.pair_batch_size=8")
    card = adapt(few, replace(PLAN, steps=10_000), None).card
    assert card.steps == 3 and "setfit ends by itself, here after 3 steps of 10,000" in card.said  # 24 pairs


def test_what_another_command_put_there_meanwhile_is_what_the_next_version_is_compared_with(
    config: Config,
) -> None:
    plan = replace(PLAN, overwrite=False)
    first, second = config("strategy=logistic"), config("strategy=logistic", "strategy.C=1")
    there: list[Bundle] = []

    def meanwhile(config: dict[str, Any]) -> Any:
        def told(what: str, done: int, total: int) -> None:
            if not there:  # as this one cross-validates
                there.append(adapt(config, plan, None))

        return told

    found = adapt(second, plan, None, meanwhile(first))
    assert (there[0].card.version, found.card.version) == (1, 2)
    assert found.card.changed is not None
    assert (found.card.changed.since, found.card.changed.added, found.card.changed.judged) == (1, 0, 12)
    there.clear()
    third = config("strategy=logistic", "strategy.C=0.5")
    again = adapt(third, plan, None, meanwhile(third))  # the same by both: one version
    assert (again.found, again.card.version) == (True, 3)
