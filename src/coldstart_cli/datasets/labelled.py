"""Examples of one's own, read whole: what every layout (folder of images, text, table, arrays) comes to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from coldstart_cli.core import Inputs, Objective


@dataclass(frozen=True, slots=True)
class Labelled:
    """n examples with their labels.

    Attributes:
        inputs: as the model's preprocess made them, (n, ...).
        targets: (n,) class ids, or (n, n_outputs) reals of a regression.
        objective: over all classes, or the regression.
        classes: names by class id; empty for a regression.
        tasks: names of the tasks the examples belong to, or empty where they are one task.
        task_of: (n,) the task of each example; zeros where they are one task.
        splits: names of the splits that the files say, or empty.
        split_of: (n,) the split of each example; zeros where the files say none.
        places: where each example was read (`intents.csv row 3`, `cats/a.png`), for messages.
        unlabelled: inputs without a label, or None.
        recipe: how raw examples of the same layout are read for prediction, as JSON keeps it; `kind` is
            images, texts or vectors: which of the preprocess's methods they go through.
        skipped: what could not be read and was left out, one line each.
        fingerprint: a digest of inputs and labels.
    """

    inputs: Inputs
    targets: Tensor
    objective: Objective
    classes: tuple[str, ...]
    tasks: tuple[str, ...]
    task_of: NDArray[np.int64]
    splits: tuple[str, ...]
    split_of: NDArray[np.int64]
    places: Sequence[str]
    unlabelled: Inputs | None
    recipe: Mapping[str, Any]
    skipped: tuple[str, ...]
    fingerprint: str

    def __len__(self) -> int:
        return len(self.targets)
