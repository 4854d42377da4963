"""Classes of vectors, each task read by a device of its own: gains, and heavy noise in some of its sensors.

Which sensors of a device can be trusted is seen in no single reading, only in readings that belong together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Unpack, final

import numpy as np
import torch
from annotated_types import Ge, Gt, Le, Lt
from torch import Tensor
from torch.nn.functional import avg_pool2d

from coldstart_cli.core.tasks import TaskSource
from coldstart_cli.datasets.benchmarks.glyphs import (
    GlyphTasks,
    class_splits,
    face_numbers,
    rendered,
    shape_of,
)
from coldstart_cli.datasets.episodes.counter import Words, normals, order, words, words_from
from coldstart_cli.datasets.episodes.episodes import Episodes
from coldstart_cli.datasets.episodes.per_task import PerTask
from coldstart_cli.datasets.own.arrays import arrays
from coldstart_cli.datasets.own.source import Own
from coldstart_cli.datasets.readers.problems import OnBad
from coldstart_cli.errors import RequestError
from coldstart_cli.models.preprocess import Preprocess

_BLOCK = 2
"""A light sensor sees a block of 2 x 2 pixels: 14 x 14 sensors look at a character."""

_NOISY, _GAIN, _NOISE = 0, 1, 8  # streams of the counter; each part of a task has one of noise


def sensors(
    preprocess: Preprocess,
    *,
    root: str | None,
    on_bad: OnBad,
    noisy_share: Annotated[float, Ge(0), Le(1)],
    noise: Annotated[float, Ge(0)],
    gain: Annotated[float, Ge(0)],
    new_share: Annotated[float, Gt(0), Lt(1)],
    **asked: Unpack[GlyphTasks],
) -> PerTask:
    """Readings of 14 x 14 light sensors that look at a character of `glyphs`, or vectors of your own.

    Readings are in standard deviations of the source's. A task's device multiplies each sensor by exp(g), g ~
    N(0, gain^2), and adds noise of deviation `noise` to a random part of its sensors.

    Args:
        preprocess: the model's.
        root: an npz file with x (n, n_sensors) and y (n,); None: light sensors.
        on_bad: `stop` at the first row of `root` that cannot be read, or `skip` such rows.
        noisy_share: of the sensors of each device.
        noise: deviation of their noise.
        gain: deviation of the logarithm of the gains.
        new_share: of the classes of `root`; light sensors have the new scripts of `glyphs`.
        asked: see `GlyphTasks`.

    Raises:
        RequestError: where the file cannot be read, and where the classes cannot serve such tasks.
    """
    base: TaskSource = (
        _light_sensors(asked) if root is None else _own(preprocess, root, on_bad, new_share, asked)
    )
    return PerTask(base, Device(noisy_share, noise, gain), asked["bank_seed"])


def _own(preprocess: Preprocess, root: str, on_bad: OnBad, new_share: float, asked: GlyphTasks) -> Own:
    own = arrays(
        preprocess,
        x_key="x",
        y_key="y",
        task_key=None,
        split_key=None,
        group_key=None,
        channel_axis=None,
        standardise=True,
        target="class",
        unequal=False,
        root=root,
        unlabelled=None,
        split_by="class",
        new_share=new_share,
        held_out_share=0.2,
        min_examples=None,
        shared_labels=False,
        leave_out=None,
        descriptions=None,
        descriptions_beside=False,
        on_bad=on_bad,
        **asked,
    )
    if not isinstance(own.input_shape, tuple) or len(own.input_shape) != 1:
        raise RequestError(
            f"dataset.root: x of {root} has rows of shape {own.input_shape}, sensors reads vectors; "
            "give x (n, n_sensors) of reals"
        )
    return own


@final
class Device:
    """Gains and noise of a task's sensors, drawn anew for each task.

    Args:
        noisy_share, noise, gain: see `sensors`.
    """

    name = "a device"

    def __init__(self, noisy_share: float, noise: float, gain: float) -> None:
        self.noisy_share, self.noise, self.gain = noisy_share, noise, gain

    def __call__(self, key: Words, part: int, inputs: Tensor, numbers: Sequence[int]) -> Tensor:
        """Readings (n, n_sensors) -> what the device says."""
        width = inputs[0].numel()
        gains = np.exp(self.gain * normals(key, _GAIN, width)[0])
        shuffled = order(words(key, _NOISY, width))[0]
        deviation = np.where(shuffled < round(self.noisy_share * width), self.noise, 0.0)
        # A key for each example, by its own number: it is read alike for every k.
        places = np.asarray(numbers, dtype=np.int64)
        keys = words_from(np.repeat(key, len(places)), _NOISE + part, places, 1)[:, 0]
        noise = deviation * normals(keys, _NOISE, width)
        said = inputs.flatten(1).double().numpy() * gains + noise
        return torch.from_numpy(said).float().view(inputs.shape)

    def digest(self) -> str:
        return f"sensors 1 {self.noisy_share} {self.noise} {self.gain}"


def _light_sensors(asked: GlyphTasks) -> Episodes:
    kept = rendered()
    faces = face_numbers(list(HELD_OUT))
    splits = class_splits(kept, asked["split_seed"], asked["validation_share"], faces)
    light = avg_pool2d(torch.from_numpy(kept["images"]).float(), _BLOCK).flatten(1)
    source = light[torch.from_numpy(splits["train"].ids).long()]
    light = (light - source.mean(0)) / source.std()
    return Episodes("sensors", light, splits, shape=shape_of(asked), bank_seed=asked["bank_seed"])


HELD_OUT = ("DejaVuSans-Oblique", "DejaVuSerif-BoldItalic", "DejaVuSerif", "DejaVuSansMono-Bold")
"""Faces of training characters that training never sees, as in conf/dataset/glyphs.yaml."""
