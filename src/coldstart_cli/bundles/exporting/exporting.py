"""`coldstart export`: a predictor in one file that other runtimes read, checked against `predict`."""

from __future__ import annotations

import json
import logging
import math
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from coldstart_cli.bundles.bundle import Bundle
from coldstart_cli.bundles.kept import folder
from coldstart_cli.bundles.rebuild import has_adapter, objective_of, tensors_of
from coldstart_cli.core.objectives import Regression
from coldstart_cli.core.tasks import Inputs, map_inputs, n_examples
from coldstart_cli.errors import JobError, RequestError
from coldstart_cli.files.outputs import output, write_output
from coldstart_cli.models.network import Network
from coldstart_cli.models.preprocess import Preprocess
from coldstart_cli.models.pretrained.features import FrozenFeatures, Pretrained
from coldstart_cli.models.pretrained.hf import folder_of, network_of
from coldstart_cli.models.pretrained.text import Tokens
from coldstart_cli.models.updates.peft_folder import peft_answers, peft_folder
from coldstart_cli.package import getting
from coldstart_cli.strategies.building_blocks.answers import Answers, HeadAnswers
from coldstart_cli.strategies.building_blocks.in_context import InContextPredictor

TOLERANCE = 1e-4
"""Largest difference of any output, exported against own."""
FACTS = "coldstart.json"
"""What the file calls its facts: an extra file of pt2, a key of onnx's metadata."""
LEFT = 1e-5
"""Largest entry of an update beyond its rank, as a share of the weight's largest: it is rounding."""
Format = Literal["pt2", "onnx", "peft", "mlflow", "huggingface"]
Program = Callable[[tuple[Tensor, ...]], Tensor]
"""An exported program, loaded again from its file."""


@dataclass(frozen=True, slots=True)
class Probe:
    """The same examples twice.

    Attributes:
        inputs: (n, ...) as the exported program reads them, n >= 2.
        own: (n, ...) as the bundle's module reads them: features, where its encoder is frozen.
    """

    inputs: Inputs
    own: Inputs


def reads(bundle: Bundle) -> Preprocess:
    """What makes the inputs of the exported program of raw examples."""
    preprocess = bundle.preprocess
    return preprocess.before if isinstance(preprocess, FrozenFeatures) else preprocess


def export(
    bundle: Bundle,
    path: Path,
    form: Literal["pt2", "onnx"],
    probes: Sequence[Probe],
    *,
    features: bool = False,
) -> float:
    """Writes the predictor, its frozen encoder included, and returns the largest difference on `probes`.

    Batch size and the number of tokens of a text are dynamic; token ids and masks are int64. Outputs are
    logits, or the values of a regression; probabilities are softmax(logits / T) at the card's temperature T,
    which the file holds with the names of the classes (`facts_of`), under the name FACTS.

    Args:
        probes: the program is traced with the first, and compared on all.
        features: a second output holds those of the frozen encoder.

    Raises:
        JobError: where the exported program answers otherwise; then nothing is written.
        RequestError: where a package is missing, the file cannot be written, or the predictor reads prompts.
    """
    if isinstance(bundle.module, Answers | HeadAnswers | InContextPredictor):
        raise RequestError(
            f"format: {bundle.card.strategy} reads texts as prompts of their own length, which {form} has no "
            "form for; predict with the bundle, or export the layers of label_lora and ia3 (format=peft)"
        )
    flat = _Flat(bundle, probes[0].inputs, features=features)
    facts = json.dumps(facts_of(bundle, flat))
    with output(path, "file") as partial:
        write = _pt2 if form == "pt2" else _onnx
        run = write(flat, partial, probes[0].inputs, facts)
        worst = max(_difference(flat, run, bundle, probe) for probe in probes)
        if not worst <= TOLERANCE:
            raise JobError(
                f"export: {form} differs from predict by {worst:.2g}, more than {TOLERANCE:g}; "
                "nothing was written"
            )
    return worst


def _difference(flat: _Flat, run: Program, bundle: Bundle, probe: Probe) -> float:
    """The largest difference of the program's outputs from the bundle's, of all examples and of one alone."""
    with torch.no_grad():
        expected = flat.read(bundle.module(probe.own)).float()
    worst = 0.0
    for size in (n_examples(probe.inputs), 1):  # another batch size than the one it was traced with
        part = _trimmed(map_inputs(lambda t, size=size: t[:size], probe.inputs))  # type: ignore[misc]
        found = run(flat.split(part))
        # A program that answers NaN must not pass: NaN is larger than nothing
        worst = max(worst, float(((found - expected[:size]) / flat.unit).abs().nan_to_num(math.inf).max()))
    return worst


