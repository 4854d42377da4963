"""Shapes of tasks: which are none, and the same source in another."""

from __future__ import annotations

import pytest

from coldstart_cli.core.tasks import TaskShape
from coldstart_cli.datasets.episodes.shapes import no_task, reshaped
from tests.kit.small_sources import episodes


@pytest.mark.parametrize(
    ("shape", "served"),
    [
        (TaskShape(2, 0, 1, 0), True),
        (TaskShape(None, 5, 5, 5), True),
        (TaskShape(2, -1, 1, 0), False),
        (TaskShape(2, 1, 0, 0), False),
        (TaskShape(2, 1, 1, -1), False),
    ],
)
def test_a_task_has_a_query_and_no_negative_number(shape: TaskShape, served: bool) -> None:
    reason = no_task("small", shape)
    assert reason is None if served else str(reason).startswith("small: ")


def test_a_view_has_the_shape_and_shares_the_data() -> None:
    source = episodes()
    view = reshaped(source, TaskShape(2, 3, 1, 0))
    assert len(view.tasks("new", [0])[0].support) == 6 and len(source.tasks("new", [0])[0].support) == 3
    assert view.inputs is source.inputs
    with pytest.raises(ValueError, match="small: "):
        reshaped(source, TaskShape(2, 100, 1, 0))
