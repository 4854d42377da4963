"""Bundles: a predictor for one task as a folder that can be moved, read and trusted.

    card.json             what it is, what it was made of, how well it does, and how to build it again
    weights.safetensors   the predictor's tensors, without those of the pretrained base
    base/                 a copy of the pretrained base, where that was asked for

It holds values only: no source examples, no support examples, nothing that runs. The predictor is built
again by adapting a fresh strategy to a support set of zeros of the same shape, whose tensors are then
replaced by the stored ones; that this gives the same predictor is tested for every strategy.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from coldstart_cli.building import StrategyBuilder, preprocess_of
from coldstart_cli.calibration import probabilities
from coldstart_cli.cards import BASE, CARD, HARMLESS, WEIGHTS, read_card
from coldstart_cli.core import Inputs, Objective, n_examples
from coldstart_cli.datasets.labelled import Labelled
from coldstart_cli.datasets.one_task import OneTask
from coldstart_cli.errors import RequestError
from coldstart_cli.files import write_bytes
from coldstart_cli.foreign import shaped
from coldstart_cli.hardware import Hardware
from coldstart_cli.models.preprocess import Preprocess
from coldstart_cli.objectives import Classification, Regression


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a bundle says of n inputs.

    Attributes:
        labels: class names, None where it abstains; empty for a regression.
        probabilities: (n, n_classes) calibrated, or None for a regression.
        values: (n, n_outputs) of a regression, or None.
    """

    labels: list[str | None]
    probabilities: Tensor | None
    values: Tensor | None


class Bundle:
    """A predictor for one task, with what it takes to read raw inputs.

    Attributes:
        card: as in card.json.
        module: inputs (n, ...) -> (n, n_outputs) logits or values.
        preprocess: raw examples -> inputs.
    """

    def __init__(self, card: Mapping[str, Any], module: nn.Module, preprocess: Preprocess) -> None:
        self.card, self.module, self.preprocess = card, module.eval(), preprocess

    @classmethod
    def load(cls, path: str | Path) -> Bundle:
        """
        Raises:
            RequestError: where it is no bundle, damaged, of a newer version, or holds anything but values.
        """
        from safetensors.torch import load_file

        folder = Path(path)
        with shaped("bundle", folder / CARD):
            card = read_card(folder)
            build = card["build"]
            from_base = set(build["from_base"])
            preprocess = preprocess_of(_placed(build["model"], folder), "bundle", [])
        try:
            stored = load_file(folder / WEIGHTS)
            module = skeleton(build, folder)
            missing, unexpected = module.load_state_dict(stored, strict=False)
        except RequestError:
            raise
        except Exception as error:  # a card of somebody else's raises nearly anything
            why = " ".join(str(error).split())[:120]
            raise RequestError(f"bundle: {folder / WEIGHTS} is damaged ({why}); make it again") from error
        if unexpected or set(missing) != from_base:
            raise RequestError(f"bundle: {folder / WEIGHTS} does not fit its card; make it again")
        return cls(card, module, preprocess)

    def save(self, path: Path, base: Path | None, *, copy_base: bool) -> None:
        """Writes the folder; tensors that equal those of the pretrained base bit for bit are left to it.

        Args:
            base: folder of the pretrained base, or None.
            copy_base: put a copy of it into the bundle, which then needs nothing else.

        Raises:
            RequestError: where the folder exists and is no bundle, or cannot be written.
        """
        from safetensors.torch import save

        if path.exists() and not (path / CARD).exists() and (not path.is_dir() or any(path.iterdir())):
            raise RequestError(f"bundle: {path} exists and is no bundle; name a new folder")
        if path.is_dir() and any(file.is_symlink() for file in path.rglob("*")):
            raise RequestError(f"bundle: {path} holds links, which writing would follow; name a new folder")
        state = self.module.state_dict()
        of_base = {} if base is None else base_tensors(self.card["build"])
        left = [n for n, t in of_base.items() if n in state and torch.equal(state[n].cpu(), t)]
        own = {n: t.detach().cpu().contiguous().clone() for n, t in state.items() if n not in left}
        card = {**self.card, "build": {**self.card["build"], "from_base": sorted(left)}}
        card["sizes"] = {
            "parameters": sum(t.numel() for t in state.values()),
            "stored_parameters": sum(t.numel() for t in own.values()),
        }
        path.mkdir(parents=True, exist_ok=True)
        if copy_base and base is not None:
            (path / BASE).mkdir(exist_ok=True)
            for file in base.iterdir():
                if file.is_file() and file.suffix in HARMLESS:
                    shutil.copyfile(file, path / BASE / file.name)
        write_bytes(path / WEIGHTS, save(own))
        write_bytes(path / CARD, (json.dumps(card, indent=2, allow_nan=False) + "\n").encode())

    def predict(self, raw: Any) -> Prediction:
        """Labels with probabilities, or values.

        Args:
            raw: texts (a sequence of str), images (n, C, H, W) uint8, or numbers (n, ...): what the bundle's
                layout holds.
        """
        return self.answer(self.inputs(raw))

    def answer(self, inputs: Inputs) -> Prediction:
        """The same for inputs that the preprocess has made."""
        with torch.no_grad():
            return self.read(self.module(inputs).float())

    def inputs(self, raw: Any) -> Inputs:
        """Raw examples as the module reads them."""
        if isinstance(raw, np.ndarray):
            raw = torch.from_numpy(raw)
        if not isinstance(raw, Tensor):
            return self.preprocess.texts(list(raw))
        if self.card["build"]["recipe"]["layout"] == "image_folder":
            return self.preprocess.images(raw)
        return self.preprocess.vectors(raw)

    def read(self, outputs: Tensor) -> Prediction:
        """What outputs (n, n_outputs) mean: calibrated probabilities and labels, or values."""
        names = self.card["labels"]
        if not names:
            return Prediction([], None, outputs)
        p = probabilities(outputs, self.card["temperature"])
        best, index = p.max(-1)
        sure = best >= self.card["threshold"]
        labels = [names[i] if s else None for i, s in zip(index.tolist(), sure.tolist(), strict=True)]
        return Prediction(labels, p, None)


