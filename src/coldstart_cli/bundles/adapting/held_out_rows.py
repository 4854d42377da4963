"""What a bundle keeps of its answers to held-out labels: a number for each row, so that two can be paired."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from coldstart_cli.bundles.judging.held_out_labels import Answers
from coldstart_cli.bundles.kept.card import HeldOutRows
from coldstart_cli.datasets.own.labelled import Labelled
from coldstart_cli.digests import digest, file_digest

MOST_ROWS = 100_000
"""Of which a card keeps a number each; of more it keeps none."""


def scores_of(answers: Answers) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The examples that were held out, and of each, over repeats, the share of right answers or the mean
    squared error.
    """
    outputs, targets = answers.outputs, answers.targets
    each = (
        (outputs.argmax(-1) == targets).double()
        if targets.ndim == 1
        else (outputs - targets).square().mean(1).double()
    )
    names, of = np.unique(answers.examples, return_inverse=True)
    return names, np.bincount(of, each.numpy()) / np.bincount(of)


def rows_of(
    answers: Answers | None, labelled: Labelled, root: str | None, further: Sequence[str] = ()
) -> HeldOutRows | None:
    """None where nothing was held out, or rows are too many for a card.

    Args:
        root: where the files lie.
        further: tables beside them.
    """
    n = len(labelled)
    if answers is None or n > MOST_ROWS:
        return None
    names, scores = scores_of(answers)
    if answers.targets.ndim > 1:
        plain = (answers.outputs - answers.targets).square().mean()
        objective = labelled.objective
        whole = float(objective.metrics(answers.outputs, answers.targets)[objective.headline])
        scores = scores * (whole / float(plain) if plain > 0 else 1.0)
    rows = np.arange(n) if answers.order is None else answers.order
    found: list[float | None] = [None] * n
    for row, score in zip(rows[names].tolist(), scores.tolist(), strict=True):
        found[row] = float(f"{score:.6g}")
    clusters = np.zeros(n, np.int64)
    clusters[rows] = answers.together.clusters
    # numbered as they come, since another model may number the same groups in another order
    first = {name: i for i, name in reversed(list(enumerate(clusters.tolist())))}
    kept = tuple(first[name] for name in clusters.tolist())
    return HeldOutRows(data=_data(labelled, root, further), scores=tuple(found), clusters=kept)


def _data(labelled: Labelled, root: str | None, further: Sequence[str]) -> str:
    targets = labelled.targets
    labels = [labelled.classes[t] for t in targets.tolist()] if labelled.classes else targets.tolist()
    files = [file_digest(Path(name).expanduser()) for name in further]
    of_root = [] if root is None and files else _contents(labelled, root)
    return digest([repr(list(zip(labelled.places, labels, strict=True))), *of_root, *files])


def _contents(labelled: Labelled, root: str | None) -> list[str]:
    """Digests of the files that the rows were read from; the model's inputs where there are none."""
    if root is None:
        return [labelled.fingerprint]
    place = Path(root).expanduser()
    if place.is_file():
        return [file_digest(place)]
    named = dict.fromkeys(name.rpartition(" row ")[0] or name for name in labelled.places)
    files = [place / name for name in named]
    known = all(path.is_file() for path in files)
    return [file_digest(path) for path in files] if known else [labelled.fingerprint]
