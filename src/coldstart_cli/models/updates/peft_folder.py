"""Low-rank weights in the format of peft, so that other programs load them over the same pretrained model."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor, nn

from coldstart_cli.errors import RequestError
from coldstart_cli.files.outputs import write_output
from coldstart_cli.models.language.causal_lm import CausalLM
from coldstart_cli.models.network import Network
from coldstart_cli.models.pretrained.features import Pretrained
from coldstart_cli.models.updates.scaled_layers import ScaledLinear
from coldstart_cli.package import getting

_A, _B = ".weight.lora_A", ".weight.lora_B"


def peft_folder(network: Network, changed: Mapping[str, Tensor], folder: Path, *, alpha: float) -> None:
    """Writes `adapter_config.json`, `adapter_model.safetensors` and, of the head, `head.safetensors`.

    `peft.PeftModel.from_pretrained(transformers.AutoModel.from_pretrained(path), folder)` is then the adapted
    encoder before pooling; peft has no place for our head, whose `weight` and `bias` are stored beside it.

    Args:
        network: a head on a pretrained encoder.
        changed: what a low-rank strategy made: `encoder.body.NAME.weight.lora_A` (rank, rest), `.lora_B`
            (out, rank), and `head.*`.
        folder: created where it is missing.
        alpha: of the strategy; updates are scaled by alpha / rank.

    Raises:
        RequestError: where safetensors is missing.
        ValueError: where the encoder is not pretrained, or peft has no format for the kind of a weight.
    """
    save = _safetensors()
    encoder = network.encoder
    if not isinstance(encoder, Pretrained):
        raise ValueError("peft: its format is for pretrained models (model=hf_text); choose another format")
    prefix = "encoder.body."
    names = [
        n.removeprefix(prefix).removesuffix(_A) for n in changed if n.startswith(prefix) and n.endswith(_A)
    ]
    if not names:
        raise ValueError("peft: there are no low-rank weights; adapt with strategy=lora or maml_lora")
    tensors = {}
    for name in names:
        a, b = changed[f"{prefix}{name}{_A}"], changed[f"{prefix}{name}{_B}"]
        a, b = _as_layers(encoder.body.get_submodule(name), name, a, b)
        tensors[f"base_model.model.{name}.lora_A.weight"] = a.detach().cpu().contiguous()
        tensors[f"base_model.model.{name}.lora_B.weight"] = b.detach().cpu().contiguous()
    rank = len(changed[f"{prefix}{names[0]}{_A}"])
    _write(folder, tensors, _config(rank, alpha, sorted(names), encoder.path, "FEATURE_EXTRACTION"))
    head = {
        n.removeprefix("head."): t.detach().cpu().contiguous() for n, t in changed.items() if "head." in n[:5]
    }
    if head:
        write_output(folder / "head.safetensors", save(head, {"format": "pt"}), "file")


def peft_answers(
    lm: CausalLM, changed: Mapping[str, Tensor], folder: Path, *, alpha: float, rank_stabilised: bool
) -> None:
    """The same of a causal language model's layers, with which peft's model answers as ours does.

    Args:
        changed: of `label_lora` or `ia3`: `body.NAME.weight.lora_A` and `.lora_B`, or `body.NAME.ia3_l`.
        alpha, rank_stabilised: of `label_lora`.

    Raises:
        RequestError: where safetensors is missing.
        ValueError: where there are other tensors, for which this writes no format.
    """
    tensors: dict[str, Tensor] = {}
    layers: dict[str, nn.Module] = {}
    for full, tensor in changed.items():
        place, _, kind = full.removeprefix("body.").rpartition(".")
        name = place.removesuffix(".weight")
        if kind not in ("lora_A", "lora_B", "ia3_l"):
            raise ValueError(f"peft: {full} is no update of a layer; adapt with strategy=label_lora or ia3")
        layers[name] = layer = lm.body.get_submodule(name)
        if isinstance(layer, ScaledLinear):
            tensor = tensor.view(1, -1) if layer.of_inputs else tensor.view(-1, 1)
        key = f"base_model.model.{name}.{kind}" + ("" if kind == "ia3_l" else ".weight")
        tensors[key] = tensor.detach().cpu().contiguous()
    names = sorted(layers)
    if any(isinstance(layer, ScaledLinear) for layer in layers.values()):
        within = [n for n in names if isinstance(of := layers[n], ScaledLinear) and of.of_inputs]
        config: dict[str, object] = {"peft_type": "IA3", "feedforward_modules": within}
        config |= _shared(names, lm.path, "CAUSAL_LM")
    else:
        rank = min(len(t) for n, t in tensors.items() if "lora_A" in n)
        config = _config(rank, alpha, names, lm.path, "CAUSAL_LM") | {"use_rslora": rank_stabilised}
    _write(folder, tensors, config)


def _safetensors() -> Callable[..., bytes]:
    try:
        from safetensors.torch import save
    except ImportError as error:
        raise RequestError(f"peft: safetensors is not installed; {getting('hf')} (E50)") from error
    return save


def _write(folder: Path, tensors: Mapping[str, Tensor], config: Mapping[str, object]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    content = _safetensors()(dict(tensors), {"format": "pt"})
    write_output(folder / "adapter_model.safetensors", content, "file")
    write_output(folder / "adapter_config.json", (json.dumps(config, indent=2) + "\n").encode(), "file")


def _as_layers(layer: nn.Module, name: str, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """The factors as the weights of the two layers that peft adds beside `layer`."""
    if isinstance(layer, nn.Linear):
        return a, b
    if isinstance(layer, nn.Conv2d) and layer.groups == 1:
        # peft makes A a convolution like the layer's own, with `rank` outputs, and B one of 1 x 1.
        return a.view(len(a), *layer.weight.shape[1:]), b.view(*b.shape, 1, 1)
    raise ValueError(f"peft: {name} is a {type(layer).__name__}, for which it has no format; choose another")


def _config(rank: int, alpha: float, names: list[str], path: str, kind: str) -> dict[str, object]:
    return {
        "peft_type": "LORA",
        **_shared(names, path, kind),
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "init_lora_weights": True,
    }


def _shared(names: list[str], path: str, kind: str) -> dict[str, object]:
    return {
        "task_type": kind,
        "base_model_name_or_path": path,
        "inference_mode": True,
        "fan_in_fan_out": False,
        "target_modules": names,
    }
