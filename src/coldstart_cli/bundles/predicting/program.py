"""A bundle's own ONNX, answered by onnxruntime and tokenizers: the same answers, and torch is not imported.

Only the predictor differs from `Bundle`: texts are read and answers written by the same functions.
"""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from coldstart_cli.bundles.kept import folder
from coldstart_cli.bundles.kept.card import Card
from coldstart_cli.bundles.predicting.prediction import Answered, Prediction
from coldstart_cli.datasets.own.raw import Raw
from coldstart_cli.datasets.own.raw_text import TextRecipe, raw_texts
from coldstart_cli.datasets.own.shift import WIDEST, shift_of
from coldstart_cli.datasets.readers.problems import Problems
from coldstart_cli.errors import RequestError
from coldstart_cli.models.pretrained.cutting import cut_of

FACTS = "coldstart.json"
"""The key of onnx's metadata that says what its inputs must be; see `exporting.facts_of`."""
AT_ONCE = 8
"""Texts of similar length in one call: little of it is padding, and all of it stays in the cache."""
NEEDED = ("onnxruntime", "tokenizers")


@final
class ProgramTexts:
    """Turns texts into `input_ids` and `attention_mask` (n, L) int64, cut and padded as `Tokens` does.

    Args:
        text: of a tokenizer.json that cuts at `max_length`.
        model_max_length: tokens that the model was made for.
    """

    def __init__(self, text: str, max_length: int, model_max_length: int) -> None:
        from tokenizers import Tokenizer

        self.max_length, self._most, self._text = max_length, model_max_length, text
        self._read: Tokenizer = Tokenizer.from_str(text)
        self._whole: Tokenizer | None = None

    def texts(self, texts: Sequence[str]) -> Mapping[str, NDArray[np.int64]]:
        found = self._read.encode_batch(list(texts))
        return {
            "input_ids": np.array([one.ids for one in found], np.int64),
            "attention_mask": np.array([one.attention_mask for one in found], np.int64),
        }

    def cut(self, texts: Sequence[str]) -> tuple[int, int]:
        """See `Preprocess.cut`."""
        return cut_of(texts, self._lengths, self.max_length, lambda: self._most)

    def _lengths(self, texts: list[str]) -> list[int]:
        if self._whole is None:
            self._whole = type(self._read).from_str(self._text)
            self._whole.no_truncation()
            self._whole.no_padding()
        return [len(one.ids) for one in self._whole.encode_batch(texts)]


@final
class OnnxPredictor:
    """A bundle of texts by its program; see `Predictor`.

    Attributes:
        runtime: name and version, to be told.
    """

    def __init__(self, program: folder.Program) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", "0") or 0)  # 0: all cores
        # What goes further takes longer to start, and is no faster on the graphs that `export` writes
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        self.card, self.runtime = program.card, f"onnxruntime {onnxruntime.__version__}"
        try:
            self._session = onnxruntime.InferenceSession(
                str(program.onnx), options, providers=["CPUExecutionProvider"]
            )
            facts = json.loads(self._session.get_modelmeta().custom_metadata_map[FACTS])
            self.preprocess = ProgramTexts(
                program.tokenizer, int(facts["max_length"]), int(facts["model_max_length"])
            )
            self._outputs = [one.name for one in self._session.get_outputs()]
            found = self.run(self.preprocess.texts(["a"]))["outputs"].shape
            if found != (1, self.card.build.n_outputs):
                raise ValueError(f"it answers in shape {found}")
        except Exception as error:  # files of somebody else's raise nearly anything
            why = " ".join(str(error).split())[:120]
            raise RequestError(
                f"bundle: {program.onnx} cannot be run ({why}); export it again, or predict with "
                "runtime=torch"
            ) from error

    @classmethod
    def load(cls, path: Path) -> OnnxPredictor | None:
        """The program in a bundle's folder; None where there is none.

        Raises:
            RequestError: where it is damaged, or cannot be run.
        """
        return folder.read_program(path, cls)

    def raws(self, path: str, *, problems: Problems, chunk: int) -> Iterator[Raw]:
        """See `Predictor`."""
        recipe = TextRecipe.from_json(self.card.build.recipe)
        return raw_texts(self.preprocess, path, recipe, problems=problems, chunk=chunk)

    def answered(self, inputs: Mapping[str, NDArray[np.int64]], threshold: float | None) -> Answered:
        """See `Predictor`."""
        found = self.run(inputs)
        outputs = found["outputs"]
        looked_at = {}
        if "features" in found:
            x = found["features"]
            looked_at[""] = x if x.shape[1] <= WIDEST else x.mean(1, keepdims=True)
        sound = [bool(np.isfinite(row).all()) for row in outputs]
        shift = shift_of(looked_at, self.card.input_ranges)
        return Answered(self._read(outputs, threshold), sound, shift)

    def run(self, inputs: Mapping[str, NDArray[np.int64]]) -> dict[str, NDArray[np.float32]]:
        """The program's outputs (n, ...) by name, texts of similar length together."""
        lengths = inputs["attention_mask"].sum(1)
        order = np.argsort(lengths, kind="stable")
        parts = []
        for start in range(0, len(order), AT_ONCE):
            rows = order[start : start + AT_ONCE]
            width = max(1, int(lengths[rows].max()))
            parts.append(
                self._session.run(self._outputs, {name: ids[rows, :width] for name, ids in inputs.items()})
            )
        back = np.argsort(order)
        columns = zip(*parts, strict=True)
        return {name: np.concatenate(c)[back] for name, c in zip(self._outputs, columns, strict=True)}

    def _read(self, outputs: NDArray[np.float32], threshold: float | None) -> Prediction:
        card: Any = self.card
        if not card.build.classification:
            return Prediction([], None, outputs, ())  # type: ignore[arg-type]
        z = outputs.astype(np.float64) / card.temperature
        e = np.exp(z - z.max(-1, keepdims=True))
        p = e / e.sum(-1, keepdims=True)
        sure = p.max(-1) >= (card.threshold if threshold is None else threshold)
        best = p.argmax(-1)
        labels = [card.labels[i] if s else None for i, s in zip(best.tolist(), sure.tolist(), strict=True)]
        return Prediction(labels, p, None, card.labels)


def missing() -> str | None:
    """The package that is not installed and without which no program runs, or None."""
    return next((name for name in NEEDED if importlib.util.find_spec(name) is None), None)


def held(path: Path) -> bool:
    """Whether a bundle's folder holds a program, which is not looked at."""
    return path.is_dir() and any(path.glob("predictor-*.onnx"))


def lost(path: Path, card: Card) -> bool:
    """Whether the card names a program and the folder holds none."""
    return any(name.endswith(".onnx") for name in card.files or ()) and not held(path)
