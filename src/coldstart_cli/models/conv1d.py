"""A small convolutional network over time, for windows of sensors and other series."""

from __future__ import annotations

from typing import Annotated, final

from annotated_types import Ge
from torch import Tensor, nn
from torch.nn import functional as F

from coldstart_cli.core.tasks import Inputs
from coldstart_cli.models.network import Encoder, InputShape, scaled
from coldstart_cli.models.norm import Norm, norm_layer


@final
class Conv1d(Encoder):
    """Windows (n, C, T) -> features (n, hidden): blocks of convolution over time, norm, ReLU; then the mean.

    Every convolution halves the steps (stride 2), so that after b blocks a feature sees about kernel_size 2^b
    of them, wherever they lie; as in the fully convolutional networks of Wang, Yan and Oates 2017
    (arXiv:1611.06455), but for stride and norm.

    Args:
        input_shape: (C, T): channels, then steps of time.
        hidden: channels of each block.
        n_blocks: of them.
        kernel_size: steps that a convolution sees, an odd number.
        norm: `group`, `batch` or `batch_transductive`, see `norm.BatchNorm`.
        groups: groups of channels for `group`.

    Raises:
        ValueError: where inputs are not windows, or the kernel is even.
    """

    def __init__(
        self,
        input_shape: InputShape,
        *,
        hidden: Annotated[int, Ge(1)],
        n_blocks: Annotated[int, Ge(1)],
        kernel_size: Annotated[int, Ge(1)],
        norm: Norm,
        groups: Annotated[int, Ge(1)],
    ) -> None:
        super().__init__()
        if not isinstance(input_shape, tuple) or len(input_shape) != 2:
            given = input_shape if isinstance(input_shape, tuple) else ", ".join(input_shape)
            raise ValueError(
                f"model: Conv1d reads windows (C, T), this data set gives {given}; choose model=mlp"
            )
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size: {kernel_size} has no middle; choose an odd number")
        self.input_shape, self.hidden, self.n_blocks, self.kernel_size = (
            input_shape, hidden, n_blocks, kernel_size,
        )  # fmt: skip
        self.norm, self.groups, self.feature_dim = norm, groups, hidden
        self.convs, self.norms = nn.ModuleList(), nn.ModuleList()
        for block in range(n_blocks):
            channels = hidden if block else input_shape[0]
            self.convs.append(nn.Conv1d(channels, hidden, kernel_size, stride=2, padding=kernel_size // 2))
            self.norms.append(norm_layer(norm, hidden, groups))

    def forward(self, inputs: Inputs) -> Tensor:
        assert isinstance(inputs, Tensor)
        maps = scaled(inputs, next(self.convs.parameters()).dtype)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            maps = F.relu(norm(conv(maps).unsqueeze(2)).squeeze(2))  # norms are of maps with a height
        return maps.mean(2)