def facts_of(bundle: Bundle, flat: _Flat) -> dict[str, Any]:
    """What a program alone does not say of itself: what its outputs mean and what its inputs must be."""
    card = bundle.card
    return {
        "outputs": "values" if flat.values is not None else "logits",
        "labels": list(card.labels),
        "temperature": card.temperature,
        "threshold": card.threshold,
        "inputs": list(flat.names or ["input"]),
        "max_length": getattr(reads(bundle), "max_length", None),
        "model_max_length": getattr(getattr(reads(bundle), "tokenizer", None), "model_max_length", None),
        "made_by": card.made_by,
    }


def put_inside(bundle: Bundle, probes: Sequence[Probe]) -> float:
    """Puts the predictor as ONNX into the bundle itself, for `predict` to start without torch.

    Returns:
        The largest difference on `probes`.

    Raises:
        JobError, RequestError: as `export`; where the bundle reads no texts, or is not in a folder.
    """
    tokens = reads(bundle)
    tokenizer = tokens.as_json() if isinstance(tokens, Tokens) else None
    if tokenizer is None or bundle.path is None:
        raise RequestError(
            "inside: this bundle reads no texts by a tokenizer.json, and other inputs are read with torch, "
            "which no program saves; leave it out"
        )
    with tempfile.TemporaryDirectory() as place:
        onnx = Path(place, "predictor.onnx")
        worst = export(bundle, onnx, "onnx", probes, features=True)
        bundle.card = folder.add_program(bundle.path, bundle.card, onnx, tokenizer.encode())
    return worst


def write_tokenizer(bundle: Bundle, path: Path, form: str) -> Path | None:
    """Writes the tokenizer of the exported program at `path` beside it; None where it reads no text.

    It cuts texts at the length that the bundle cuts them at, whatever the tokenizer's own file says.
    """
    tokens = reads(bundle)
    text = tokens.as_json() if isinstance(tokens, Tokens) else None
    if text is None:
        return None
    place = path.with_name(f"{path.name.removesuffix(f'.{form}')}-tokenizer.json")
    write_output(place, text.encode(), "file")
    return place


def export_peft(bundle: Bundle, place: Path) -> int:
    """Writes a bundle's low-rank weights in peft's format, see `peft_folder`, and returns how many there are.

    A bundle holds the adapted weights W', which cost a predictor nothing more. Their difference from the
    pretrained W has the strategy's rank, so that it is B A for its singular vectors.

    Raises:
        RequestError: where the strategy makes no low-rank weights, others were changed as well, or the model
            has an adapter already.
    """
    made = bundle.card.build.strategy
    if place.exists() and not (place / "adapter_config.json").exists():
        raise RequestError(f"file: {place} exists and is not an adapter of peft; name a new folder")
    if has_adapter(bundle.card.build.model):
        raise RequestError(
            "format: the model of this bundle has an adapter already, which a second one would lack; predict "
            "with the bundle"
        )
    if isinstance(bundle.module, Answers) and bundle.module.places:
        return _export_answers(bundle.module, place, made)
    network = getattr(bundle.module, "network", None)
    if "rank" not in made or "alpha" not in made or not isinstance(network, Network):
        raise RequestError(
            f"format: {bundle.card.strategy} makes no low-rank weights; adapt with strategy=lora or "
            "maml_lora, or export as pt2 or onnx"
        )
    if not isinstance(network.encoder, Pretrained):
        raise RequestError(
            "format: peft is for pretrained models (model=hf_text, minilm); choose pt2 or onnx"
        )
    rank, alpha = int(made["rank"]), float(made["alpha"])
    base, _ = network_of(folder_of(network.encoder.path), None)
    factors = _factors(tensors_of(network.encoder.body), tensors_of(base), rank, alpha / rank)
    head = {f"head.{name}": t for name, t in network.head.state_dict().items()}
    try:
        peft_folder(network, factors | head, place, alpha=alpha)
    except ValueError as error:
        raise RequestError(f"format: {error}") from error
    return sum(t.numel() for t in factors.values())


def _export_answers(module: Answers, place: Path, made: Mapping[str, Any]) -> int:
    """Writes what `label_lora` or `ia3` placed in a language model's layers."""
    tensors, is_lora = module.in_layers(), "rank" in made
    alpha = float(made["alpha"]) if is_lora else 0.0
    stabilised = bool(is_lora and made["rank_stabilised"])
    peft_answers(module.lm, tensors, place, alpha=alpha, rank_stabilised=stabilised)
    return sum(t.numel() for t in tensors.values())


