from __future__ import annotations

import pytest

from coldstart_cli.core.measured import Measured


def test_number_is_worked_out_once_and_only_where_it_is_read() -> None:
    calls: list[int] = []

    def measure() -> float:
        calls.append(1)
        return 2.5

    notes = Measured("distance", measure)
    assert notes and list(notes) == ["distance"] and not calls
    assert {**notes} == {"distance": 2.5} == dict(notes)
    assert calls == [1]
    with pytest.raises(KeyError):
        notes["worth"]
