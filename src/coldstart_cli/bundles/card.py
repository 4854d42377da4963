"""A bundle's card as somebody else may have written it: what it must hold, and what it may not."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from coldstart_cli.config.building import check
from coldstart_cli.core.tasks import Strategy
from coldstart_cli.errors import RequestError
from coldstart_cli.files.durable import read_json
from coldstart_cli.models.network import Encoder
from coldstart_cli.renamed import renamed
from coldstart_cli.training.optimizers import OptimizerFactory

FORMAT = 1
"""Written into card.json. A reader refuses newer ones."""
CARD, WEIGHTS, BASE = "card.json", "weights.safetensors", "base"
HARMLESS = {".json", ".safetensors", ".txt", ".md"}
"""Files of a base: weights, configs and vocabularies, none of which runs."""
LARGEST_CARD = 2**23
MOST_VALUES = 2**28
"""Of the zeros that a predictor is built on."""


def read_card(folder: Path) -> dict[str, Any]:
    """The card of the bundle in a folder, which holds values only and builds nothing but what bundles do.

    Raises:
        RequestError: where it is none, damaged, of a newer version, or holds anything else.
    """
    if not folder.is_dir() or not (folder / CARD).is_file():
        raise RequestError(f"bundle: {folder} is no bundle (it has no {CARD}); coldstart adapt makes one")
    for file in folder.rglob("*"):
        inside = file.relative_to(folder)
        known = str(inside) in (CARD, WEIGHTS) or (inside.parts[0] == BASE and file.suffix in HARMLESS)
        if file.is_symlink() or (file.is_file() and not known):
            raise RequestError(
                f"bundle: {file} is no part of a bundle, which holds values only; remove it, if you trust "
                "the rest"
            )
    if (folder / CARD).stat().st_size > LARGEST_CARD:
        raise RequestError(f"bundle: {folder / CARD} is larger than any card; make it again")
    card = read_json(folder / CARD, "bundle")
    version = card.get("format")
    if not isinstance(version, int) or version > FORMAT:
        raise RequestError(
            f"bundle: {folder} has format {version}, this coldstart reads up to {FORMAT}; install a newer one"
        )
    card["build"] = renamed(card.get("build"))
    if not (_sound(card) and _drawable(card["build"])):
        raise RequestError(f"bundle: {folder / CARD} is damaged; make it again")
    for part, kind in (("strategy", Strategy), ("model", Encoder), ("optimizer", OptimizerFactory)):
        check(card["build"].get(part), f"bundle.{part}", kind, [])
    return card


def _sound(card: Mapping[str, Any]) -> bool:
    """Whether what `Bundle.read` takes of a card is there, and is what it should be."""
    known = {"build", "labels", "temperature", "threshold"} <= card.keys()
    if not known or not isinstance(card["build"], dict):
        return False
    labels = card["labels"]
    named = isinstance(labels, list) and all(isinstance(label, str) for label in labels)
    share = isinstance(card["threshold"], int | float) and 0 <= card["threshold"] <= 1
    return named and share and 0 < float(card["temperature"]) < math.inf


def _drawable(build: Mapping[str, Any]) -> bool:
    """Whether the zeros that a predictor is built on are tensors that fit into memory."""
    counts, inputs = build["counts"], build["inputs"]
    n = sum(counts) + build["n_unlabelled"]
    sizes = [n * math.prod(spec["shape"]) for spec in inputs.values()]
    whole = [
        *counts,
        build["n_unlabelled"],
        build["n_outputs"],
        *(d for s in inputs.values() for d in s["shape"]),
    ]
    dtypes = [getattr(torch, str(spec["dtype"]), None) for spec in inputs.values()]
    return (
        all(type(value) is int and value >= 0 for value in whole)
        and all(isinstance(dtype, torch.dtype) for dtype in dtypes)
        and bool(inputs)
        and max(sizes) + n * build["n_outputs"] <= MOST_VALUES
    )
