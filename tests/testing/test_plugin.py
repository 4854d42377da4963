"""Options of pytest for the laws."""

from __future__ import annotations

import pytest

from coldstart_cli.testing.plugin import pytest_addoption


def test_strategies_and_overrides_may_be_given_again_and_a_data_set_once() -> None:
    parser = pytest.Parser(_ispytest=True)
    pytest_addoption(parser)
    words = ["--strategy", "a", "--strategy", "b", "--override", "c=1", "--dataset", "d"]
    found = parser.parse(words)
    assert (found.strategy, found.override, found.dataset) == (["a", "b"], ["c=1"], "d")
    nothing = parser.parse([])
    assert (nothing.strategy, nothing.override, nothing.dataset) == ([], [], None)