def _factors(
    adapted: Mapping[str, Tensor], base: Mapping[str, Tensor], rank: int, scale: float
) -> dict[str, Tensor]:
    """`encoder.body.NAME.lora_A` (rank, rest) and `.lora_B` (out, rank) of each weight that was adapted."""
    found: dict[str, Tensor] = {}
    for name, weight in adapted.items():
        if name not in base or torch.equal(weight, base[name]):
            continue
        difference = (weight.double() - base[name].double()).reshape(len(weight), -1)
        q = min(rank, *difference.shape)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # it looks from random directions
            u, s, v = torch.svd_lowrank(difference, q)
        left = (difference - u * s @ v.T).abs().max()
        if q < rank or weight.ndim < 2 or left > LEFT * weight.abs().max():
            raise RequestError(
                f"format: {name} differs from the pretrained model by more than an update of rank {rank}; "
                "adapt the pretrained model itself (strategy.source_training=false), or choose pt2 or onnx"
            )
        found[f"encoder.body.{name}.lora_B"] = (u * s.sqrt() / scale).float()
        found[f"encoder.body.{name}.lora_A"] = (v * s.sqrt()).T.float()
    return found


class _Flat(nn.Module):
    """Encoder and predictor with their tensors as arguments, in the order of their names."""

    def __init__(self, bundle: Bundle, like: Inputs, *, features: bool) -> None:
        super().__init__()
        frozen = isinstance(bundle.preprocess, FrozenFeatures)
        self.encoder = bundle.preprocess.encoder if frozen else nn.Identity()  # type: ignore[attr-defined]
        self.module, self.features = bundle.module, frozen and features
        self.names = None if isinstance(like, Tensor) else sorted(like)
        self.dtypes = [] if isinstance(like, Tensor) else [like[name].dtype for name in sorted(like)]
        objective = objective_of(bundle.card.build)
        self.values = objective.values if isinstance(objective, Regression) else None
        self.unit = objective.deviation if isinstance(objective, Regression) else 1.0

    def split(self, inputs: Inputs) -> tuple[Tensor, ...]:
        """The program's arguments: tokens as int64, which is what other programs make of texts."""
        if isinstance(inputs, Tensor):
            return (inputs,)
        return tuple(inputs[name].long() for name in self.names or ())

    def read(self, outputs: Tensor) -> Tensor:
        """Outputs in the unit that `predict` tells."""
        return outputs if self.values is None else self.values(outputs)

    def forward(self, *tensors: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        inputs: Inputs = tensors[0]
        if self.names is not None:
            own = (t.to(dtype) for t, dtype in zip(tensors, self.dtypes, strict=True))
            inputs = dict(zip(self.names, own, strict=True))
        encoded = self.encoder(inputs)
        outputs = self.read(self.module(encoded))
        return (outputs, encoded) if self.features else outputs


def _trimmed(inputs: Inputs) -> Inputs:
    """Texts without the columns that none of them fills: another length than they had together."""
    if isinstance(inputs, Tensor) or "attention_mask" not in inputs:
        return inputs
    length = max(1, int(inputs["attention_mask"].sum(1).max()))
    return map_inputs(lambda t: t[:, :length], inputs)


def _program(flat: _Flat, probe: Inputs) -> torch.export.ExportedProgram:
    from torch.export import Dim

    tensors = flat.split(probe)
    free: dict[int, Any] = {0: Dim("batch")}
    if flat.names is not None and "attention_mask" in flat.names:
        free[1] = Dim.AUTO
    # Names, dtypes and all other sizes are those of the probe.
    return torch.export.export(flat, tensors, dynamic_shapes=((free,) * len(tensors),), strict=False)


def _pt2(flat: _Flat, path: Path, probe: Inputs, facts: str) -> Program:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(_program(flat, probe), path, extra_files={FACTS: facts})
        loaded = torch.export.load(path).module()

    def run(tensors: tuple[Tensor, ...]) -> Tensor:
        with torch.no_grad():
            outputs: Tensor = loaded(*tensors)
        return outputs.float()

    return run


def _onnx(flat: _Flat, path: Path, probe: Inputs, facts: str) -> Program:
    try:
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise RequestError(
            f"format: onnx needs packages that are not installed; {getting('onnx')} (E50)"
        ) from error
    logging.getLogger("torch.onnx").setLevel(
        logging.ERROR
    )  # torchvision, which nothing here needs, is absent
    names = flat.names or ["input"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own, of what it will do otherwise one day
        program = torch.onnx.export(
            _program(flat, probe),
            input_names=names,
            output_names=["outputs", *(["features"] if flat.features else [])],
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    program.model.metadata_props[FACTS] = facts
    program.save(str(path))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    asked = [entry.name for entry in session.get_inputs()]

    def run(tensors: tuple[Tensor, ...]) -> Tensor:
        feed: Mapping[str, Any] = dict(zip(asked, (t.numpy() for t in tensors), strict=True))
        return torch.from_numpy(session.run(None, feed)[0]).float()

    return run