def build_section(config: Mapping[str, Any], task: OneTask, known: Mapping[str, Any]) -> dict[str, Any]:
    """What it takes to build the predictor again, as values."""
    labelled = task.labelled
    inputs = labelled.inputs if isinstance(labelled.inputs, Mapping) else {"": labelled.inputs}
    return {
        "recipe": dict(labelled.recipe),
        "strategy": _without_runs(config["strategy"]),
        "model": config["model"],
        "optimizer": config["optimizer"],
        "seed": config["seed"],
        "n_steps": config["training"]["steps"],
        "facts": dict(known),
        "inputs": {
            name: {"shape": list(t.shape[1:]), "dtype": str(t.dtype).removeprefix("torch.")}
            for name, t in inputs.items()
        },
        "classification": bool(labelled.classes),
        "n_outputs": labelled.objective.n_outputs,
        "counts": labelled.targets.bincount(minlength=len(labelled.classes)).tolist()
        if labelled.classes
        else [len(labelled)],
        "n_unlabelled": 0 if labelled.unlabelled is None else n_examples(labelled.unlabelled),
    }


def base_tensors(build: Mapping[str, Any]) -> dict[str, Tensor]:
    """The predictor's tensors that are the same however it is seeded: those its pretrained base holds."""
    one, other = (skeleton({**build, "seed": seed}, Path()).state_dict() for seed in (0, 1))
    return {name: tensor for name, tensor in one.items() if torch.equal(tensor, other[name])}


def skeleton(build: Mapping[str, Any], folder: Path) -> nn.Module:
    """The predictor's module with tensors of no meaning, but for those of the pretrained base."""
    task = _zeros(build)
    hardware = Hardware(device="cpu", threads=None, precision="fp32", deterministic=False, vectorize="loop")
    config = {**build, "model": _placed(build["model"], folder), "trust": []}
    builder = StrategyBuilder(config, hardware, task, build["n_steps"], build["facts"])
    strategy = builder.build(build["strategy"], "bundle").eval()
    adaptation = strategy.adapt(task.support())
    module = next(adaptation).module
    adaptation.close()
    return module


def _zeros(build: Mapping[str, Any]) -> OneTask:
    """A task of the same shape whose inputs are all zero (token masks: one)."""
    counts = build["counts"]
    n_classes = len(counts) if build["classification"] else 0
    objective: Objective = Classification(n_classes) if n_classes else Regression(build["n_outputs"])

    def inputs(n: int) -> Inputs:
        made = {
            name: (torch.ones if name == "attention_mask" else torch.zeros)(
                (n, *spec["shape"]), dtype=getattr(torch, spec["dtype"])
            )
            for name, spec in build["inputs"].items()
        }
        return made[""] if set(made) == {""} else made

    n = sum(counts)
    targets = (
        torch.repeat_interleave(torch.arange(n_classes), torch.tensor(counts))
        if n_classes
        else torch.zeros(n, build["n_outputs"])
    )
    labelled = Labelled(
        inputs=inputs(n),
        targets=targets,
        objective=objective,
        classes=tuple(map(str, range(n_classes))),
        tasks=(),
        task_of=np.zeros(n, dtype=np.int64),
        splits=(),
        split_of=np.zeros(n, dtype=np.int64),
        places=[],
        unlabelled=inputs(build["n_unlabelled"]) if build["n_unlabelled"] else None,
        skipped=(),
        recipe=build["recipe"],
        fingerprint="",
    )
    return OneTask(labelled, build["seed"])


def _placed(model: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The model's node, reading its base from the bundle where that holds a copy."""
    if not (folder / BASE).is_dir():
        return dict(model)
    base = str(folder / BASE)
    node = {key: base if key == "path" else value for key, value in model.items()}
    inner = node.get("preprocess")
    if isinstance(inner, Mapping) and "path" in inner:
        node["preprocess"] = {**inner, "path": base}
    return node


def _without_runs(strategy: Mapping[str, Any]) -> dict[str, Any]:
    """A run that gave a teacher is not needed to predict, and will not be where the bundle goes."""
    return {key: None if key.endswith("_run") else value for key, value in strategy.items()}
