"""A law in one line where it is broken, and what it compares by."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import torch

from coldstart_cli.testing.law import apart, changed_in, everyone, law

MINE: Any = SimpleNamespace(name="mine")


def test_a_broken_law_names_strategy_promise_evidence_and_remedy() -> None:
    @law("it counts to three", "count on", everyone)
    def counts(trial: Any) -> str | None:
        torch.manual_seed(1)
        return "it stops at\ntwo" if trial is MINE else None

    before = torch.get_rng_state()
    assert counts.broken_by(MINE) == "mine: it counts to three (counts), but it stops at two; count on"
    assert counts.broken_by(SimpleNamespace(name="theirs")) is None  # type: ignore[arg-type]
    assert counts.concerns(MINE) and torch.equal(torch.get_rng_state(), before)


def test_names_of_what_changed_are_those_whose_values_differ_or_are_gone() -> None:
    one = {"a": torch.ones(2), "b": 1, "gone": None, "same": torch.zeros(1)}
    other = {"a": torch.tensor([1.0, 2.0]), "b": 2, "new": 3, "same": torch.zeros(1)}
    assert changed_in(one, other) == ["a", "b", "new"]


def test_tensors_are_apart_by_more_than_rounding() -> None:
    a = torch.tensor([1.0, math.nan])
    assert apart(a, a + 1e-9, rtol=1e-4, atol=1e-4) is None
    found = apart(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.5]), rtol=1e-4, atol=1e-4)
    assert found == 0.5
