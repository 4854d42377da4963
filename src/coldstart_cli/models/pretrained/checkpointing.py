"""Layers whose activations are computed again for the gradient, not kept: Chen et al. 2016, arXiv:1604.06174.

torch's checkpoint computes a layer again with whatever tensors the layer has by then. Tensors that were put
into it for one call, by `functional_call` or `low_rank_layers.placed`, are gone by then, and gradients would
be those of another network. Here a layer is computed again as it was: with its tensors, and after the keys
and values that stood before it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def checkpoint_layers(decoder: nn.Module) -> None:
    """Lets every layer of a decoder of transformers (`decoder.layers`) keep its inputs alone, in place.

    Raises:
        ValueError: where it has no such list.
    """
    layers = getattr(decoder, "layers", None)
    if not isinstance(layers, nn.ModuleList):
        raise ValueError(
            f"checkpointing: true, and {type(decoder).__name__} has no list of layers; choose false"
        )
    for index, layer in enumerate(layers):
        # By its class: a module around it would change the names of all weights.
        kind: Any = type(layer)  # which mypy takes for unhashable
        layer.__class__ = _checkpointed(kind)
        setattr(layer, "place_in_cache", index)  # noqa: B010


class _Checkpointed(nn.Module):
    """(hidden states, ..., past_key_values=cache) -> hidden states; the cache gets the layer's own."""

    place_in_cache: int

    def forward(self, hidden: Tensor, *arguments: Any, past_key_values: Any = None, **named: Any) -> Any:
        plain: Callable[..., Any] = super().forward
        if not torch.is_grad_enabled():
            return plain(hidden, *arguments, past_key_values=past_key_values, **named)
        own = [(module, _state(module)) for module in self.modules()]
        known, first = _of_cache(past_key_values, self.place_in_cache), True

        def computed(hidden: Tensor) -> Any:
            nonlocal first
            if first:
                first = False
                return plain(hidden, *arguments, past_key_values=past_key_values, **named)
            now = [_state(module) for module, _ in own]
            for module, state in own:
                module.__dict__.update(state)
            later = _of_cache(past_key_values, self.place_in_cache)
            _put_back(past_key_values, self.place_in_cache, known)
            try:
                return plain(hidden, *arguments, past_key_values=past_key_values, **named)
            finally:
                _put_back(past_key_values, self.place_in_cache, later)
                for (module, _), state in zip(own, now, strict=True):
                    module.__dict__.update(state)

        # No dropout is on in a pretrained network, so there is no chance to be drawn again alike.
        return checkpoint(computed, hidden, use_reentrant=False, preserve_rng_state=False)


@cache
def _checkpointed(kind: type[nn.Module]) -> type[nn.Module]:
    return type(kind.__name__, (_Checkpointed, kind), {})


def _state(module: nn.Module) -> dict[str, Any]:
    """All that a module computes with, its tensors as they are placed now."""
    own = vars(module)
    return {**own, "_parameters": dict(own["_parameters"]), "_buffers": dict(own["_buffers"])}


def _of_cache(held: Any, place: int) -> tuple[Tensor, Tensor] | None:
    """Keys and values of a layer, or None where it has none yet."""
    if held is None or len(held.layers) <= place or not held.layers[place].is_initialized:
        return None
    return held.layers[place].keys, held.layers[place].values


def _put_back(held: Any, place: int, known: tuple[Tensor, Tensor] | None) -> None:
    if held is None or len(held.layers) <= place:
        return
    if known is None:
        held.layers[place].is_initialized = False  # it begins anew
    else:
        held.layers[place].keys, held.layers[place].values = known
