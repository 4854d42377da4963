"""Answers to several requests in one call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from coldstart_cli.bundles.bundle import Bundle
from coldstart_cli.serving.answering import answered
from coldstart_cli.serving.reading import Asked, Refused


def asked(inputs: Sequence[Any], **changes: Any) -> Asked:
    return Asked(**{"inputs": inputs, "top_k": 2, "probabilities": False, "threshold": None, **changes})


def test_requests_of_one_call_are_answered_as_each_alone(table: Bundle) -> None:
    several = [
        asked([[1, 2]]),
        asked([[9, -3], {"a": 5, "b": 0}], probabilities=True),
        asked([[5, 1]], top_k=1),
    ]
    alone = [answered(table, [one], 64)[0] for one in several]
    assert answered(table, several, 2) == alone
    assert [len(one["answers"]) for one in alone if not isinstance(one, Refused)] == [1, 2, 1]


def test_each_request_has_a_threshold_of_its_own(table: Bundle) -> None:
    sure, unsure = answered(table, [asked([[1, 2]]), asked([[1, 2]], threshold=0.99)], 64)
    assert not isinstance(sure, Refused) and not isinstance(unsure, Refused)
    assert (sure["answers"][0]["label"], unsure["answers"][0]["label"]) == ("x", None)
    assert unsure["answers"][0]["top"][0]["label"] == "x"


def test_a_request_that_cannot_be_read_takes_no_other_with_it(table: Bundle) -> None:
    several = [asked([[1, 2]]), asked([[1, 2], [1]]), asked([[9, -3]]), asked([{"a": 1}]), asked([["u", 1]])]
    found = answered(table, several, 64)
    assert [one.status if isinstance(one, Refused) else 200 for one in found] == [200, 422, 200, 422, 422]
    lines = [one.line for one in found if isinstance(one, Refused)]
    assert lines[0].startswith("input row 2: has 1 values for 2 columns")
    assert lines[1].startswith("input: has no column 'b'")
    assert lines[2].startswith("input row 1: column a is 'u', no finite number")


def test_outputs_that_are_no_numbers_are_no_answer(table: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = torch.tensor([[0.0, 1.0], [float("nan"), 0.0]])
    monkeypatch.setattr(Bundle, "outputs", lambda self, inputs: outputs)
    (found,) = answered(table, [asked([[1, 2], [3, 4]])], 64)
    assert isinstance(found, Refused) and found.status == 422 and found.line.startswith("input row 2: ")


def test_a_fault_of_ours_is_told_without_its_words(
    table: Bundle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(self: Bundle, inputs: object) -> None:
        raise TypeError("secret")

    monkeypatch.setattr(Bundle, "outputs", broken)
    (found,) = answered(table, [asked([[1, 2]])], 64)
    assert isinstance(found, Refused) and found.status == 500 and "secret" not in found.line
    assert "TypeError: secret" in caplog.text
