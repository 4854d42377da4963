"""Moves of images that can be written down exactly: whole pixels, quarter turns, half the size."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from coldstart_cli.core.tasks import Examples
from coldstart_cli.training.augmentation import Augmentation

IMAGE = torch.arange(64, dtype=torch.uint8).view(1, 1, 8, 8)
DRAWS = {"angle": 0, "width": 1, "height": 2, "x": 3, "y": 4}


def moved(
    images: Tensor, *, shift: float = 0.0, rotation: float = 0.0, scale: float = 0.0, **draws: float
) -> Tensor:
    drawn = torch.zeros(len(images), 5)
    for name, value in draws.items():
        drawn[:, DRAWS[name]] = value
    augmentation = Augmentation(shift=shift, rotation=rotation, scale=scale)
    found = augmentation.moved(Examples(images, torch.zeros(len(images))), drawn).inputs
    assert isinstance(found, Tensor) and found.dtype == images.dtype
    return found


def test_a_shift_moves_by_whole_pixels_and_bares_zeros() -> None:
    left = moved(IMAGE, shift=0.25, x=1.0)  # two pixels of eight
    assert torch.equal(left[..., :6], IMAGE[..., 2:]) and not left[..., 6:].any()
    down = moved(IMAGE, shift=0.25, y=-1.0)
    assert torch.equal(down[..., 2:, :], IMAGE[..., :6, :]) and not down[..., :2, :].any()


def test_a_rotation_of_a_quarter_turn_is_torchs() -> None:
    assert torch.equal(moved(IMAGE, rotation=90.0, angle=1.0), torch.rot90(IMAGE, 1, (2, 3)))


def test_a_scale_of_each_side_reads_half_as_far_apart() -> None:
    wide = moved(IMAGE.float(), scale=0.5, width=1.0)  # 1.5 times as wide
    # Pixel centres at -7/8 ... 7/8 read at two thirds of that; linear images stay linear.
    centres = (torch.arange(8) - 3.5) / 1.5 + 3.5
    torch.testing.assert_close(wide[0, 0, 0], centres, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        wide[0, 0, :, 0] - wide[0, 0, 0, 0], 8.0 * torch.arange(8), rtol=1e-4, atol=1e-4
    )


def test_nothing_moves_by_nothing_and_draws_are_the_seeds() -> None:
    still = Augmentation(shift=0.0, rotation=0.0, scale=0.0)
    assert not still and Augmentation(shift=0.1, rotation=0.0, scale=0.0)
    assert torch.equal(moved(IMAGE), IMAGE)
    assert torch.equal(still.draws(3, 7), still.draws(3, 7)) and not torch.equal(
        still.draws(3, 7), still.draws(3, 8)
    )
    assert still.draws(1000, 0).abs().max().item() == pytest.approx(1.0, abs=0.01)


def test_each_image_moves_by_its_own_draws() -> None:
    augmentation = Augmentation(shift=0.25, rotation=0.0, scale=0.0)
    draws = torch.tensor([[0.0, 0, 0, 1, 0], [0.0, 0, 0, 0, 0]])
    found = augmentation.moved(Examples(IMAGE.repeat(2, 1, 1, 1), torch.zeros(2)), draws).inputs
    assert isinstance(found, Tensor)
    assert torch.equal(found[1], IMAGE[0]) and not torch.equal(found[0], IMAGE[0])
