"""Images in other sizes and styles."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F


def resized(images: NDArray[np.uint8], size: int) -> Tensor:
    """Images (n, H, W) -> (n, 1, size, size), both uint8, by antialiased bilinear interpolation."""
    tensor = torch.from_numpy(images.copy()).unsqueeze(1)
    if tensor.shape[-2:] == (size, size):
        return tensor
    return F.interpolate(tensor, (size, size), mode="bilinear", antialias=True)


def distorted(images: Tensor, style: NDArray[np.float64]) -> Tensor:
    """The images in a style, five numbers in [0, 1): a shift of domain that is made of the source alone.

    Size .7 to 1.3 of each side, rotation up to 15 degrees, shear up to .3, and brightness v -> v^g with g
    from .4 to 2.5: what scanners and cropping change.
    """
    if not len(images):
        return images
    u = 2 * style - 1
    angle, shear = np.deg2rad(15) * u[0], 0.3 * u[1]
    width, height = 1 / (1 + 0.3 * u[2]), 1 / (1 + 0.3 * u[3])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = np.diag([width, height]) @ np.array([[1, shear], [0, 1]]) @ turn
    theta = torch.from_numpy(np.concatenate([matrix, np.zeros((2, 1))], axis=1)).float()
    grid = F.affine_grid(theta.expand(len(images), 2, 3), list(images.shape), align_corners=False)
    moved = F.grid_sample(images.float() / 255, grid, align_corners=False)
    return (255 * moved.clamp(0, 1) ** float(2.5 ** u[4])).round().to(torch.uint8)
