"""Characters in a style of each task."""

from __future__ import annotations

import numpy as np
import torch

from coldstart_cli.core.tasks import TaskShape
from coldstart_cli.datasets.benchmarks.glyph_styles import Style, glyph_styles
from coldstart_cli.datasets.benchmarks.glyphs import glyphs
from coldstart_cli.datasets.episodes.counter import task_keys
from coldstart_cli.datasets.episodes.per_task import SUPPORT

VALUES = {
    "bank_seed": 0, "n_way": 3, "k_shot": 2, "n_query": 2, "n_unlabelled": 1, "split_seed": 0,
    "validation_share": 0.2, "held_out_faces": ["DejaVuSans", "DejaVuSerif"],
}  # fmt: skip


def test_styles_are_those_of_a_task_and_many() -> None:
    plain, styled = glyphs(**VALUES), glyph_styles(**VALUES)  # type: ignore[arg-type]
    unlike = 0
    for before, after in zip(plain.tasks("new", range(30)), styled.tasks("new", range(30)), strict=True):
        assert torch.equal(before.support.targets, after.support.targets)
        unlike += not torch.equal(before.support.inputs, after.support.inputs)  # type: ignore[arg-type]
        corners = after.support.inputs[:, 0, :2, :2].float().std(0)  # type: ignore[call-overload, index]
        assert float(corners.max()) == 0  # one background, and no ink there
    assert unlike > 25


def test_a_style_keeps_what_the_character_is() -> None:
    ink = torch.zeros(1, 1, 28, 28, dtype=torch.uint8)
    ink[0, 0, 5:20, 5:9] = 255
    seen = {Style()(task_keys(0, "new", [i]), SUPPORT, ink, [0]).numpy().tobytes() for i in range(1500)}
    assert len(seen) == 2 * 4 * 9
    for image in seen:
        values = np.frombuffer(image, np.uint8)
        assert (values == 255).sum() >= 60 or (values == 0).sum() >= 60


def test_styles_do_not_depend_on_k() -> None:
    source = glyph_styles(**VALUES)  # type: ignore[arg-type]
    few = source.with_shape(TaskShape(3, 1, 2, 1))
    (many,), (task,) = source.tasks("new", [4]), few.tasks("new", [4])
    assert torch.equal(many.query.inputs, task.query.inputs)  # type: ignore[arg-type]
