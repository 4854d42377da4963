"""Low-rank weights in the format of peft, so that other programs load them over the same pretrained model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from coldstart_cli.errors import RequestError
from coldstart_cli.files.outputs import write_output
from coldstart_cli.models.network import Network
from coldstart_cli.models.pretrained import Pretrained

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
    try:
        from safetensors.torch import save
    except ImportError as error:
        raise RequestError(
            "peft: safetensors is not installed; run pip install 'coldstart-cli[hf]'"
        ) from error
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
    folder.mkdir(parents=True, exist_ok=True)
    write_output(folder / "adapter_model.safetensors", save(tensors, {"format": "pt"}), "file")
    rank = len(changed[f"{prefix}{names[0]}{_A}"])
    config = _config(rank, alpha, sorted(names), encoder)
    write_output(folder / "adapter_config.json", (json.dumps(config, indent=2) + "\n").encode(), "file")
    head = {
        n.removeprefix("head."): t.detach().cpu().contiguous() for n, t in changed.items() if "head." in n[:5]
    }
    if head:
        write_output(folder / "head.safetensors", save(head, {"format": "pt"}), "file")


def _as_layers(layer: nn.Module, name: str, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """The factors as the weights of the two layers that peft adds beside `layer`."""
    if isinstance(layer, nn.Linear):
        return a, b
    if isinstance(layer, nn.Conv2d) and layer.groups == 1:
        # peft makes A a convolution like the layer's own, with `rank` outputs, and B one of 1 x 1.
        return a.view(len(a), *layer.weight.shape[1:]), b.view(*b.shape, 1, 1)
    raise ValueError(f"peft: {name} is a {type(layer).__name__}, for which it has no format; choose another")


def _config(rank: int, alpha: float, names: list[str], encoder: Pretrained) -> dict[str, object]:
    return {
        "peft_type": "LORA",
        "task_type": "FEATURE_EXTRACTION",
        "base_model_name_or_path": encoder.path,
        "inference_mode": True,
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "init_lora_weights": True,
        "target_modules": names,
    }
