"""What `coldstart label-next` saves: accuracy against the number of labels, beside labels drawn by chance.

    python -m benchmarks.label_next               the table of docs/own_data.md
    python -m benchmarks.label_next --decide      the ways that were compared, on other intents

A draw is a pool of texts without labels, of some intents of BANKING77 or CLINC150 or of TREC's six classes;
ten are labelled at a time. The first are taken without a bundle, the others with a bundle that knows all
labels so far (logistic regression on frozen all-MiniLM-L6-v2). Accuracy is that on texts of the same classes
that are in no pool; a class that no label has is never answered. Half of the intents decide how examples are
taken (`--decide`), the other half and TREC are what is reported.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import t as student

from benchmarks.coverage import features_of, strategy_of
from coldstart_cli.bundles.labelling.picking import FEW, clusters, typical, uncertain
from coldstart_cli.core.objectives import Classification
from coldstart_cli.core.strategy import Strategy
from coldstart_cli.core.tasks import Support
from coldstart_cli.metrics.measures import label_efficiency

AT_ONCE, MOST = 10, 120
"""Labels at a time, and in all."""
POOL, FRESH = 60, 20
"""Texts of an intent, at most: to be labelled, and to judge by."""
OF_TREC = 2000
REPEATS = 5
"""Times that labels are drawn by chance, for each draw."""
SHOWN = (20, 40, 80, 120)

Reals = NDArray[np.float32]
Whole = NDArray[np.int64]


@dataclass(frozen=True)
class State:
    """What is known when labels are taken.

    Attributes:
        x: (m, d) of the pool without a label.
        seen: (l, d) of those that have one.
        margins: (m,) of a bundle that has learned from them; None before there is one.
        per_class: labels for each class that has any.
    """

    x: Reals
    seen: Reals
    margins: NDArray[np.float64] | None
    per_class: float


Pick = Callable[[State, int], Whole]
"""(state, seed) -> `AT_ONCE` places of x."""


@dataclass(frozen=True)
class Data:
    """Texts of a data set: features, classes, and which are to judge by."""

    name: str
    way: int
    features: Reals
    classes: Whole
    fresh: NDArray[np.bool_]


def by_chance(now: State, seed: int) -> Whole:
    return np.random.default_rng(seed).choice(len(now.x), AT_ONCE, replace=False)


def as_the_command(now: State, seed: int) -> Whole:
    """What `label-next` takes: typical examples while labels are few, then uncertain ones."""
    few = now.per_class < FEW
    return _typical(now, seed) if now.margins is None or few else _uncertain(now, seed)


def _typical(now: State, seed: int) -> Whole:
    return typical(now.x, now.seen, AT_ONCE, seed)


def _uncertain(now: State, seed: int) -> Whole:
    if now.margins is None:
        return _typical(now, seed)
    return uncertain(now.x, now.margins, AT_ONCE, seed)


def _least_margins(now: State, seed: int) -> Whole:
    return _typical(now, seed) if now.margins is None else np.argsort(now.margins, kind="stable")[:AT_ONCE]


def _centres(now: State, seed: int) -> Whole:
    """The example nearest to the mean of each cluster, then as `_uncertain`."""
    if now.margins is not None:
        return _uncertain(now, seed)
    of = clusters(now.x, AT_ONCE, np.random.default_rng(seed))
    found = [np.flatnonzero(of == c) for c in range(AT_ONCE) if (of == c).any()]
    return np.array([m[np.square(now.x[m] - now.x[m].mean(0)).sum(1).argmin()] for m in found])


WAYS: Mapping[str, Pick] = {
    "chance": by_chance,
    "label-next": as_the_command,
    "typical, then uncertain and diverse": _uncertain,
    "typical, then the least margins": _least_margins,
    "typical always": _typical,
    "centres, then uncertain and diverse": _centres,
}


def curve(
    strategy: Strategy, data: Data, rows: tuple[Whole, Whole], pick: Pick, seed: int
) -> dict[int, float]:
    """Number of labels -> accuracy on fresh texts.

    Args:
        rows: of the pool, and of the texts to judge by.
    """
    pool, fresh = rows
    x, labels = data.features[pool], data.classes[pool]
    taken = np.zeros(0, dtype=np.int64)
    found, margins, per_class = dict[int, float](), None, 0.0
    while len(taken) < min(MOST, len(pool) - AT_ONCE):
        left = np.setdiff1d(np.arange(len(pool)), taken)
        of_left = None if margins is None else margins[left]
        picked = pick(State(x[left], x[taken], of_left, per_class), seed * 1000 + len(taken))
        taken = np.concatenate([taken, left[picked]])
        names, targets = np.unique(labels[taken], return_inverse=True)
        per_class = len(taken) / len(names)
        if len(names) < 2:
            found[len(taken)] = float((data.classes[fresh] == names[0]).mean())
            continue
        objective = Classification(len(names))
        support = Support(torch.from_numpy(x[taken]), torch.from_numpy(targets), objective, seed)
        module = next(strategy.adapt(support)).module
        with torch.no_grad():
            said = module(torch.from_numpy(data.features[fresh])).argmax(-1).numpy()
            best = module(torch.from_numpy(x)).softmax(-1).topk(2).values.numpy()
        found[len(taken)] = float((names[said] == data.classes[fresh]).mean())
        margins = (best[:, 0] - best[:, 1]).astype(np.float64)
    return found


def drawn(data: Data, seed: int) -> tuple[Whole, Whole]:
    """The pool and the texts to judge by of one draw: `way` of the classes."""
    generator = np.random.default_rng(seed)
    chosen = generator.choice(np.unique(data.classes), data.way, replace=False)
    mine = np.isin(data.classes, chosen)
    pool, fresh = np.flatnonzero(mine & ~data.fresh), np.flatnonzero(mine & data.fresh)
    if data.name == "TREC":  # all classes in every draw: another part of the pool each time
        pool = np.sort(generator.choice(pool, len(pool) // 2, replace=False))
    return pool, fresh


def curves(strategy: Strategy, data: Data, pick: Pick, draws: int) -> list[dict[int, float]]:
    """One for each draw; of chance the mean of several."""
    found = []
    for seed in range(draws):
        rows, repeats = drawn(data, seed), REPEATS if pick is by_chance else 1
        several = [curve(strategy, data, rows, pick, seed + 7919 * i) for i in range(repeats)]
        found.append({n: float(np.mean([one[n] for one in several])) for n in several[0]})
    return found


def interval(values: list[float], unit: float) -> str:
    """Mean and half-width of the t interval of 95 %, over draws."""
    x = unit * np.array(values)
    half = student.ppf(0.975, len(x) - 1) * x.std(ddof=1) / len(x) ** 0.5
    return f"{x.mean():.1f} ± {half:.1f}"


def saved(ours: list[dict[int, float]], chance: list[dict[int, float]], n: int) -> str:
    """Labels fewer than n that reach what n labels by chance reach, over draws; a part is in pages of 20."""
    needed = [label_efficiency(b[n], a, higher_is_better=True) for a, b in zip(ours, chance, strict=True)]
    if not np.isfinite(needed).all():
        return f"not reached in {int((~np.isfinite(needed)).sum())} of {len(needed)}"
    return interval([n - x for x in needed], 1.0)


def data_sets(folder: Path, *, deciding: bool) -> Iterator[Data]:
    """Half of the intents of two data sets, and TREC where nothing is decided."""
    for name, way, parts in (("BANKING77", 12, _banking(folder)), ("CLINC150", 15, _clinc(folder))):
        labels = sorted({label for part in parts for _, label in part})
        half = np.random.default_rng(0).permutation(len(labels)) < len(labels) // 2
        mine = {label for label, first in zip(labels, half.tolist(), strict=True) if first == deciding}
        yield _data(name, way, [[pair for pair in part if pair[1] in mine] for part in parts], (POOL, FRESH))
    if not deciding:
        with (folder / "sentences" / "trec.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        parts = [
            [(r["text"], r["label"]) for r in rows if (r["split"] == "test") == t] for t in (False, True)
        ]
        chosen = np.random.default_rng(0).permutation(len(parts[0]))[:OF_TREC]
        yield _data("TREC", 6, [[parts[0][i] for i in chosen], parts[1]], (OF_TREC, OF_TREC))


def _data(name: str, way: int, parts: list[list[tuple[str, str]]], most: tuple[int, int]) -> Data:
    kept, fresh, seen, counts = (
        list[tuple[str, str]](),
        list[bool](),
        set[str](),
        dict[tuple[int, str], int](),
    )
    for i, part in enumerate(parts):
        for text, label in part:
            counts[i, label] = counts.get((i, label), 0) + 1
            if counts[i, label] <= most[i] and text.casefold() not in seen:
                seen.add(text.casefold())
                kept.append((text, label))
                fresh.append(i == 1)
    features = features_of([text for text, _ in kept]).numpy()
    classes = np.unique([label for _, label in kept], return_inverse=True)[1]
    return Data(name, way, features, classes, np.array(fresh))


def _banking(folder: Path) -> list[list[tuple[str, str]]]:
    found = []
    for part in ("train", "test"):
        with (folder / "banking77" / f"{part}.csv").open(newline="") as file:
            found.append([(row["text"], row["category"]) for row in csv.DictReader(file)])
    return found


def _clinc(folder: Path) -> list[list[tuple[str, str]]]:
    full = json.loads((folder / "clinc150" / "data_full.json").read_text())
    return [[(text, label) for text, label in full[part]] for part in ("train", "test")]


def main(arguments: Mapping[str, Any]) -> None:
    torch.set_num_threads(1)
    deciding, draws = arguments["decide"], arguments["draws"]
    named = arguments["ways"] or (list(WAYS) if deciding else list(WAYS)[:2])
    ways = {name: WAYS[name] for name in named}
    head = ["data", "labels taken by", *(f"{n} labels" for n in SHOWN), *(f"saved at {n}" for n in SHOWN[1:])]
    print(f"| {' | '.join(head)} |\n| --- | --- |{' ---: |' * (len(head) - 2)}")
    for data in data_sets(Path(arguments["data"]), deciding=deciding):
        strategy = strategy_of("logistic", data.features.shape[1])
        chance = curves(strategy, data, by_chance, draws)
        for name, pick in ways.items():
            ours = chance if pick is by_chance else curves(strategy, data, pick, draws)
            cells = [interval([one[n] for one in ours], 100) for n in SHOWN]
            cells += ["" if pick is by_chance else saved(ours, chance, n) for n in SHOWN[1:]]
            print(f"| {data.name} | {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument(
        "--decide", action="store_true", help="compare ways, on the other half of the intents"
    )
    parser.add_argument("--ways", nargs="*", choices=list(WAYS), help="those to show")
    parser.add_argument("--data", default="../shared/data", help="folder with banking77, clinc150, sentences")
    main(vars(parser.parse_args()))
