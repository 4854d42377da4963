"""A network is a head on an encoder; a predictor is a network some of whose tensors were adapted."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, final

import torch
from torch import Tensor, nn
from torch.func import functional_call

from coldstart_cli.core import Inputs

InputShape = tuple[int, ...] | Mapping[str, tuple[int, ...]]
"""Shape of one input, without n; for mappings, of each tensor."""


class Encoder(nn.Module, ABC):
    """inputs -> features (n, feature_dim).

    Attributes:
        feature_dim: width of the features.
        vectorizable: torch.func.vmap can lift it; where not, tasks are computed one after another.
        reads: fingerprint of the preprocess whose inputs it reads, or None where it reads any.
    """

    feature_dim: int
    vectorizable: bool = True
    reads: str | None = None

    @abstractmethod
    def forward(self, inputs: Inputs) -> Tensor:
        """Features (n, feature_dim) of n inputs."""


@final
class Network(nn.Module):
    """head(encoder(inputs)): (n, ...) -> (n, n_outputs).

    The functional forms take tensors by their name in the network, `encoder.*` and `head.*`; those
    that are missing are the network's own. All can be lifted by torch.func.vmap if the encoder can.
    """

    def __init__(self, encoder: Encoder, head: nn.Linear) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head

    def forward(self, inputs: Inputs) -> Tensor:
        outputs: Tensor = self.head(self.encoder(inputs))
        return outputs

    def outputs(self, weights: Mapping[str, Tensor], inputs: Inputs) -> Tensor:
        """(n, n_outputs) with `weights` in place of the network's own."""
        outputs: Tensor = functional_call(self, dict(weights), (inputs,))
        return outputs

    def features(self, weights: Mapping[str, Tensor], inputs: Inputs) -> Tensor:
        """(n, feature_dim), read by the encoder with `weights`."""
        features: Tensor = functional_call(self.encoder, below("encoder.", weights), (inputs,))
        return features

    def from_features(self, weights: Mapping[str, Tensor], features: Inputs) -> Tensor:
        """(n, n_outputs) of features (n, feature_dim), by the head with `weights`."""
        outputs: Tensor = functional_call(self.head, below("head.", weights), (features,))
        return outputs


@dataclass(frozen=True, slots=True)
class Trained:
    """What a finished run learned of the source.

    Attributes:
        encoder: its encoder, with the weights it ended with.
        head: `weight` and `bias` of its head over the source's classes, or empty where it has none.
    """

    encoder: Encoder
    head: Mapping[str, Tensor]


class TrainedFactory(Protocol):
    def __call__(self, name: str, path: str) -> Trained:
        """What the run at `path` learned; `name` is the parameter that asks.

        Raises:
            RequestError: where it is no finished run on inputs of the same shape.
        """


def linear_head(feature_dim: int, n_outputs: int) -> nn.Linear:
    """Features (n, feature_dim) -> outputs (n, n_outputs), with torch's initial weights."""
    return nn.Linear(feature_dim, n_outputs)


@final
class Predictor(nn.Module):
    """The network with some of its tensors replaced, in evaluation mode; the network stays as it is.

    A module tree of its own rather than a functional call on the network's: calls cost what the
    network's cost, parameters are counted once, and `eval()` or `to()` cannot reach the network. The
    tensors that were not replaced are shared, so a predictor is valid until the network learns on.

    Args:
        network: (n, ...) -> (n, n_outputs).
        weights: tensors by their name in the network, parameters or buffers; detached here.
    """

    def __init__(self, network: nn.Module, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        shared = {id(t): t for t in (*network.parameters(), *network.buffers())}
        # Every tensor found in the memo is taken for its own copy.
        self.network = copy.deepcopy(network, shared)
        for name, tensor in weights.items():
            owner, _, leaf = name.rpartition(".")
            module = self.network.get_submodule(owner)
            adapted = tensor.detach()
            is_parameter = isinstance(getattr(module, leaf), nn.Parameter)
            setattr(module, leaf, nn.Parameter(adapted, requires_grad=False) if is_parameter else adapted)
        self.eval()

    def forward(self, inputs: Inputs) -> Tensor:
        outputs: Tensor = self.network(inputs)
        return outputs


def scaled(inputs: Tensor, dtype: torch.dtype) -> Tensor:
    """Numbers of the weights' type; uint8 is scaled from [0, 255] to [0, 1]."""
    numbers = inputs.to(dtype)
    return numbers / 255 if inputs.dtype == torch.uint8 else numbers


def below(prefix: str, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix`, named without it."""
    return {name.removeprefix(prefix): w for name, w in weights.items() if name.startswith(prefix)}
