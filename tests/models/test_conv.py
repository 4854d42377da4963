"""Conv4: shapes, layouts, types and derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn import functional as F

from coldstart_cli.models.conv import Conv4, Convolution, _channels_last
from coldstart_cli.models.norm import Norm

NORMS: tuple[Norm, ...] = ("group", "batch", "batch_transductive")
Down = Literal["pool", "stride"]


def conv4(shape: tuple[int, ...], norm: Norm = "group", downsample: Down = "pool", hidden: int = 8) -> Conv4:
    torch.manual_seed(0)
    return Conv4(shape, hidden=hidden, norm=norm, groups=2, downsample=downsample)


@pytest.mark.parametrize(
    ("shape", "downsample", "feature_dim"),
    [
        ((1, 28, 28), "pool", 64),
        ((3, 84, 84), "pool", 1600),
        ((1, 28, 28), "stride", 64),
        ((3, 8, 8), "stride", 64),
        ((2, 16, 33), "pool", 128),
    ],
)
def test_conv4_has_the_feature_dim_it_says(
    shape: tuple[int, ...], downsample: Down, feature_dim: int
) -> None:
    encoder = conv4(shape, downsample=downsample, hidden=64)
    assert encoder.feature_dim == feature_dim
    assert encoder(torch.rand(2, *shape)).shape == (2, feature_dim)


@pytest.mark.parametrize("downsample", ["pool", "stride"])
def test_conv4_equals_torchs_layers(downsample: Down) -> None:
    """The papers' order, ReLU before the pool, in torch's contiguous layout."""
    encoder = conv4((2, 20, 20), "batch_transductive", downsample).double()
    images = torch.rand(5, 2, 20, 20, dtype=torch.float64)
    maps = images
    for conv, norm in zip(encoder.convs, encoder.norms, strict=True):
        assert isinstance(conv, nn.Conv2d) and conv.bias is not None
        stride = 2 if downsample == "stride" else 1
        maps = F.conv2d(maps, conv.weight.contiguous(), conv.bias, stride=stride, padding=1)
        weight, bias = norm.parameters()
        maps = F.relu(F.batch_norm(maps, None, None, weight, bias, True))
        maps = F.max_pool2d(maps, 2) if downsample == "pool" else maps
    expected = maps.flatten(1) if downsample == "pool" else maps.mean((2, 3))
    torch.testing.assert_close(encoder(images), expected)


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": lambda x: x,
    "channels_last": lambda x: x.to(memory_format=torch.channels_last),
    "transposed": lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
    "slice": lambda x: torch.cat([x, 1 - x], 1)[:, : x.shape[1]],
    "every_other": lambda x: torch.stack([x, 1 - x], 1).flatten(0, 1)[::2],
    "expanded": lambda x: x[:1].expand_as(x),
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_channels_last_reads_the_same_images_from_any_layout(channels: int, layout: str) -> None:
    images = LAYOUTS[layout](torch.rand(4, channels, 6, 5))
    moved = _channels_last(images)
    assert torch.equal(moved, images)
    assert moved.stride() == (channels * 30, 1, channels * 5, channels)


@pytest.mark.parametrize("channels", [1, 3])
def test_conv4_keeps_channels_last_to_the_end(channels: int) -> None:
    encoder = conv4((channels, 32, 32))
    strides = []
    for conv in encoder.convs:
        conv.register_forward_hook(
            lambda module, given, maps: strides.append((given[0].stride(1), maps.stride(1)))
        )
    encoder(torch.randint(0, 256, (2, channels, 32, 32), dtype=torch.uint8))
    assert strides == [(1, 1)] * 4


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_conv4_gives_the_same_features_for_any_layout(norm: Norm, layout: str) -> None:
    encoder = conv4((1, 16, 16), norm).double()
    images = LAYOUTS[layout](torch.rand(4, 1, 16, 16, dtype=torch.float64))
    plain = images.clone(memory_format=torch.contiguous_format)
    torch.testing.assert_close(encoder(images), encoder(plain), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_conv4_reads_uint8_as_shares_of_255(dtype: torch.dtype) -> None:
    encoder = conv4((1, 16, 16)).to(dtype)
    images = torch.randint(0, 256, (3, 1, 16, 16), dtype=torch.uint8)
    features = encoder(images)
    assert features.dtype == dtype
    assert torch.equal(features, encoder(images.to(dtype) / 255))


@pytest.mark.parametrize("norm", ["group", "batch_transductive"])
@pytest.mark.parametrize("downsample", ["pool", "stride"])
@pytest.mark.parametrize("channels", [1, 3])
def test_conv4_vmapped_equals_looped_to_second_order(norm: Norm, downsample: Down, channels: int) -> None:
    encoder = conv4((channels, 16, 16), norm, downsample, hidden=4).double()
    images = torch.randint(0, 256, (3, 4, channels, 16, 16), dtype=torch.uint8)
    weights = {
        n: torch.stack([w.detach() * s for s in (1.0, 1.1, 1.2)]) for n, w in encoder.named_parameters()
    }

    def loss(weights: dict[str, Tensor], images: Tensor) -> Tensor:
        features: Tensor = functional_call(encoder, weights, (images,))
        return features.pow(2).sum() + features.sin().sum()

    def inner(weights: dict[str, Tensor], images: Tensor) -> Tensor:
        gradients = torch.func.grad(loss)(weights, images)
        return loss({n: w - 0.01 * gradients[n] for n, w in weights.items()}, images)

    vmapped = vmap(torch.func.grad(inner))(weights, images)
    for i in range(3):
        looped = torch.func.grad(inner)({n: w[i] for n, w in weights.items()}, images[i])
        for name, gradient in looped.items():
            torch.testing.assert_close(vmapped[name][i], gradient, rtol=1e-9, atol=1e-9)


def test_conv4_starts_as_mamls_code_does() -> None:
    encoder = conv4((1, 28, 28), hidden=64)
    last = encoder.convs[-1]
    assert isinstance(last, nn.Conv2d) and last.bias is not None
    assert not last.bias.any()
    assert last.weight.std().item() == pytest.approx((2 / (2 * 64 * 9)) ** 0.5, rel=0.03)


def test_conv4_refuses_what_is_no_image() -> None:
    with pytest.raises(
        ValueError,
        match=r"^model: Conv4 reads images \(C, H, W\), this data set gives \(1,\); choose model=mlp$",
    ):
        conv4((1,))


def test_conv4_refuses_images_too_small_for_its_pools() -> None:
    with pytest.raises(
        ValueError, match=r"^input_shape: 15x28 is too small .*; choose model.downsample=stride"
    ):
        conv4((1, 15, 28))
    assert conv4((1, 1, 1), downsample="stride")(torch.rand(2, 1, 1, 1)).shape == (2, 8)


@pytest.mark.parametrize("bias_cancels", [False, True])
@pytest.mark.parametrize("lifted", [False, True])
def test_convolution_has_torchs_derivatives_to_second_order(bias_cancels: bool, lifted: bool) -> None:
    torch.manual_seed(0)
    ours = Convolution(2, 4, stride=1, bias_cancels=bias_cancels).double()
    theirs = nn.Conv2d(2, 4, 3, padding=1).double()
    images, pull = torch.randn(3, 5, 2, 6, 6).double(), torch.randn(3, 5, 4, 6, 6).double()
    start = {n: w.detach() + 0.1 * torch.randn(3, *w.shape).double() for n, w in ours.named_parameters()}
    results = []
    for conv in (ours, theirs):
        weights = {n: w.clone().requires_grad_() for n, w in start.items()}

        def loss(w: dict[str, Tensor], x: Tensor, p: Tensor, conv: nn.Module = conv) -> Tensor:
            maps = functional_call(conv, w, (x,))
            if bias_cancels:  # as the norm behind it does
                maps = maps - maps.mean((0, 2, 3), keepdim=True)
            return (maps.sin() * p).sum()

        def total(w: dict[str, Tensor], loss: Callable[..., Tensor] = loss) -> Tensor:
            if lifted:
                return torch.func.vmap(loss)(w, images, pull).sum()
            each = zip(images, pull, strict=True)
            return torch.stack([loss({n: v[i] for n, v in w.items()}, *x) for i, x in enumerate(each)]).sum()

        first = torch.autograd.grad(total(weights), list(weights.values()), create_graph=True)
        moved = {n: w - 0.01 * g for (n, w), g in zip(weights.items(), first, strict=True)}
        second = torch.autograd.grad(total(moved), list(weights.values()))
        results.append((*first, *second))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
    assert results[0][1].abs().max() > 1e-3 or bias_cancels


def test_bias_cancels_only_where_the_norm_takes_the_means_always() -> None:
    for norm, cancels in (("group", False), ("batch", False), ("batch_transductive", True)):
        layers = conv4((1, 16, 16), norm).convs  # type: ignore[arg-type]
        assert [layer.bias_cancels for layer in layers] == [cancels] * 4


@pytest.mark.parametrize("norm", NORMS)
def test_conv4_reads_a_single_image_and_differentiates_it(norm: Norm) -> None:
    encoder = conv4((1, 16, 16), norm)
    image = torch.rand(1, 1, 16, 16)
    with torch.no_grad():
        alone = encoder(image)
    learned = encoder(image)
    learned.square().sum().backward()
    torch.testing.assert_close(alone, learned)
    assert all(p.grad is not None for p in encoder.parameters())


@pytest.mark.parametrize("downsample", ["pool", "stride"])
def test_maps_end_in_the_features(downsample: Literal["pool", "stride"]) -> None:
    encoder = Conv4((1, 28, 28), hidden=4, norm="group", groups=2, downsample=downsample)
    images = torch.rand(2, 1, 28, 28)
    maps = list(encoder.maps(images))
    assert tuple(m.shape[1] for m in maps) == encoder.map_channels
    sizes = [14, 7, 3, 1] if downsample == "pool" else [14, 7, 4, 2]
    assert [m.shape[-1] for m in maps] == sizes
    assert all((m >= 0).all() for m in maps)
    assert torch.equal(encoder.from_last_map(maps[-1]), encoder(images))
