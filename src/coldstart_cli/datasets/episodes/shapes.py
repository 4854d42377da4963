"""Shapes of tasks: what is none, and the same source in another."""

from __future__ import annotations

import copy
from typing import TypeVar

from coldstart_cli.core.tasks import TaskShape, TaskSource

Source = TypeVar("Source", bound=TaskSource)


def no_task(name: str, shape: TaskShape) -> str | None:
    """Why no data can serve the shape, or None; `name` starts the message."""
    if shape.k_shot < 0 or shape.n_query < 1 or shape.n_unlabelled < 0:
        return f"{name}: {shape} is not a task; k_shot and n_unlabelled start at 0, n_query at 1"
    return None


def reshaped(source: Source, shape: TaskShape) -> Source:
    """A view of the source whose tasks have the shape; nothing is loaded again.

    Raises:
        ValueError: where its new tasks cannot have it.
    """
    reason = source.refusal("new", shape)
    if reason is not None:
        raise ValueError(reason)
    view = copy.copy(source)
    view.shape = shape
    return view
