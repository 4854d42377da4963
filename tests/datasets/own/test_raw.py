"""Examples without labels need no torch to be held."""

from __future__ import annotations

from coldstart_cli.datasets.own.raw import Raw


def test_a_raw_part_has_as_many_examples_as_places() -> None:
    part = Raw({"input_ids": [[1], [2]]}, ("row 1", "row 2"))  # type: ignore[dict-item]
    assert len(part) == 2 and part.rows == ()
