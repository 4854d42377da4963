"""A bundle as a folder of transformers: an encoder with a linear head, where such a network computes that.

No list says which networks do: the head is found to be linear or not, the network of transformers is built,
and its answers are compared with the bundle's. A dense layer or an activation of its own shows in them.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from coldstart_cli.bundles.bundle import Bundle
from coldstart_cli.bundles.exporting.exporting import TOLERANCE, Probe, reads
from coldstart_cli.bundles.rebuild import tensors_of
from coldstart_cli.core.tasks import Inputs
from coldstart_cli.errors import RequestError
from coldstart_cli.models.pretrained.features import FrozenFeatures, Pretrained
from coldstart_cli.models.pretrained.hf import classifier_of, folder_of
from coldstart_cli.models.pretrained.text import Tokens

_OTHERWISE = "export as onnx, or predict with the bundle"
_PROCESSOR = "preprocessor_config.json"


def export_huggingface(bundle: Bundle, folder: Path, probes: Sequence[Probe]) -> tuple[str, float]:
    """Writes config, weights and tokenizer or image processor, as `from_pretrained` and pipelines read them.

    The head is divided by the card's temperature, so that a softmax of its logits is calibrated.

    Args:
        folder: a new one.
        probes: inputs that are compared.

    Returns:
        The name of the network's class, and the largest difference of a logit.

    Raises:
        RequestError: where no network of transformers computes what the bundle does, or the folder is there.
    """
    if folder.exists():
        raise RequestError(f"file: {folder} is already there; name a new folder")
    if not folder.parent.is_dir():
        raise RequestError(f"file: {folder.parent} is no folder; make it, or name another")
    if not bundle.card.labels:
        raise RequestError(f"format: the bundle answers with numbers, not with classes; {_OTHERWISE}")
    encoder, head = _encoder(bundle), _head(bundle)
    with torch.random.fork_rng(devices=[]):
        network = classifier_of(
            folder_of(encoder.path), bundle.card.labels, of_texts=isinstance(reads(bundle), Tokens)
        )
    name = type(network).__name__
    base = getattr(network, network.base_model_prefix, None)
    places = [
        layer
        for layer in network.modules()
        if isinstance(layer, nn.Linear) and layer.weight.shape == head.weight.shape
    ]
    if base is None or not places:
        raise RequestError(f"format: {name} has no linear head over its features; {_OTHERWISE}")
    base.load_state_dict(tensors_of(encoder.body), strict=False)
    with torch.no_grad():
        places[-1].weight.copy_(head.weight / bundle.card.temperature)
        if places[-1].bias is not None:
            places[-1].bias.copy_(head.bias / bundle.card.temperature)
    worst = max(_difference(network, encoder, bundle, probe) for probe in probes)
    if not worst <= TOLERANCE:
        raise RequestError(
            f"format: {name} does not compute what this bundle does (a logit differs by {worst:.2g}): it "
            f"pools otherwise, or has layers of its own before its head; {_OTHERWISE}"
        )
    with tempfile.TemporaryDirectory(dir=folder.parent) as place:
        made = Path(place, "model")
        network.save_pretrained(str(made))
        _write_reader(bundle, made)
        made.rename(folder)
    return name, worst


def _encoder(bundle: Bundle) -> Pretrained:
    """
    Raises:
        RequestError: where the predictor has no pretrained encoder.
    """
    if isinstance(bundle.preprocess, FrozenFeatures):
        return bundle.preprocess.encoder
    network = getattr(bundle.module, "network", None)
    encoder = getattr(network, "encoder", None)
    if not isinstance(encoder, Pretrained) or not isinstance(getattr(network, "head", None), nn.Linear):
        raise RequestError(
            f"format: huggingface is for an encoder of transformers with a head, which "
            f"{bundle.card.strategy} over {bundle.card.model} is not; {_OTHERWISE}"
        )
    return encoder


def _head(bundle: Bundle) -> nn.Linear:
    """What the predictor computes of features, where that is linear: by its answers to unit vectors.

    Raises:
        RequestError: where it is not.
    """
    if not isinstance(bundle.preprocess, FrozenFeatures):
        head: nn.Linear = bundle.module.network.head  # type: ignore[assignment,union-attr]
        return head
    d = _encoder(bundle).feature_dim
    with torch.no_grad():
        bias = bundle.module(torch.zeros(1, d))[0]
        weight = (bundle.module(torch.eye(d)) - bias).T
        drawn = torch.randn(32, d, generator=torch.Generator().manual_seed(0))
        expected = bundle.module(drawn)
        difference = (drawn @ weight.T + bias - expected).abs().max() / expected.abs().max().clamp(min=1)
    if not float(difference) <= TOLERANCE:
        raise RequestError(
            f"format: what {bundle.card.strategy} makes of features is not linear in them (they are scaled "
            f"to length 1, or compared by distances), and a head of transformers is; {_OTHERWISE}"
        )
    found = nn.Linear(d, len(weight))
    found.weight.data, found.bias.data = weight.contiguous(), bias
    return found


def _difference(network: Any, encoder: Pretrained, bundle: Bundle, probe: Probe) -> float:
    """The largest difference of a logit, of inputs that the encoder's own network is given.

    Of the largest logit where that is below 1: a head that has hardly learned answers nearly 0 of anything.
    """
    with torch.no_grad():
        expected = bundle.module(probe.own).float() / bundle.card.temperature
        found = network(**_given(encoder, probe.inputs)).logits.float()
    scale = expected.abs().max().clamp(1e-12, 1.0)
    return float(((found - expected).abs() / scale).nan_to_num(math.inf).max())


def _given(encoder: Pretrained, inputs: Inputs) -> Mapping[str, Tensor]:
    """What the encoder gives its network for these inputs: token ids and mask, or pixels."""
    seen: dict[str, Any] = {}

    def hook(_: nn.Module, __: Any, kwargs: dict[str, Any]) -> None:
        seen.update({name: value for name, value in kwargs.items() if isinstance(value, Tensor)})

    handle = encoder.body.register_forward_pre_hook(hook, with_kwargs=True)
    try:
        encoder.encoded(inputs)
    finally:
        handle.remove()
    return seen


def _write_reader(bundle: Bundle, folder: Path) -> None:
    """The tokenizer, which cuts where the bundle cuts, or the file that says how images are normalised."""
    preprocess: Any = reads(bundle)
    if isinstance(preprocess, Tokens):
        tokenizer = preprocess.tokenizer
        before, tokenizer.model_max_length = tokenizer.model_max_length, preprocess.max_length
        tokenizer.save_pretrained(str(folder))
        tokenizer.model_max_length = before
    elif (preprocess.folder / _PROCESSOR).is_file():
        shutil.copyfile(preprocess.folder / _PROCESSOR, folder / _PROCESSOR)
