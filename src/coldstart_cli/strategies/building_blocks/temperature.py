"""The temperature that similarities are divided by before a softmax, given or learned."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, TypedDict

import torch
from annotated_types import Gt
from torch import Tensor, nn


class Tempered(TypedDict):
    """Hyper-parameters of strategies whose logits are similarities.

    Attributes:
        temperature: that similarities are divided by; low ones make a decided classifier.
        learn_temperature: learn it with the encoder, from `temperature` on.
    """

    temperature: Annotated[float, Gt(0)]
    learn_temperature: bool


def log_temperature(tempered: Tempered) -> nn.Parameter | None:
    """What learns, a scalar, to be kept under the name `log_temperature`; None where nothing does.

    By its logarithm, so that no step can make the temperature negative.
    """
    if not tempered["learn_temperature"]:
        return None
    return nn.Parameter(torch.tensor(math.log(tempered["temperature"])))


def temperature_in(weights: Mapping[str, Tensor], temperature: float) -> Tensor | float:
    """The learned one among a strategy's weights, or the given one where none is learned."""
    learned = weights.get("log_temperature")
    return temperature if learned is None else learned.exp()


def keep_temperature(module: nn.Module, temperature: Tensor | float) -> None:
    """Keeps it as `module.temperature`: a learned one is a buffer, which a bundle stores."""
    if isinstance(temperature, Tensor):
        module.register_buffer("temperature", temperature)
    else:
        module.temperature = temperature  # type: ignore[assignment]
