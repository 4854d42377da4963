"""A multi-layer perceptron, as for the sinusoids of Finn, Abbeel and Levine (2017, arXiv:1703.03400)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Annotated, Literal, final

import torch
from annotated_types import Ge
from torch import Tensor, nn

from coldstart_cli.core.tasks import Inputs
from coldstart_cli.models.network import Encoder, InputShape, scaled


@final
class MLP(Encoder):
    """Flattened inputs (n, ...) -> features (n, hidden[-1]), an activation after each layer.

    Initial weights are torch's. (Finn's code starts from a truncated normal of std .01.)

    Args:
        input_shape: shape of one input; uint8 inputs are scaled to [0, 1].
        hidden: units of each layer; none: the inputs themselves, flattened, so that a head on them is linear.
        activation: after every layer.

    Raises:
        ValueError: where an input is more than one tensor.
    """

    def __init__(
        self,
        input_shape: InputShape,
        *,
        hidden: list[Annotated[int, Ge(1)]],
        activation: Literal["relu", "tanh"],
    ) -> None:
        super().__init__()
        if not isinstance(input_shape, tuple):
            names = ", ".join(input_shape)
            raise ValueError(
                f"model: MLP reads one tensor, this data set gives {names}; choose a model that reads them"
            )
        self.input_shape, self.hidden, self.activation = input_shape, hidden, activation
        widths = [math.prod(input_shape), *hidden]
        self.feature_dim = widths[-1]
        self.layers = nn.Sequential()
        for narrow, wide in itertools.pairwise(widths):
            self.layers.append(nn.Linear(narrow, wide))
            self.layers.append(nn.ReLU() if activation == "relu" else nn.Tanh())

    def forward(self, inputs: Inputs) -> Tensor:
        assert isinstance(inputs, Tensor)
        weight = next(self.layers.parameters(), None)
        dtype = torch.float32 if weight is None else weight.dtype
        features: Tensor = self.layers(scaled(inputs, dtype).flatten(1))
        return features


def perceptron(widths: Sequence[int]) -> nn.Sequential:
    """Linear layers (n, widths[0]) -> (n, widths[-1]), ReLU between them and none after the last."""
    layers = nn.Sequential()
    for narrow, wide in itertools.pairwise(widths):
        if len(layers):
            layers.append(nn.ReLU())
        layers.append(nn.Linear(narrow, wide))
    return layers


def zeroed(layers: nn.Sequential) -> nn.Sequential:
    """Sets the last layer to zero, in place: the output starts at zero."""
    last = layers[-1]
    assert isinstance(last, nn.Linear)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return layers
