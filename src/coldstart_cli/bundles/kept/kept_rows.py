"""What a bundle keeps of the rows it has learned from: enough to say what changes with the next ones.

Hashes of 64 bits by which a row is known again, its label, and what learners that had not seen it answered.
No text, no number and no picture: but who has a row can tell whether it was among them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coldstart_cli.bundles.judging.held_out_labels import Answers
from coldstart_cli.core.objectives import Regression
from coldstart_cli.datasets.own.labelled import Labelled
from coldstart_cli.digests import row_hashes
from coldstart_cli.errors import RequestError

_UNSEEN = -1


@dataclass(frozen=True, slots=True)
class KeptRows:
    """n rows of a bundle's data, in their order.

    Attributes:
        contents: (n,) a hash of each (`Labelled.content_hashes`).
        labels: (n,) the number of its class among the card's labels; of reals a hash of six digits of each.
        answers: (n, n_repeats) int32 the class that a learner answered which had not seen the row, -1 where
            none was asked; of reals empty.
        errors: (n,) of reals the mean squared error of such learners in the target's unit, nan where none was
            asked; of classes empty.
    """

    contents: NDArray[np.uint64]
    labels: NDArray[np.int64]
    answers: NDArray[np.int32]
    errors: NDArray[np.float64]

    @classmethod
    def of(cls, labelled: Labelled, answers: Answers | None) -> KeptRows:
        """Of the rows that are adapted to, and the answers by cross-validation, if there are any."""
        n = len(labelled)
        if labelled.classes:
            labels = labelled.targets.numpy().astype(np.int64)
            return cls(labelled.content_hashes(), labels, _classes(n, answers), np.empty(0))
        assert isinstance(labelled.objective, Regression)
        reals = labelled.objective.values(labelled.targets.double()).tolist()
        written = (" ".join(f"{value:.6g}" for value in row).encode() for row in reals)
        labels = row_hashes(written).view(np.int64)
        errors = _errors(n, answers, labelled.objective)
        return cls(labelled.content_hashes(), labels, np.empty((n, 0), np.int32), errors)

    def as_bytes(self) -> bytes:
        """A file of safetensors."""
        from safetensors.numpy import save

        named = {name: getattr(self, name) for name in self.__slots__}
        return bytes(save({name: np.ascontiguousarray(array) for name, array in named.items()}))

    @classmethod
    def from_bytes(cls, content: bytes, n_classes: int) -> KeptRows:
        """What `as_bytes` wrote, which somebody else may have changed.

        Raises:
            RequestError: where it is damaged.
        """
        from safetensors.numpy import load

        try:
            found = cls(**load(content))
        except Exception as error:  # a file of somebody else's raises nearly anything
            raise RequestError("bundle: its file of rows is damaged; make it again") from error
        n = len(found.contents)
        kinds = (np.uint64, np.int64, np.int32, np.float64)
        arrays: tuple[NDArray[Any], ...] = (found.contents, found.labels, found.answers, found.errors)
        sound = [array.dtype for array in arrays] == [*map(np.dtype, kinds)]
        shapes = found.contents.shape == found.labels.shape == (n,) and found.answers.shape[:1] == (n,)
        if not sound or not shapes or found.answers.ndim != 2 or found.errors.shape not in ((n,), (0,)):
            raise RequestError("bundle: its file of rows is damaged; make it again")
        if n_classes and n and not (0 <= found.labels.min() <= found.labels.max() < n_classes):
            raise RequestError("bundle: its file of rows is damaged; make it again")
        if n_classes and found.answers.size and not found.answers.max() < n_classes:
            raise RequestError("bundle: its file of rows is damaged; make it again")
        return found

    @property
    def judged(self) -> NDArray[np.bool_]:
        """(n,) whether a learner that had not seen it was asked."""
        if len(self.errors):
            return np.isfinite(self.errors)
        return np.asarray((self.answers > _UNSEEN).any(1))


def _classes(n: int, answers: Answers | None) -> NDArray[np.int32]:
    if answers is None:
        return np.empty((n, 0), np.int32)
    found = np.full((n, answers.n_repeats), _UNSEEN, np.int32)
    rows = answers.together.rows[answers.examples]
    repeats = np.minimum(answers.folds // answers.n_folds, answers.n_repeats - 1)
    found[rows, repeats] = answers.outputs.argmax(-1).numpy()
    return found


def _errors(n: int, answers: Answers | None, objective: Regression) -> NDArray[np.float64]:
    found = np.full(n, np.nan)
    if answers is None:
        return found
    said, true = (objective.values(t.double()) for t in (answers.outputs, answers.targets))
    squares = (said - true).square().mean(1).numpy()
    rows = answers.together.rows[answers.examples]
    counts = np.bincount(rows, minlength=n)
    found[counts > 0] = np.bincount(rows, squares, minlength=n)[counts > 0] / counts[counts > 0]
    return found
