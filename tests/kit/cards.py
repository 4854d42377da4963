"""Cards of bundles made from values alone: what `compare` reads of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from coldstart_cli.digests import digest


def write_card(folder: Path, scores: Sequence[float | None], **changes: Any) -> Path:
    """A folder with a card alone, whose rows were answered so."""
    known = [score for score in scores if score is not None]
    mean = sum(known) / len(known) if known else 0.0
    measured = {
        "metric": "accuracy",
        "mean": mean,
        "low": mean - 0.1,
        "high": mean + 0.05,
        "folds": 8,
        "repeats": 2,
    }
    card = {
        "strategy": "logistic", "model": "features", "data": {"root": "rows.csv"}, "said": [],
        "seconds": {"adaptation": 0.5, "in_all": 3.0}, "cross_validation": measured,
        "held_out": {"data": "d1", "scores": list(scores), "clusters": list(range(len(scores)))}, **changes,
    }  # fmt: skip
    folder.mkdir(parents=True)
    (folder / "card.json").write_text(json.dumps(card))
    return folder


def keep_rows(folder: Path, contents: Sequence[int], labels: Sequence[int]) -> None:
    """Puts a file of rows beside a card, with hashes and the numbers of classes `a` and `b`."""
    named = {"contents": np.array(contents, np.uint64), "labels": np.array(labels, np.int64)}
    data = save(named)
    name = f"rows-{digest([data])}.safetensors"
    (folder / name).write_bytes(data)
    card = json.loads((folder / "card.json").read_text())
    card |= {"labels": ["a", "b"], "files": {name: digest([data], 64)}}
    (folder / "card.json").write_text(json.dumps(card))
