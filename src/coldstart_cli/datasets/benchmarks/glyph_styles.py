"""The characters of `glyphs`, each task in a style of its own: polarity, turn and texture of all its images.

A style can be read off a single image, so a task's examples say little that an embedding could not see by
itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack, final

import torch
from torch import Tensor

from coldstart_cli.datasets.benchmarks.glyph_rules import N_TEXTURES, textures
from coldstart_cli.datasets.benchmarks.glyphs import GlyphTasks, glyphs
from coldstart_cli.datasets.episodes.counter import Words, words
from coldstart_cli.datasets.episodes.per_task import PerTask

_STYLE = 0  # the only stream of the counter: all of a task has one style


def glyph_styles(*, held_out_faces: list[str], **asked: Unpack[GlyphTasks]) -> PerTask:
    """Tasks of `glyphs`, whose arguments these are, in a style each.

    Raises:
        RequestError: as `glyphs`.
    """
    return PerTask(glyphs(held_out_faces=held_out_faces, **asked), Style(), asked["bank_seed"])


@final
class Style:
    """One of 2 polarities x 4 quarter turns x 9 backgrounds, black among them."""

    name = "a style"

    def __init__(self) -> None:
        self._textures = torch.from_numpy(textures())

    def __call__(self, key: Words, part: int, inputs: Tensor, numbers: Sequence[int]) -> Tensor:
        """uint8 images (n, 1, 28, 28) -> the same in the task's style."""
        drawn = words(key, _STYLE, 3)[0]
        negative, turns, texture = (
            int(word % n) for word, n in zip(drawn, (2, 4, N_TEXTURES + 1), strict=True)
        )
        ink = inputs.float().rot90(turns, (2, 3)) / 255
        background = self._textures[texture] if texture < N_TEXTURES else torch.zeros(())
        image = ink * 255 + (1 - ink) * background
        return (255 - image if negative else image).round().to(torch.uint8)

    def digest(self) -> str:
        return "styles 1"
