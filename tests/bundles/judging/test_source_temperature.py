"""Validation tasks like the new one: as near to its number of classes as the source can serve."""

from __future__ import annotations

from dataclasses import replace

import pytest

from coldstart_cli.bundles.judging.source_temperature import _like
from coldstart_cli.errors import RequestError
from tests.kit.small_sources import episodes, sinusoid


def test_tasks_have_as_many_classes_as_the_new_one_where_the_source_has_them() -> None:
    source = episodes()
    shape = _like(source, 2, 1).shape
    assert (shape.n_way, shape.k_shot, shape.n_query) == (2, 1, source.shape.n_query)


def test_tasks_have_as_many_classes_as_there_are_where_the_new_one_has_more() -> None:
    source = episodes()
    found = _like(source, 1000, 1).shape
    assert found.n_way is not None and 2 <= found.n_way < 1000
    assert source.refusal("validation", replace(found, n_way=found.n_way + 1)) is not None


def test_a_source_that_cannot_serve_such_tasks_says_why() -> None:
    with pytest.raises(RequestError, match=r"^dataset: they are a regression"):
        _like(sinusoid(), 2, 1)
    with pytest.raises(RequestError, match=r"^dataset: "):
        _like(episodes(), 2, 100_000)
