"""Batch norm that is folded into the weights of the convolution before it, statistics included.

A convolution's outputs are W p + b for the patches p that it reads, so their mean is W <p> + b, their
variance diag(W cov(p) W'), and

    norm(W p + b) = s W p + (bias - s W <p>),    s = weight / sqrt(variance + epsilon).

Images of one channel have patches of 9 values: their mean and covariance cost little, and save three passes
over the largest images of a network, five where a gradient goes through gradients. Derivatives of every order
are autograd's own for this formula. Forward hooks of the two layers are not called.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from coldstart_cli.models.norm import EPSILON, BatchNorm
from coldstart_cli.processes import batch_parts


class Moments(NamedTuple):
    """Mean (d,) and covariance (d, d) of n vectors; the sum of squares is divided by n."""

    mean: Tensor
    covariance: Tensor
    n: int


def folds(conv: nn.Conv2d, norm: BatchNorm) -> bool:
    """Whether the norm can be folded into the convolution, and is faster there.

    It must use the statistics of this whole batch, and the kernel must not read more values than it writes:
    beyond that, the covariance costs more than the passes that it saves. Exported networks stay plain.
    """
    own = not batch_parts.in_parts() and (norm.training or not norm.running_statistics)
    return own and not torch.compiler.is_compiling() and math.prod(conv.weight.shape[1:]) <= len(conv.weight)


def normalised(conv: nn.Conv2d, norm: BatchNorm, maps: Tensor) -> tuple[Tensor, Tensor]:
    """norm(conv(maps)) for a square kernel; running statistics are updated.

    Returns:
        The images (n, width, H, W), and the shift (width,) that they contain without its gradient: the caller
        sums that where the images are smallest.
    """
    padding, stride = conv.padding, conv.stride[0]
    assert conv.bias is not None and isinstance(padding, tuple)
    moments = patch_moments(maps, conv.kernel_size[0], padding[0], stride)
    rows = conv.weight.flatten(1)
    with torch.autocast(maps.device.type, enabled=False):
        # diag(W cov W'), row by row; without autocast, for bf16 is too coarse for a variance.
        mean, var = rows @ moments.mean, ((rows @ moments.covariance) * rows).sum(1)
    if norm.running_statistics:
        norm.move((mean + conv.bias).detach(), var.detach(), moments.n)
    scale = norm.weight * torch.rsqrt(var + EPSILON)
    shift = (
        norm.bias - scale * mean + 0 * conv.bias
    )  # the bias cancels; autograd still asks for its (zero) gradient
    weight = scale[:, None, None, None] * conv.weight
    return F.conv2d(maps, weight, shift.detach(), stride, padding), shift


def patch_moments(maps: Tensor, size: int, padding: int, stride: int) -> Moments:
    """Moments of the patches (C x size x size values each) of images (n, C, H, W) with a border of zeros."""
    patches = F.pad(maps, [padding] * 4).unfold(2, size, stride).unfold(3, size, stride)
    rows = patches.movedim((4, 5), (2, 3)).reshape(len(maps), maps.shape[1] * size**2, -1)
    n = rows.shape[0] * rows.shape[2]
    mean = rows.mean((0, 2))
    # Centred before the product: <p p'> - <p><p>' would cancel where images are bright and even.
    rows = rows - mean[:, None]
    with torch.autocast(maps.device.type, enabled=False):
        return Moments(mean, torch.bmm(rows, rows.mT).sum(0) / n, n)
