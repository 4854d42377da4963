"""A bundle as a folder of transformers, or of sentence-transformers: an encoder with a linear head.

No list says which networks do: the head is found to be linear or not, the network of transformers is built,
and its answers are compared with the bundle's. A dense layer or an activation of its own shows in them. Of
texts a folder of sentence-transformers says itself how it pools, and is the other way.
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
from torch.nn import functional as F

from coldstart_cli.bundles.bundle import Bundle
from coldstart_cli.bundles.exporting import sentence_folder
from coldstart_cli.bundles.exporting.exporting import TOLERANCE, Probe, reads
from coldstart_cli.bundles.rebuild import tensors_of
from coldstart_cli.core.tasks import Inputs, map_inputs
from coldstart_cli.errors import RequestError
from coldstart_cli.models.pretrained.features import FrozenFeatures, Pretrained
from coldstart_cli.models.pretrained.hf import classifier_of, folder_of
from coldstart_cli.models.pretrained.text import HFText, Tokens

_OTHERWISE = "export as onnx, or predict with the bundle"
_PROCESSOR = "preprocessor_config.json"


def export_huggingface(bundle: Bundle, folder: Path, probes: Sequence[Probe]) -> tuple[str, float]:
    """Writes config, weights and tokenizer or image processor, as `from_pretrained` and pipelines read them.

    The head is divided by the card's temperature, so that a softmax of its logits is calibrated.

    Args:
        folder: a new one.
        probes: inputs that are compared.

    Returns:
        The name of the class that reads it, and the largest difference of a logit.

    Raises:
        RequestError: where nothing of either computes what the bundle does, or the folder is there.
    """
    if folder.exists():
        raise RequestError(f"file: {folder} is already there; name a new folder")
    if not folder.parent.is_dir():
        raise RequestError(f"file: {folder.parent} is no folder; make it, or name another")
    if not bundle.card.labels:
        raise RequestError(f"format: the bundle answers with numbers, not with classes; {_OTHERWISE}")
    encoder = _encoder(bundle)
    head, unit = _head(bundle, encoder, probes[0].own)
    for parameter in head.parameters():
        parameter.data /= bundle.card.temperature
    with tempfile.TemporaryDirectory(dir=folder.parent) as place:
        made = Path(place, "model")
        name, worst = _written(bundle, encoder, head, made, probes, unit=unit)
        _write_reader(bundle, made)
        made.rename(folder)
    return name, worst


def _written(
    bundle: Bundle, encoder: Pretrained, head: nn.Linear, made: Path, probes: Sequence[Probe], *, unit: bool
) -> tuple[str, float]:
    """Of texts a folder of sentence-transformers, where no network of transformers does it.

    Raises:
        RequestError: where neither computes what the bundle does.
    """
    if not unit:
        try:
            return _classifier(bundle, encoder, head, made, probes)
        except RequestError:
            if not isinstance(encoder, HFText):
                raise
    if not isinstance(encoder, HFText):
        raise RequestError(
            f"format: {bundle.card.strategy} scales features to length 1, and a network of transformers for "
            f"images does not; {_OTHERWISE}"
        )
    tokens = reads(bundle)
    assert isinstance(tokens, Tokens)
    labels = bundle.card.labels
    sentence_folder.write(made, encoder, head, labels, unit=unit, max_length=tokens.max_length)
    worst = max(_difference(bundle, probe, sentence_folder.logits(made, probe.inputs)) for probe in probes)
    _check(
        worst, sentence_folder.NAME, "its features are of another layer, or its weights of another precision"
    )
    return sentence_folder.NAME, worst


def _classifier(
    bundle: Bundle, encoder: Pretrained, head: nn.Linear, made: Path, probes: Sequence[Probe]
) -> tuple[str, float]:
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
        places[-1].weight.copy_(head.weight)
        if places[-1].bias is not None:
            places[-1].bias.copy_(head.bias)
        worst = max(
            _difference(bundle, probe, network(**_given(encoder, probe.inputs)).logits) for probe in probes
        )
    _check(worst, name, "it pools otherwise, or has layers of its own before its head")
    network.save_pretrained(str(made))
    return name, worst


def _check(worst: float, name: str, why: str) -> None:
    """
    Raises:
        RequestError: where logits differ by more than rounding.
    """
    if not worst <= TOLERANCE:
        raise RequestError(
            f"format: {name} does not compute what this bundle does (a logit differs by {worst:.2g}): "
            f"{why}; {_OTHERWISE}"
        )


def _encoder(bundle: Bundle) -> Pretrained:
    """
    Raises:
        RequestError: where the predictor has no pretrained encoder, or several.
    """
    if isinstance(bundle.preprocess, FrozenFeatures):
        return bundle.preprocess.encoder
    found = [part for part in bundle.module.modules() if isinstance(part, Pretrained)]
    if len(found) != 1:
        raise RequestError(
            f"format: huggingface is for an encoder of transformers with a head, which "
            f"{bundle.card.strategy} over {bundle.card.model} is not; {_OTHERWISE}"
        )
    return found[0]


def _of_features(bundle: Bundle, encoder: Pretrained, features: Tensor, like: Inputs) -> Tensor:
    """What the predictor answers where its encoder finds these features (n, feature_dim).

    Args:
        like: inputs as the predictor reads them, of at least one example.
    """
    with torch.no_grad():
        module: nn.Module = bundle.module
        if isinstance(bundle.preprocess, FrozenFeatures):
            answers: Tensor = module(features)
            return answers
        any_of_them = map_inputs(lambda t: t[:1].expand(len(features), *t.shape[1:]), like)
        setattr(encoder, "forward", lambda _: features)  # noqa: B010
        try:
            answers = module(any_of_them)
            return answers
        finally:
            del encoder.forward  # the class's own again


def _head(bundle: Bundle, encoder: Pretrained, like: Inputs) -> tuple[nn.Linear, bool]:
    """What the predictor computes of features, and whether it is linear in them scaled to length 1.

    Found by its answers to unit vectors and their opposites, of which the head alone makes the difference.

    Raises:
        RequestError: where it is linear in neither.
    """
    d = encoder.feature_dim
    ends = [_of_features(bundle, encoder, sign * torch.eye(d), like).float() for sign in (1, -1)]
    weight, bias = (ends[0] - ends[1]).T / 2, torch.stack(ends).mean((0, 1))
    drawn = torch.randn(32, d, generator=torch.Generator().manual_seed(0))
    expected = _of_features(bundle, encoder, drawn, like).float()
    for unit in (False, True):
        features = F.normalize(drawn, dim=-1) if unit else drawn
        difference = (F.linear(features, weight, bias) - expected).abs().max()
        if float(difference / expected.abs().max().clamp(min=1)) <= TOLERANCE:
            found = nn.Linear(d, len(weight))
            found.weight.data, found.bias.data = weight.contiguous(), bias
            return found, unit or bool(getattr(encoder, "normalise", False))
    raise RequestError(
        f"format: what {bundle.card.strategy} makes of features is not linear in them, nor in them scaled to "
        f"length 1 (it compares them by distances, or has layers of its own); {_OTHERWISE}"
    )


def _difference(bundle: Bundle, probe: Probe, found: Tensor) -> float:
    """The largest difference of a logit from the bundle's.

    Of the largest logit where that is below 1: a head that has hardly learned answers nearly 0 of anything.
    """
    with torch.no_grad():
        expected = bundle.module(probe.own).float() / bundle.card.temperature
    scale = expected.abs().max().clamp(1e-12, 1.0)
    return float(((found.float() - expected).abs() / scale).nan_to_num(math.inf).max())


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
