"""Bundles: a predictor for one task as a folder that can be moved, read and trusted.

    card.json             what it is, what it was made of, how well it does, and how to build it again
    weights.safetensors   the predictor's tensors, without those of the pretrained base
    base/                 a copy of the pretrained base, where that was asked for

It holds values only: no source examples, no support examples, nothing that runs. How the predictor is built
again: `skeletons`.
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

from coldstart_cli.bundles.card import BASE, CARD, HARMLESS, WEIGHTS, read_card
from coldstart_cli.bundles.rebuild import base_tensors, objective_of, placed, skeleton, tensors_of
from coldstart_cli.bundles.temperature import probabilities
from coldstart_cli.core.objectives import Regression
from coldstart_cli.core.tasks import Inputs
from coldstart_cli.errors import RequestError
from coldstart_cli.experiment.parts import preprocess_of
from coldstart_cli.files.durable import write_bytes
from coldstart_cli.files.untrusted import shaped
from coldstart_cli.models.preprocess import Preprocess


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
            preprocess = preprocess_of(placed(build["model"], folder), "bundle", [])
        try:
            stored = load_file(folder / WEIGHTS)
            module = skeleton(build, folder)
            missing, unexpected = _load(module, stored)
        except RequestError:
            raise
        except Exception as error:  # a card of somebody else's raises nearly anything
            why = " ".join(str(error).split())[:120]
            raise RequestError(f"bundle: {folder / WEIGHTS} is damaged ({why}); make it again") from error
        if unexpected or missing != from_base:
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
        state = tensors_of(self.module)
        of_base = {} if base is None else base_tensors(self.card["build"])
        left = [n for n, t in of_base.items() if n in state and torch.equal(state[n].cpu(), t)]
        own = {n: t.detach().cpu().contiguous().clone() for n, t in state.items() if n not in left}
        known = self.module.state_dict().keys()  # what lies in files of the base alone goes without saying
        card = {**self.card, "build": {**self.card["build"], "from_base": sorted(known & {*left})}}
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
        objective = objective_of(self.card["build"])
        if isinstance(objective, Regression):
            return Prediction([], None, objective.values(outputs))
        names = self.card["labels"]
        p = probabilities(outputs, self.card["temperature"])
        best, index = p.max(-1)
        sure = best >= self.card["threshold"]
        labels = [names[i] if s else None for i, s in zip(index.tolist(), sure.tolist(), strict=True)]
        return Prediction(labels, p, None)


def _load(module: nn.Module, stored: Mapping[str, Tensor]) -> tuple[set[str], set[str]]:
    """Copies tensors into the module; names of its state that are missing, and names that it has not.

    Raises:
        RuntimeError: where a tensor has another shape.
    """
    missing, unexpected = module.load_state_dict(stored, strict=False)
    own = tensors_of(module)
    with torch.no_grad():
        for name in own.keys() & {*unexpected}:
            own[name].copy_(stored[name])
    return {*missing}, {*unexpected} - own.keys()
