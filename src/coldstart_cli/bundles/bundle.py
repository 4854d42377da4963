"""Bundles: a predictor for one task as a folder that can be moved, read and trusted.

It holds values only: a card, tensors, perhaps a copy of the pretrained base; no source examples, nothing that
runs, and no support examples but where the predictor reads them as demonstrations, which the card says. Which
files these are: `folder`. How the predictor is built again: `rebuild`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from coldstart_cli.bundles.evaluating.evaluation import Evaluation
from coldstart_cli.bundles.judging.temperature import probabilities
from coldstart_cli.bundles.kept import folder
from coldstart_cli.bundles.kept.card import CARD, Card, Sizes
from coldstart_cli.bundles.kept.folder import Contents
from coldstart_cli.bundles.predicting.prediction import Answered, Prediction
from coldstart_cli.bundles.rebuild import base_tensors, objective_of, placed, skeleton, tensors_of
from coldstart_cli.core.objectives import Regression
from coldstart_cli.core.tasks import Inputs
from coldstart_cli.datasets.own.input_range import shift_from
from coldstart_cli.datasets.own.layouts import raw_values, read_raw
from coldstart_cli.datasets.own.raw import Raw
from coldstart_cli.datasets.readers.problems import OnBad, Problems
from coldstart_cli.errors import RequestError
from coldstart_cli.evaluation.costs import parameter_count
from coldstart_cli.experiment.parts import preprocess_of
from coldstart_cli.files.untrusted import shaped
from coldstart_cli.models.preprocess import Preprocess
from coldstart_cli.models.pretrained.features import check_files, files_read

AT_ONCE = 256
"""Inputs that are predicted together."""


class Bundle:
    """A predictor for one task, with what it takes to read raw inputs.

    Example:
        >>> bundle = Bundle.load("bundle")
        >>> bundle.predict([{"a": 1, "b": 2}]).labels
        ['x']

    Attributes:
        card: what it is, what it was made of and how well it does, as in card.json.
        module: inputs (n, ...) -> (n, n_outputs) logits or values.
        preprocess: what the model does to examples that the card's recipe has read.
        path: the folder it lies in; None before it is saved.
        found: whether `adapt` found it as it was, for nothing had changed.
    """

    found = False

    def __init__(
        self, card: Card, module: nn.Module, preprocess: Preprocess, path: Path | None = None
    ) -> None:
        self.card, self.module, self.preprocess, self.path = card, module.eval(), preprocess, path

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Bundle:
        """Reads the folder that `coldstart adapt` wrote, or that somebody else has sent.

        Raises:
            RequestError: where it is not a bundle, damaged, of a newer version, holds anything but values, or
                was made over other pretrained weights than those at its `model.path`.
        """
        return folder.read(Path(path), lambda contents: cls._of(contents, Path(path)))

    @classmethod
    def _of(cls, contents: Contents, path: Path) -> Bundle:
        from safetensors.torch import load

        card, base = contents.card, contents.base
        with shaped("bundle", path / CARD):
            preprocess = preprocess_of(placed(card.build.model, base), "bundle", [])
            if base is not None:  # which goes where another bundle takes this one's place
                preprocess.load()
        try:
            module = skeleton(card.build, base)
            if base is None:  # else the digests of its files were compared
                now = files_read(card.build.model, preprocess, module)
                check_files(card.pretrained, now, f"bundle: {path}", card.build.model.get("path"))
            missing, unexpected = _load(module, load(contents.weights))
        except RequestError:
            raise
        except Exception as error:  # a card of somebody else's raises nearly anything
            why = " ".join(str(error).split())[:120]
            raise RequestError(f"bundle: the weights of {path} are damaged ({why}); make it again") from error
        if unexpected or missing != {*card.build.from_base}:
            raise RequestError(f"bundle: the weights of {path} do not fit its card; make it again")
        return cls(card, module, preprocess, path)

    def save(
        self, path: Path, base: Path | None, *, copy_base: bool, rows: bytes | None = None, keep: int = 0
    ) -> None:
        """Writes the folder whole, in place of a bundle that is there; see `folder.write`.

        Tensors that equal those of the pretrained base bit for bit are left to it.

        Args:
            base: folder of the pretrained base, or None.
            copy_base: put a copy of it into the bundle, which then needs nothing else.
            rows, keep: see `folder.write`.

        Raises:
            RequestError: where the folder exists and is not a bundle, or cannot be written.
        """
        from safetensors.torch import save

        build = self.card.build
        state = tensors_of(self.module)
        of_base = {} if base is None else base_tensors(build)
        left = [n for n, t in of_base.items() if n in state and torch.equal(state[n].cpu(), t)]
        own = {n: t.detach().cpu().contiguous().clone() for n, t in state.items() if n not in left}
        known = self.module.state_dict().keys()  # what lies in files of the base alone goes without saying
        card = replace(
            self.card,
            build=replace(build, from_base=tuple(sorted(known & {*left}))),
            sizes=Sizes(
                parameters=parameter_count(self.module),
                stored_parameters=sum(t.numel() for t in own.values()),
            ),
            pretrained=files_read(build.model, self.preprocess, self.module),
        )
        copied = base if copy_base else None
        self.card = folder.write(path, card, save(own), copied, rows=rows, keep=keep)
        self.path = path

    def predict(self, raw: object, *, threshold: float | None = None) -> Prediction:
        """Labels with probabilities, or values: what `coldstart predict` says of the same raw examples.

        Example:
            >>> found = Bundle.load("bundle").predict([{"a": 1, "b": 2}, {"a": 9, "b": -3}])
            >>> found.labels
            ['x', 'y']

        Args:
            raw: n examples as they are, before any scaling, by the layout that was adapted to. tabular: a
                list of mappings {column: value}, a list of rows or an array (n, columns) in the order of the
                recipe's columns, or a DataFrame; None and NaN are missing values. text: a list of str.
                image_folder: a list of paths, of files' contents (bytes), of images of Pillow or of uint8
                arrays (H, W) or (H, W, C), or one array of n of these. arrays: an array (n, ...).
            threshold: below this probability it abstains (label None); None: the card's.

        Raises:
            RequestError: naming the row, counted from 0, and the column that cannot be read.
        """
        recipe = self.card.build.recipe
        parts = raw_values(recipe, self.preprocess, raw, chunk=AT_ONCE)  # chunks as of the command: same bits
        outputs = [self.outputs(part.inputs) for part in parts]
        return self.read(torch.cat(outputs or [torch.zeros(0, self.card.build.n_outputs)]), threshold)

    def evaluate(
        self,
        path: str | os.PathLike[str],
        *,
        label_column: str | None = None,
        precision: float | None = None,
        on_bad: OnBad = "stop",
    ) -> Evaluation:
        """What a labelled file says of it: what `coldstart evaluate bundle=DIR` prints.

        Example:
            >>> Bundle.load("bundle").evaluate("test.csv", precision=0.95).classes.accuracy
            Estimate(value=0.93, low=0.9, high=0.95)

        Args:
            path: a labelled file or folder of the layout that was adapted to.
            label_column: of the label; None: as the data had it that were adapted to.
            precision: that a threshold is to keep, in (0, 1); None: no threshold is looked for.
            on_bad: whether the first row that cannot be read ends it, or all such are left out and counted.

        Raises:
            RequestError: for what cannot be read, or compared.
        """
        from coldstart_cli.bundles.evaluating.evaluating import evaluate  # which imports this module

        return evaluate(self, os.fspath(path), label_column=label_column, precision=precision, on_bad=on_bad)

    def raws(self, path: str, *, problems: Problems, chunk: int) -> Iterator[Raw]:
        """See `Predictor`."""
        return read_raw(self.card.build.recipe, self.preprocess, path, problems=problems, chunk=chunk)

    def answered(self, inputs: Inputs, threshold: float | None) -> Answered:
        """See `Predictor`."""
        shift = shift_from(self.card.input_ranges, inputs)
        outputs = self.outputs(inputs)
        sound = outputs.isfinite().reshape(len(outputs), -1).all(-1).tolist()
        return Answered(self.read(outputs, threshold), sound, shift)

    def outputs(self, inputs: Inputs) -> Tensor:
        """Logits or scaled values (n, n_outputs) of inputs that the preprocess has made."""
        with torch.no_grad():
            outputs: Tensor = self.module(inputs)
        return outputs.float()

    def read(self, outputs: Tensor, threshold: float | None = None) -> Prediction:
        """What outputs (n, n_outputs) mean: calibrated probabilities and labels, or values."""
        card = self.card
        objective = objective_of(card.build)
        if isinstance(objective, Regression):
            return Prediction([], None, objective.values(outputs), ())
        p = probabilities(outputs, card.temperature)
        best, index = p.max(-1)
        sure = best >= (card.threshold if threshold is None else threshold)
        labels = [card.labels[i] if s else None for i, s in zip(index.tolist(), sure.tolist(), strict=True)]
        return Prediction(labels, p, None, card.labels)


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
