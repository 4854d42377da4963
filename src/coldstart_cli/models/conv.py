"""Conv4, the network of Vinyals et al. (2016, arXiv:1606.04080) and of most few-shot papers since.

Images are stored with the channel last, which reduces a step on a CPU to about two thirds of its time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, final

import torch
from annotated_types import Ge
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional as F

from coldstart_cli.core.tasks import Inputs
from coldstart_cli.models.folded_norm import folds, normalised
from coldstart_cli.models.network import Encoder, InputShape, scaled
from coldstart_cli.models.norm import BatchNorm, Norm, norm_layer

N_BLOCKS = 4


@final
class Convolution(nn.Conv2d):
    """torch's convolution with a bias, differentiated faster.

    For the gradients of weight and bias together, oneDNN takes 2.8 times as long as for the weight's alone
    with images of one channel, and 1.15 times as long with 64 channels.

    Args:
        bias_cancels: the next layer subtracts each channel's mean, so the bias's gradient is zero and is
            not summed up from rounding errors.
    """

    def __init__(self, channels: int, width: int, *, stride: int, bias_cancels: bool) -> None:
        super().__init__(channels, width, 3, stride, padding=1)
        self.bias_cancels = bias_cancels

    def forward(self, maps: Tensor) -> Tensor:
        if not torch.is_grad_enabled() or torch.compiler.is_compiling():  # as when a network is exported
            return super().forward(maps)
        assert self.bias is not None
        # Detached: oneDNN adds the bias in the same pass, and its gradient is `_BiasApart`'s.
        convolved = F.conv2d(maps, self.weight, self.bias.detach(), self.stride, self.padding)
        with_bias: Tensor = _BiasApart.apply(convolved, self.bias, self.bias_cancels)  # type: ignore[no-untyped-call]
        return with_bias


class _BiasApart(Function):
    """(maps that already contain the bias, bias) -> maps; the bias gets its gradient separately."""

    generate_vmap_rule = True

    @staticmethod
    def forward(maps: Tensor, bias: Tensor, cancels: bool) -> Tensor:
        return torch.ops.aten.alias(maps)  # type: ignore[no-any-return]  # `view_as` rewrites one image's strides

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, bool], output: Tensor) -> None:
        """The bias acts linearly, so its values are not needed for the gradient."""
        ctx.cancels = inputs[2]

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor, None]:
        # A zero rather than None: gradients are requested for every parameter.
        return g, g.new_zeros(g.shape[1]) if ctx.cancels else g.sum((0, 2, 3)), None


@final
class Conv4(Encoder):
    """Images (n, C, H, W) -> features (n, feature_dim): four blocks conv 3x3, norm, ReLU, downsampling.

    With `pool`, a 2x2 max-pool ends each block and the last map is flattened (Vinyals 2016, section
    4.1.1: 28x28 -> `hidden` features). With `stride`, the convolutions have stride 2 and the last map
    is averaged (Finn 2017, arXiv:1703.03400, section 5.2: MAML's network for Omniglot). Initial
    weights as in MAML's code: Glorot's uniform distribution, zero biases.

    Args:
        input_shape: (C, H, W); uint8 images are scaled to [0, 1].
        hidden: channels of each block.
        norm: `group`, `batch` or `batch_transductive`, see `norm.BatchNorm`.
        groups: groups of channels for `group`.
        downsample: `pool` or `stride`.

    Raises:
        ValueError: where inputs are not images, or are too small to be halved four times.
    """

    def __init__(
        self,
        input_shape: InputShape,
        *,
        hidden: Annotated[int, Ge(1)],
        norm: Norm,
        groups: Annotated[int, Ge(1)],
        downsample: Literal["pool", "stride"],
    ) -> None:
        super().__init__()
        channels, height, width = _image_shape(input_shape)
        # Pooling rounds down at each block, which four shifts of one bit do as well.
        pooled = (height >> N_BLOCKS) * (width >> N_BLOCKS)
        if downsample == "pool" and not pooled:
            raise ValueError(
                f"input_shape: {height}x{width} is too small to be halved {N_BLOCKS} times; "
                "choose model.downsample=stride or model=mlp"
            )
        self.input_shape, self.hidden, self.norm = input_shape, hidden, norm
        self.groups, self.downsample = groups, downsample
        self.feature_dim = hidden * pooled if downsample == "pool" else hidden
        self.map_channels = (hidden,) * N_BLOCKS
        self.convs = nn.ModuleList()
        self.norms = nn.ModuleList()
        for block in range(N_BLOCKS):
            stride = 2 if downsample == "stride" else 1
            conv = Convolution(
                hidden if block else channels,
                hidden,
                stride=stride,
                # With `batch`, adaptation uses running statistics, under which the bias has a gradient.
                bias_cancels=norm == "batch_transductive",
            )
            nn.init.xavier_uniform_(conv.weight)
            assert conv.bias is not None
            nn.init.zeros_(conv.bias)
            self.convs.append(conv.to(memory_format=torch.channels_last))  # type: ignore[call-overload]
            self.norms.append(norm_layer(norm, hidden, groups))

    def forward(self, inputs: Inputs) -> Tensor:
        # Not by `maps`: an export would have to trace a generator.
        maps = self._images(inputs)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            maps = self._block(conv, norm, maps)
        return self.from_last_map(maps)

    def maps(self, inputs: Inputs) -> Iterator[Tensor]:
        maps = self._images(inputs)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            maps = self._block(conv, norm, maps)
            yield maps

    def from_last_map(self, maps: Tensor) -> Tensor:
        return maps.flatten(1) if self.downsample == "pool" else maps.mean((2, 3))

    def _images(self, inputs: Inputs) -> Tensor:
        assert isinstance(inputs, Tensor)
        first = self.convs[0]
        assert isinstance(first, nn.Conv2d)
        return scaled(_channels_last(inputs), first.weight.dtype)

    def _block(self, conv: nn.Module, norm: nn.Module, maps: Tensor) -> Tensor:
        return F.relu(self._pooled(conv, norm, maps) if self.downsample == "pool" else norm(conv(maps)))

    def _pooled(self, conv: nn.Module, norm: nn.Module, maps: Tensor) -> Tensor:
        """Pools before ReLU: the same values, and a quarter of the work for ReLU."""
        if not (isinstance(conv, Convolution) and isinstance(norm, BatchNorm) and folds(conv, norm)):
            return F.max_pool2d(norm(conv(maps)), 2)
        maps, shift = normalised(conv, norm, maps)
        # Max-pooling commutes with a shift, so its gradient is summed over a quarter of the values.
        shifted: Tensor = _BiasApart.apply(F.max_pool2d(maps, 2), shift, False)  # type: ignore[no-untyped-call]
        return shifted


def _image_shape(input_shape: InputShape) -> tuple[int, int, int]:
    if not isinstance(input_shape, tuple) or len(input_shape) != 3:
        given = input_shape if isinstance(input_shape, tuple) else ", ".join(input_shape)
        raise ValueError(
            f"model: Conv4 reads images (C, H, W), this data set gives {given}; choose model=mlp"
        )
    return input_shape


def _channels_last(images: Tensor) -> Tensor:
    """The same images (n, C, H, W) with the channel's stride 1, also where C is 1.

    `contiguous(memory_format=channels_last)` cannot be called under vmap, and leaves images of one channel as
    they are, since their layout counts as both.
    """
    if images.shape[1] == 1:
        return images.squeeze(1).contiguous().unsqueeze(-1).movedim(-1, 1)
    return images.movedim(1, -1).contiguous().movedim(-1, 1)
