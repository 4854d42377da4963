"""Adapters in peft's format, merged into the weights of a pretrained network when it is loaded.

- LoRA: W + scale B A, scale being alpha / r, or alpha / sqrt(r) where it is rank-stabilised; Hu et al. 2021,
  arXiv:2106.09685, and Kalajdzievski 2023, arXiv:2312.03732.
- (IA)^3: rows of W and of its bias, or columns of W, times learned scales; Liu et al. 2022, arXiv:2205.05638.

A network with a merged adapter is a pretrained network like any other: every strategy can start from it.
"""

from __future__ import annotations

import functools
import logging
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
from annotated_types import doc
from torch import Tensor, nn

from coldstart_cli.digests import digest
from coldstart_cli.files.regular import read_bytes
from coldstart_cli.files.untrusted import LARGEST_JSON, Foreign, json_values, read_text
from coldstart_cli.models.pretrained.hf import WEIGHTS, content_digest, folder_of, unreadable
from coldstart_cli.safe_text import printable

Adapter = Annotated[str, doc("a folder that peft wrote, package:NAME/FOLDER, or a hub name")] | None
"""Whose update is merged into the network at `path`; None: no adapter."""

CONFIG, TENSORS = "adapter_config.json", "adapter_model.safetensors"
_PREFIX = "base_model.model."
_TENSORS = {"LORA": (".lora_A.weight", ".lora_B.weight"), "IA3": (".ia3_l",)}
"""Kind of an adapter -> what follows the name of a layer in those of its tensors."""
# What these keys say is of training, of other programs, or in the names and shapes of the tensors.
_HARMLESS = {
    *("task_type", "peft_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision"),
    *("inference_mode", "r", "target_modules", "exclude_modules", "lora_alpha", "lora_dropout"),
    *("fan_in_fan_out", "use_rslora", "layers_to_transform", "layers_pattern", "megatron_core"),
    *("qalora_group_size", "runtime_config", "feedforward_modules", "init_ia3_weights"),
}
# First factors other than these are taken out of W, as by pissa.
_NEUTRAL = {"bias": ("none",), "init_lora_weights": (True, "gaussian", "orthogonal", "eva")}

_log = logging.getLogger(__name__)


def weights_digest(folder: Path, adapter: Adapter) -> str:
    """Sixteen hexadecimal digits over what a network of a folder computes with, its adapter's files included.

    Raises:
        ValueError: where there is no such adapter.
    """
    own = content_digest(folder, WEIGHTS)
    return own if adapter is None else digest([own, content_digest(_folder(adapter), (CONFIG, TENSORS))])


def merge_adapter(network: nn.Module, adapter: Adapter, path: str) -> None:
    """Changes the weights of a network as an adapter of peft changes its outputs; sums are in float32.

    Args:
        path: where the network was loaded from, which the adapter may have been made for.

    Raises:
        ValueError: where there is no such adapter, it is damaged, of a kind that is not served, or of another
            network.
    """
    if adapter is None:
        return
    folder = _folder(adapter)
    config = _config(folder)
    made_for = config.get("base_model_name_or_path")
    if made_for not in (None, "", path):
        other = printable(str(made_for))  # somebody else's words
        _say_once(f"model.adapter: {adapter} says that it was made for {other}, and is merged into {path}")
    parts = _parts(folder, _TENSORS[config["peft_type"]])
    with torch.no_grad():
        for name, tensors in parts.items():
            layer = _layer(network, name, folder)
            if config["peft_type"] == "IA3":
                fits = _scale(layer, tensors[".ia3_l"])
            else:
                fits = _add(layer, tensors[".lora_A.weight"], tensors[".lora_B.weight"], config)
            if not fits:
                shapes = " and ".join(str(tuple(tensors[kind].shape)) for kind in sorted(tensors))
                rank = f" of rank {config['r']}" if "r" in config else ""
                raise ValueError(
                    f"adapter: {folder} has {shapes}{rank} for {name}, which is {tuple(layer.weight.shape)}; "
                    "give the model that it was made for as model.path"
                )


def _folder(adapter: str) -> Path:
    try:
        folder = folder_of(adapter)
    except ValueError as error:
        raise ValueError(f"adapter: {str(error).removeprefix('path: ')}") from error
    for name in (CONFIG, TENSORS):
        if not (folder / name).is_file():
            pickled = name == TENSORS and (folder / "adapter_model.bin").exists()
            why = f"has its weights only as a pickle, not as {name}" if pickled else f"has no {name}"
            raise ValueError(f"adapter: {folder} {why}; give a folder that peft wrote as safetensors")
    return folder


