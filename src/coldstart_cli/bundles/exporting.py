"""`coldstart export`: a predictor in one file that other runtimes read, checked against `predict`."""

from __future__ import annotations

import logging
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from coldstart_cli.bundles.bundle import Bundle
from coldstart_cli.bundles.rebuild import objective_of, tensors_of
from coldstart_cli.core.objectives import Regression
from coldstart_cli.core.tasks import Inputs, map_inputs, n_examples
from coldstart_cli.errors import JobError, RequestError
from coldstart_cli.models.hf import folder_of, network_of
from coldstart_cli.models.network import Network
from coldstart_cli.models.peft_folder import peft_folder
from coldstart_cli.models.preprocess import Preprocess
from coldstart_cli.models.pretrained import FrozenFeatures, Pretrained

TOLERANCE = 1e-4
"""Largest difference of any output, exported against own."""
LEFT = 1e-5
"""Largest entry of an update beyond its rank, as a share of the weight's largest: it is rounding."""
Format = Literal["pt2", "onnx", "peft"]


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


def export(bundle: Bundle, path: Path, form: Literal["pt2", "onnx"], probe: Probe) -> float:
    """Writes the predictor, its frozen encoder included, and returns the largest difference on `probe`.

    Batch size and the number of tokens of a text are dynamic. Outputs are logits, or the values of a
    regression; probabilities are softmax(logits / T) at the card's temperature T.

    Raises:
        JobError: where the exported program answers otherwise; the file is removed.
        RequestError: where a package is missing.
    """
    flat = _Flat(bundle, probe.inputs)
    with torch.no_grad():
        expected = flat.read(bundle.module(probe.own)).float()
    run = _pt2(flat, path, probe.inputs) if form == "pt2" else _onnx(flat, path, probe.inputs)
    worst = 0.0
    for size in (n_examples(probe.inputs), 1):  # another batch size than the one it was traced with
        part = _trimmed(map_inputs(lambda t, size=size: t[:size], probe.inputs))  # type: ignore[misc]
        found = run(flat.split(part))
        worst = max(worst, float(((found - expected[:size]) / flat.unit).abs().max()))
    if not worst <= TOLERANCE:
        path.unlink(missing_ok=True)
        raise JobError(
            f"export: {form} differs from predict by {worst:.2g}, more than {TOLERANCE:g}; "
            "the file was removed"
        )
    return worst


def copy_tokenizer(bundle: Bundle, path: Path) -> Path | None:
    """Copies the tokenizer of the exported program at `path` beside it; None where it reads no text."""
    folder = getattr(reads(bundle), "folder", None)
    if folder is None or not (folder / "tokenizer.json").is_file():
        return None
    copied = path.with_name(f"{path.stem}-tokenizer.json")
    shutil.copyfile(folder / "tokenizer.json", copied)
    return copied


def export_peft(bundle: Bundle, folder: Path) -> int:
    """Writes a bundle's low-rank weights in peft's format, see `peft_folder`, and returns how many there are.

    A bundle holds the adapted weights W', which cost a predictor nothing more. Their difference from the
    pretrained W has the strategy's rank, so that it is B A for its singular vectors.

    Raises:
        RequestError: where the strategy makes no low-rank weights, or others were changed as well.
    """
    made = bundle.card.build.strategy
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
    if folder.exists() and not (folder / "adapter_config.json").exists():
        raise RequestError(f"file: {folder} exists and is not an adapter of peft; name a new folder")
    base, _ = network_of(folder_of(network.encoder.path), None)
    factors = _factors(tensors_of(network.encoder.body), tensors_of(base), rank, alpha / rank)
    head = {f"head.{name}": t for name, t in network.head.state_dict().items()}
    try:
        peft_folder(network, factors | head, folder, alpha=alpha)
    except ValueError as error:
        raise RequestError(f"format: {error}") from error
    return sum(t.numel() for t in factors.values())


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

    def __init__(self, bundle: Bundle, like: Inputs) -> None:
        super().__init__()
        frozen = isinstance(bundle.preprocess, FrozenFeatures)
        self.encoder = bundle.preprocess.encoder if frozen else nn.Identity()  # type: ignore[attr-defined]
        self.module = bundle.module
        self.names = None if isinstance(like, Tensor) else sorted(like)
        objective = objective_of(bundle.card.build)
        self.values = objective.values if isinstance(objective, Regression) else None
        self.unit = objective.deviation if isinstance(objective, Regression) else 1.0

    def split(self, inputs: Inputs) -> tuple[Tensor, ...]:
        return (inputs,) if isinstance(inputs, Tensor) else tuple(inputs[name] for name in self.names or ())

    def read(self, outputs: Tensor) -> Tensor:
        """Outputs in the unit that `predict` tells."""
        return outputs if self.values is None else self.values(outputs)

    def forward(self, *tensors: Tensor) -> Tensor:
        inputs: Inputs = tensors[0]
        if self.names is not None:
            inputs = dict(zip(self.names, tensors, strict=True))
        return self.read(self.module(self.encoder(inputs)))


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


def _pt2(flat: _Flat, path: Path, probe: Inputs) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(_program(flat, probe), path)
        loaded = torch.export.load(path).module()

    def run(tensors: tuple[Tensor, ...]) -> Tensor:
        with torch.no_grad():
            outputs: Tensor = loaded(*tensors)
        return outputs.float()

    return run


def _onnx(flat: _Flat, path: Path, probe: Inputs) -> Any:
    try:
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise RequestError(
            "format: onnx needs packages that are not installed; pip install 'coldstart-cli[onnx]'"
        ) from error
    logging.getLogger("torch.onnx").setLevel(
        logging.ERROR
    )  # torchvision, which nothing here needs, is absent
    names = flat.names or ["input"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own, of what it will do otherwise one day
        program = torch.onnx.export(
            _program(flat, probe), input_names=names, output_names=["outputs"], dynamo=True, verbose=False
        )
    assert program is not None
    program.save(str(path))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    asked = [entry.name for entry in session.get_inputs()]

    def run(tensors: tuple[Tensor, ...]) -> Tensor:
        feed: Mapping[str, Any] = dict(zip(asked, (t.numpy() for t in tensors), strict=True))
        return torch.from_numpy(session.run(None, feed)[0]).float()

    return run
