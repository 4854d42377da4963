"""How often what `coldstart choose` says of more labels comes true.

    python -m benchmarks.more_labels                   the table of docs/choosing.md
    python -m benchmarks.more_labels --split validation    other intents, on which its constants were chosen

A draw is a task of so many classes with k labels each. The curve is drawn from these labels by logistic
regression on frozen MiniLM features; the truth is its gain on fresh examples when more labels are added.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.coverage import features_of, strategy_of, texts_of, untold
from coldstart_cli.bundles.judging.held_out_labels import Rehearsal, Together
from coldstart_cli.choosing.learning_curve import learning_curve
from coldstart_cli.core.objectives import Classification
from coldstart_cli.core.strategy import Strategy
from coldstart_cli.core.tasks import Support
from coldstart_cli.metrics.extrapolation import curves

CELLS = ((5, 5, 10), (15, 5, 10), (15, 8, 16), (5, 10, 20))
"""Classes, labels a class, and how many there will be."""
FRESH = 25
CONFIDENCE = 0.9


def data(folder: Path, split: str) -> Iterator[tuple[str, Tensor, np.ndarray[Any, Any]]]:
    """(name, features, classes): every third class is for choosing constants, the others are reported."""
    for name, texts, labels in [*texts_of(folder), ("TREC", *_trec(folder))]:
        classes = np.unique(labels, return_inverse=True)[1]
        names = np.unique(classes)
        own = (
            names
            if name == "TREC"
            else names[names % 3 == 0]
            if split == "validation"
            else names[names % 3 != 0]
        )
        if name == "TREC" and split == "validation":
            continue
        kept = np.isin(classes, own)
        features = features_of(texts)
        yield name, features[torch.from_numpy(kept)], classes[kept]


def _trec(folder: Path) -> tuple[list[str], list[str]]:
    with (folder / "sentences" / "trec.csv").open(newline="") as file:
        rows = [(row["text"], row["label"]) for row in csv.DictReader(file)]
    kept = [row for i, row in enumerate(rows) if i % 4 == 0 or row[1] == "abbreviation"]
    return [text for text, _ in kept], [label for _, label in kept]


def gains(
    strategy: Strategy, features: Tensor, classes: Any, cell: tuple[int, int, int], draws: int
) -> Iterator[tuple[float, float, float, float]]:
    """(low, mean, high, true gain) of each draw."""
    way, k, more = cell
    generator = np.random.default_rng(cell)
    names, counts = np.unique(classes, return_counts=True)
    able = names[counts >= more + FRESH]
    if len(able) < way:
        return
    for _ in range(draws):
        chosen = generator.choice(able, way, replace=False)
        rows = [generator.permutation(np.flatnonzero(classes == name)) for name in chosen]
        seen, later = (np.concatenate([r[:n] for r in rows]) for n in (k, more))
        fresh = np.concatenate([r[more : more + 4 * FRESH] for r in rows])
        wanted = np.concatenate([np.full(len(r[more : more + 4 * FRESH]), i) for i, r in enumerate(rows)])
        targets = torch.arange(way).repeat_interleave(k)
        support = Support(features[seen], targets, Classification(way), int(generator.integers(2**31)))
        together = Together.of(np.arange(len(seen)), None)
        rehearsal = Rehearsal(strategy, support, together, untold, torch.arange(len(seen)))
        points = learning_curve(rehearsal, lambda part: 0, lambda done, total: None)
        found = curves([p.k for p in points], [p.share for p in points], len(seen), k).gain(more, CONFIDENCE)
        all_of_them = Support(
            features[later], torch.arange(way).repeat_interleave(more), Classification(way), 0
        )
        shares = [_share(strategy, one, features[fresh], wanted) for one in (support, all_of_them)]
        yield found.low, found.mean, found.high, shares[1] - shares[0]


def _share(strategy: Strategy, support: Support, fresh: Tensor, wanted: Any) -> float:
    with torch.no_grad():
        said = next(strategy.adapt(support)).module(fresh).argmax(-1).numpy()
    # each class counts the same, however many fresh examples it has
    return float(np.mean([(said[wanted == c] == c).mean() for c in np.unique(wanted)]))


def main(arguments: Mapping[str, Any]) -> None:
    torch.set_num_threads(1)
    head = "data | classes | k | then | draws | held, % | too low | too high | said | width | true, points"
    print(f"| {head} |")
    print(f"| --- |{' ---: |' * 10}")
    for name, features, classes in data(Path(arguments["data"]), arguments["split"]):
        strategy = strategy_of("logistic", features.shape[1])
        for cell in CELLS:
            found = np.array(list(gains(strategy, features, classes, cell, arguments["draws"])))
            if not len(found):
                continue
            low, mean, high, true = 100 * found.T
            cells = [(low <= true) & (true <= high), true > high, true < low]
            shares = [f"{100 * np.mean(cell_):.0f}" for cell_ in cells]
            tail = [f"{mean.mean():.1f}", f"{(high - low).mean():.1f}", f"{true.mean():.1f}"]
            print(f"| {' | '.join([name, *map(str, cell), str(len(found)), *shares, *tail])} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--split", choices=("validation", "new"), default="new")
    parser.add_argument("--data", default="../shared/data", help="folder with clinc150, banking77, sentences")
    main(vars(parser.parse_args()))
