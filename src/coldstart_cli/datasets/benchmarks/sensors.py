"""Classes of vectors, each task read by a device of its own: gains, and heavy noise in some of its sensors.

Which sensors of a device can be trusted is seen in no single reading, only in readings that belong together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, final

import numpy as np
import torch
from annotated_types import Ge, Gt, Le, Lt
from torch import Tensor
from torch.nn.functional import avg_pool2d

from coldstart_cli.core.tasks import TaskShape
from coldstart_cli.datasets.benchmarks.glyphs import class_splits, face_numbers, rendered
from coldstart_cli.datasets.episodes.counter import Words, normals, order, words, words_from
from coldstart_cli.datasets.episodes.episodes import Episodes
from coldstart_cli.datasets.episodes.per_task import PerTask
from coldstart_cli.datasets.own.arrays import arrays
from coldstart_cli.models.preprocess import Preprocess

_BLOCK = 2
"""A light sensor sees a block of 2 x 2 pixels: 14 x 14 sensors look at a character."""

_NOISY, _GAIN, _NOISE = 0, 1, 8  # streams of the counter; each part of a task has one of noise


def sensors(
    preprocess: Preprocess,
    *,
    bank_seed: Annotated[int, Ge(0)],
    n_way: Annotated[int, Ge(2)],
    k_shot: Annotated[int, Ge(1)],
    n_query: Annotated[int, Ge(1)],
    n_unlabelled: Annotated[int, Ge(0)],
    root: str | None,
    noisy_share: Annotated[float, Ge(0), Le(1)],
    noise: Annotated[float, Ge(0)],
    gain: Annotated[float, Ge(0)],
    split_seed: Annotated[int, Ge(0)],
    validation_share: Annotated[float, Gt(0), Lt(1)],
    new_share: Annotated[float, Gt(0), Lt(1)],
) -> PerTask:
    """Readings of 14 x 14 light sensors that look at a character of `glyphs`, or vectors of your own.

    Readings are in standard deviations of the source's. A task's device multiplies each sensor by exp(g), g ~
    N(0, gain^2), and adds noise of deviation `noise` to a random part of its sensors.

    Args:
        preprocess: the model's.
        bank_seed: determines tasks and devices, not the data.
        n_way: classes of a task.
        k_shot: support examples a class.
        n_query: query examples a class.
        n_unlabelled: unlabelled examples a class.
        root: an npz file with x (n, n_sensors) and y (n,); None: light sensors.
        noisy_share: of the sensors of each device.
        noise: deviation of their noise.
        gain: deviation of the logarithm of the gains.
        split_seed: determines the splits.
        validation_share: of the source's classes.
        new_share: of the classes of `root`; light sensors have the new scripts of `glyphs`.

    Raises:
        RequestError: where the file cannot be read, and where the classes cannot serve such tasks.
    """
    shape = TaskShape(n_way, k_shot, n_query, n_unlabelled)
    device = Device(noisy_share, noise, gain)
    if root is None:
        return PerTask(_light_sensors(shape, bank_seed, split_seed, validation_share), device, bank_seed)
    base = arrays(
        preprocess,
        x_key="x",
        y_key="y",
        task_key=None,
        split_key=None,
        group_key=None,
        channel_axis=None,
        standardise=True,
        target="class",
        bank_seed=bank_seed,
        n_way=n_way,
        k_shot=k_shot,
        n_query=n_query,
        n_unlabelled=n_unlabelled,
        unequal=False,
        root=root,
        unlabelled=None,
        split_by="class",
        split_seed=split_seed,
        validation_share=validation_share,
        new_share=new_share,
        held_out_share=0.2,
        min_examples=None,
        shared_labels=False,
        leave_out=None,
        descriptions=None,
        descriptions_beside=False,
        on_bad="stop",
    )
    return PerTask(base, device, bank_seed)


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


def _light_sensors(shape: TaskShape, bank_seed: int, split_seed: int, validation_share: float) -> Episodes:
    kept = rendered()
    splits = class_splits(kept, split_seed, validation_share, face_numbers(list(HELD_OUT)))
    light = avg_pool2d(torch.from_numpy(kept["images"]).float(), _BLOCK).flatten(1)
    source = light[torch.from_numpy(splits["train"].ids).long()]
    light = (light - source.mean(0)) / source.std()
    return Episodes("sensors", light, splits, shape=shape, bank_seed=bank_seed)


HELD_OUT = ("DejaVuSans-Oblique", "DejaVuSerif-BoldItalic", "DejaVuSerif", "DejaVuSansMono-Bold")
"""Faces of training characters that training never sees, as in conf/dataset/glyphs.yaml."""
