"""Training images moved at random: each is shifted, turned and scaled anew in every outer step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Le, Lt
from torch import Tensor
from torch.nn import functional as F

from coldstart_cli.core.tasks import Examples


@dataclass(frozen=True, kw_only=True, slots=True)
class Augmentation:
    """How far training images are moved at most; all 0 moves nothing.

    Attributes:
        shift: share of the side, along each axis.
        rotation: degrees, to either side.
        scale: of each side, .2 for .8 to 1.2.
    """

    shift: Annotated[float, Ge(0), Le(1)]
    rotation: Annotated[float, Ge(0), Le(180)]
    scale: Annotated[float, Ge(0), Lt(1)]

    def __bool__(self) -> bool:
        return max(self.shift, self.rotation, self.scale) > 0

    def draws(self, n: int, seed: int) -> Tensor:
        """Uniform numbers (n, 5) in [-1, 1): what `moved` needs of n images, a function of the seed."""
        return 2 * torch.rand(n, 5, generator=torch.Generator().manual_seed(seed)) - 1

    def moved(self, examples: Examples, draws: Tensor) -> Examples:
        """The examples, images (n, C, H, W) of uint8 or reals, moved by draws (n, 5); what is bared is 0."""
        images = examples.inputs
        assert isinstance(images, Tensor)
        angle = math.radians(self.rotation) * draws[:, 0]
        # The grid says where a pixel comes from, so a larger image has the smaller step.
        width, height = (1 / (1 + self.scale * draws[:, i]) for i in (1, 2))
        x, y = (2 * self.shift * draws[:, i] for i in (3, 4))  # the grid's side is 2 long
        theta = torch.stack(
            [width * angle.cos(), -width * angle.sin(), x, height * angle.sin(), height * angle.cos(), y], 1
        ).view(-1, 2, 3)
        reals = images.float()
        grid = F.affine_grid(theta.to(reals.device), list(images.shape), align_corners=False)
        found = F.grid_sample(reals, grid, align_corners=False)
        if images.dtype == torch.uint8:
            found = found.round().clamp(0, 255)
        return Examples(found.to(images.dtype), examples.targets)
