"""A network is a head on an encoder; a predictor is a network some of whose tensors were adapted."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import BuiltinFunctionType, FunctionType
from typing import Protocol, final

import torch
from torch import Tensor, nn
from torch.func import functional_call

from coldstart_cli.core.tasks import Inputs

InputShape = tuple[int, ...] | Mapping[str, tuple[int, ...]]
"""Shape of one input, without n; for mappings, of each tensor."""


class Encoder(nn.Module, ABC):
    """inputs -> features (n, feature_dim).

    Attributes:
        feature_dim: width of the features.
        vectorizable: whether torch.func.vmap can lift it; if not, tasks are computed one after another.
        reads: fingerprint of the preprocess whose output it reads, or None where it reads anything.
        map_channels: channels of the map after each block, first to last; empty where it has no such maps.
    """

    feature_dim: int
    vectorizable: bool = True
    reads: str | None = None
    map_channels: tuple[int, ...] = ()

    @abstractmethod
    def forward(self, inputs: Inputs) -> Tensor:
        """Features (n, feature_dim) of n inputs."""

    def maps(self, inputs: Inputs) -> Iterator[Tensor]:
        """The map (n, channels, height, width) after each block, which distillation compares."""
        return iter(())

    def blocks(self) -> list[nn.Module]:
        """Modules that `forward` calls in turn, of which a device may hold one whole at a time; or none."""
        return []

    def from_last_map(self, maps: Tensor) -> Tensor:
        """The features (n, feature_dim) that `forward` makes of the last block's map."""
        raise NotImplementedError


@final
class Network(nn.Module):
    """head(encoder(inputs)): (n, ...) -> (n, n_outputs).

    The functional forms take tensors by their name in the network, `encoder.*` and `head.*`; for
    missing ones the network's own are used. All can be lifted by torch.func.vmap if the encoder can.
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
            RequestError: where it is not a finished run on inputs of the same shape.
        """


def linear_head(feature_dim: int, n_outputs: int) -> nn.Linear:
    """Features (n, feature_dim) -> outputs (n, n_outputs), with torch's initial weights."""
    return nn.Linear(feature_dim, n_outputs)


def blank_head(feature_dim: int, n_outputs: int) -> nn.Linear:
    """A head whose weights will be replaced. It draws no random numbers, so adaptation can be recorded."""
    head = nn.Linear.__new__(nn.Linear)  # its constructor draws random weights
    nn.Module.__init__(head)
    head.in_features, head.out_features = feature_dim, n_outputs
    head.weight = nn.Parameter(torch.zeros(n_outputs, feature_dim))
    head.bias = nn.Parameter(torch.zeros(n_outputs))
    return head


@final
class Predictor(nn.Module):
    """The network with some of its tensors replaced, in evaluation mode; the network stays as it is.

    A separate module tree rather than a functional call on the network: a call costs as much as the
    network's, parameters are counted once, and `eval()` or `to()` cannot reach the network. Tensors that
    were not replaced are shared, so a predictor is valid until the network is trained further.

    Args:
        network: (n, ...) -> (n, n_outputs).
        weights: tensors by their name in the network, parameters or buffers; detached here.
    """

    def __init__(self, network: nn.Module, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.network = tree_of(network)
        for name, tensor in weights.items():
            owner, _, leaf = name.rpartition(".")
            module = self.network.get_submodule(owner)
            adapted = tensor.detach()
            # A buffer stays a buffer, or parameters would be counted wrongly.
            is_parameter = isinstance(getattr(module, leaf), nn.Parameter)
            setattr(module, leaf, nn.Parameter(adapted, requires_grad=False) if is_parameter else adapted)
        self.eval()

    def forward(self, inputs: Inputs) -> Tensor:
        outputs: Tensor = self.network(inputs)
        return outputs


def tree_of(network: nn.Module) -> nn.Module:
    """A separate module tree around the same tensors.

    Where modules hold only tensors, modules and plain values, their dictionaries are copied, at a tenth of
    the cost of a deep copy: evaluation makes a predictor for every step that it scores.
    """
    modules = list(network.modules())
    if all(_is_plain(module) for module in modules):
        # By identity: a module that is used in two places stays one module.
        trees = {id(module): copy.copy(module) for module in modules}
        for tree in trees.values():
            for name in ("_parameters", "_buffers"):
                tree.__dict__[name] = dict(tree.__dict__[name])
            below = tree.__dict__["_modules"].items()
            tree.__dict__["_modules"] = {n: None if m is None else trees[id(m)] for n, m in below}
        return trees[id(network)]
    shared = {id(t): t for t in (*network.parameters(), *network.buffers())}
    return copy.deepcopy(
        network, shared
    )  # deepcopy returns what its memo holds for an object: here the tensor itself


_OWN = frozenset(vars(nn.Module()))
_FUNCTION = (FunctionType, BuiltinFunctionType)
_PLAIN = (bool, int, float, str, torch.dtype, torch.device, type(None), *_FUNCTION)


def _is_plain(module: nn.Module) -> bool:
    """Whether it has no hooks, and no object that might hold another module or tensor."""
    own = vars(module)
    # Hooks may refer to the module that they were registered on, which a shallow copy would still share.
    if any(own[name] for name in _OWN if "hooks" in name and name in own):
        return False
    values = (value for name, value in own.items() if name not in _OWN)
    return all(
        isinstance(v, _PLAIN) or (isinstance(v, tuple | list) and all(isinstance(item, _PLAIN) for item in v))
        for v in values
    )


def scaled(inputs: Tensor, dtype: torch.dtype) -> Tensor:
    """The inputs in the weights' type; uint8 is scaled from [0, 255] to [0, 1]."""
    numbers = inputs.to(dtype)
    return numbers / 255 if inputs.dtype == torch.uint8 else numbers


def below(prefix: str, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix`, named without it."""
    return {name.removeprefix(prefix): w for name, w in weights.items() if name.startswith(prefix)}
