"""A batch norm inside the convolution before it: the same numbers to second order, and when."""

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from coldstart_cli.models import folded_norm
from coldstart_cli.models.folded_norm import folds, normalised, patch_moments
from coldstart_cli.models.norm import BatchNorm

WIDTH = 12


def layers(
    channels: int = 1,
    mode: str = "batch_transductive",
    *,
    stride: int = 1,
    dtype: torch.dtype = torch.float64,
) -> tuple[nn.Conv2d, BatchNorm]:
    torch.manual_seed(0)
    conv, norm = nn.Conv2d(channels, WIDTH, 3, stride, 1), BatchNorm(WIDTH, mode=mode)  # type: ignore[arg-type]
    nn.init.uniform_(norm.weight, -1, 1)
    nn.init.normal_(norm.bias)
    return conv.to(dtype), norm.to(dtype)


def folded(conv: nn.Conv2d, norm: BatchNorm, images: Tensor) -> Tensor:
    maps, shift = normalised(conv, norm, images)
    return maps + (shift - shift.detach())[:, None, None]  # the gradient that the caller sums


def test_patch_moments_are_numpys_of_patches_by_hand() -> None:
    images = torch.rand(2, 3, 5, 4, dtype=torch.float64)
    padded = np.pad(images.numpy(), ((0, 0), (0, 0), (1, 1), (1, 1)))
    patches = [
        padded[n, :, y : y + 3, x : x + 3].ravel() for n in range(2) for y in (0, 2, 4) for x in (0, 2)
    ]
    mean, covariance, n = patch_moments(images, 3, 1, 2)
    assert n == len(patches) == 12
    np.testing.assert_allclose(mean, np.mean(patches, 0), atol=1e-14)
    np.testing.assert_allclose(covariance, np.cov(np.transpose(patches), bias=True), atol=1e-14)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_folded_norm_equals_norm_after_convolution_to_second_order(
    channels: int, stride: int, layout: torch.memory_format
) -> None:
    conv, norm = layers(channels, stride=stride)
    images = torch.rand(4, channels, 7, 6, dtype=torch.float64).to(memory_format=layout).requires_grad_()
    wanted = [images, conv.weight, conv.bias, norm.weight, norm.bias]
    toward = torch.randn(4, WIDTH, -(-7 // stride), -(-6 // stride), dtype=torch.float64)

    def derivatives(outputs: Tensor) -> list[Tensor]:
        loss = (outputs * toward).sin().sum()
        first = torch.autograd.grad(loss, wanted, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), wanted)
        return [outputs, *first, *second]

    for ours, plain in zip(
        derivatives(folded(conv, norm, images)), derivatives(norm(conv(images))), strict=True
    ):
        torch.testing.assert_close(ours, plain, rtol=1e-9, atol=1e-9)


def test_folded_norm_gives_a_cancelled_bias_a_gradient_of_zero() -> None:
    conv, norm = layers()
    (gradient,) = torch.autograd.grad(folded(conv, norm, torch.rand(4, 1, 7, 6).double()).sum(), [conv.bias])
    assert torch.equal(gradient, torch.zeros(WIDTH).double())


def test_folded_norm_moves_the_same_running_statistics() -> None:
    conv, norm = layers(mode="batch")
    plain, images = copy.deepcopy(norm), torch.rand(4, 1, 7, 6, dtype=torch.float64)
    normalised(conv, norm, images)
    plain(conv(images))
    for name, buffer in plain.named_buffers():
        torch.testing.assert_close(norm.get_buffer(name), buffer)


@pytest.mark.parametrize("brightness", [0.0, 1.0, 200.0])
def test_folded_norm_is_as_exact_as_the_norm_on_dull_images(brightness: float) -> None:
    """The variance is that of centred patches: nothing cancels, and none is negative."""
    conv, norm = layers(dtype=torch.float32)
    images = brightness + 0.01 * torch.rand(8, 1, 28, 28)
    exact = copy.deepcopy(norm).double()(copy.deepcopy(conv).double()(images.double()))
    errors = [(outputs - exact).abs().max() for outputs in (folded(conv, norm, images), norm(conv(images)))]
    assert errors[0] < max(1e-5, 3 * errors[1])


def test_folded_norm_keeps_its_statistics_in_float32_under_bfloat16() -> None:
    conv, norm = layers(dtype=torch.float32)
    images = torch.rand(8, 1, 28, 28)
    with torch.autocast("cpu", torch.bfloat16):
        near = folded(conv, norm, images)
    assert (near - norm(conv(images))).abs().mean() < 0.01


def test_norm_folds_where_its_statistics_are_of_few_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    assert folds(*layers(1)) and not folds(*layers(2))  # 9 and 18 values read, 12 written
    conv, norm = layers(mode="batch")
    assert folds(conv, norm) and not folds(conv, norm.eval())
    monkeypatch.setattr(folded_norm.batch_parts, "in_parts", lambda: True)
    assert not folds(*layers(1))
