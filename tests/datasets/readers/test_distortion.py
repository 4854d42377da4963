"""Resizing and distorting images."""

from __future__ import annotations

import numpy as np
import torch

from coldstart_cli.datasets.readers.distortion import distorted, resized


def test_resized_keeps_images_of_that_size_and_halves_by_averaging() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8)).astype(np.uint8)
    assert np.array_equal(resized(images, 8).numpy()[:, 0], images)
    flat = np.full((1, 8, 8), 77, dtype=np.uint8)
    assert resized(flat, 4).unique().tolist() == [77]
    assert resized(images, 4).shape == (2, 1, 4, 4)
    assert resized(images, 4).dtype == torch.uint8


def test_distorted_in_the_middle_style_is_the_image_itself() -> None:
    images = torch.randint(0, 256, (3, 1, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    assert torch.equal(distorted(images, np.full(5, 0.5)), images)
    assert len(distorted(images[:0], np.full(5, 0.5))) == 0


def test_distorted_brightness_is_a_power() -> None:
    images = torch.full((1, 1, 8, 8), 128, dtype=torch.uint8)
    style = np.array([0.5, 0.5, 0.5, 0.5, 1.0])
    assert int(distorted(images, style)[0, 0, 4, 4]) == round(255 * (128 / 255) ** 2.5)


def test_distorted_styles_differ_and_larger_is_wider() -> None:
    bar = torch.zeros(1, 1, 16, 16, dtype=torch.uint8)
    bar[..., 4:12, 6:10] = 255
    wide = distorted(bar, np.array([0.5, 0.5, 1.0, 0.5, 0.5]))
    narrow = distorted(bar, np.array([0.5, 0.5, 0.0, 0.5, 0.5]))
    assert int((wide[0, 0, 8] > 127).sum()) > int((narrow[0, 0, 8] > 127).sum())