def _config(folder: Path) -> Mapping[str, Any]:
    try:
        config: dict[str, Any] = json_values(read_text(folder / CONFIG, LARGEST_JSON))
    except (OSError, Foreign) as error:
        raise ValueError(f"adapter: {folder / CONFIG} cannot be read ({error}); give another") from error
    kind = config.get("peft_type") if isinstance(config, dict) else None
    if kind not in _TENSORS:
        raise ValueError(f"adapter: {folder} is a {kind}, and LORA and IA3 are served; give one of these")
    if kind == "LORA" and not all(_positive(config.get(key)) for key in ("r", "lora_alpha")):
        raise ValueError(f"adapter: {folder / CONFIG} has no positive r and lora_alpha; give another")
    other = [key for key, value in config.items() if value and key not in _HARMLESS]
    other = [key for key in other if config[key] not in _NEUTRAL.get(key, ())]
    if other:
        raise ValueError(f"adapter: {folder} sets {', '.join(other)}, which is not served; give one without")
    return config


def _positive(value: object) -> bool:
    return isinstance(value, int | float) and value > 0


def _parts(folder: Path, kinds: tuple[str, ...]) -> dict[str, dict[str, Tensor]]:
    """Name of a layer -> its tensors, each by what follows the layer in its name."""
    from safetensors.torch import load

    try:
        tensors = load(read_bytes(folder / TENSORS))
    except Exception as error:  # files from elsewhere can raise nearly anything
        raise ValueError(f"adapter{unreadable(folder, error).removeprefix('path')}") from error
    found: defaultdict[str, dict[str, Tensor]] = defaultdict(dict)
    for name, tensor in tensors.items():
        kind = next((kind for kind in kinds if name.endswith(kind)), None)
        if kind is None or not name.startswith(_PREFIX):
            raise ValueError(f"adapter: {folder} changes {name}, which is not served; give one without")
        if not torch.isfinite(tensor).all():
            raise ValueError(f"adapter: {folder} is damaged (not every number of {name} is finite)")
        found[name.removeprefix(_PREFIX).removesuffix(kind)][kind] = tensor
    for name, of_layer in found.items():
        if len(of_layer) < len(kinds):
            raise ValueError(f"adapter: {folder} is damaged ({name} has only {', '.join(of_layer)})")
    if not found:
        raise ValueError(f"adapter: {folder / TENSORS} is empty; give another")
    return found


def _layer(network: Any, name: str, folder: Path) -> Any:
    # With a head or without: an adapter of one serves the other, whose layers are the same.
    within = f"{network.base_model_prefix}."
    layers = dict(network.named_modules())
    layer: Any = layers.get(name) or layers.get(name.removeprefix(within)) or layers.get(within + name)
    if not isinstance(layer, nn.Linear) and not _is_turned(layer):
        raise ValueError(
            f"adapter: {folder} changes {name}, which is no linear layer of this {type(network).__name__}; "
            "give the model that it was made for as model.path"
        )
    if layer.weight is network.get_input_embeddings().weight:
        raise ValueError(
            f"adapter: {folder} changes {name}, which shares its weight with the table of tokens; give an "
            "adapter of other layers"
        )
    return layer


def _is_turned(layer: object) -> bool:
    """Whether its weight is (in, out), as in GPT-2; peft asks the layer too, whatever fan_in_fan_out says."""
    return type(layer).__name__ == "Conv1D"


def _add(layer: Any, a: Tensor, b: Tensor, config: Mapping[str, Any]) -> bool:
    """Adds scale B A, of A (r, in) and B (out, r); False where they do not fit, and nothing is done."""
    r, weight, turned = config["r"], layer.weight, _is_turned(layer)
    shape = tuple(reversed(weight.shape)) if turned else tuple(weight.shape)
    if a.ndim != 2 or b.ndim != 2 or (len(b), a.shape[1]) != shape or not len(a) == b.shape[1] == r:
        return False
    scale = config["lora_alpha"] / (r**0.5 if config.get("use_rslora") else r)
    update = scale * (b.float() @ a.float())
    weight.copy_(weight.float() + (update.T if turned else update))
    return True


def _scale(layer: Any, scales: Tensor) -> bool:
    """Multiplies by scales (out, 1) or (1, in); False where they do not fit, and nothing is done."""
    weight, bias, turned = layer.weight, getattr(layer, "bias", None), _is_turned(layer)
    out, rest = reversed(weight.shape) if turned else weight.shape
    if scales.shape not in ((out, 1), (1, rest)):
        return False
    weight.copy_(weight.float() * (scales.T if turned else scales).float())
    if bias is not None and scales.shape == (out, 1):
        bias.copy_(bias.float() * scales[:, 0].float())
    return True


@functools.cache
def _say_once(words: str) -> None:
    _log.warning("%s", words)
