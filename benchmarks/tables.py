"""`coldstart choose` on five labels a class of scikit-learn's tables, beside each of its candidates.

    python -m benchmarks.tables --draws 4                  the table of docs/choosing.md
    python -m benchmarks.tables --paired --draws 100       ours against scikit-learn's, in docs/results.md

A draw is a file of labelled rows, as a person would give it; what is printed is the accuracy on all other
rows of the winner's bundle, of the bundle of each candidate, and of scikit-learn's own standardised logistic
regression.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn import datasets
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from coldstart_cli import Bundle, adapt, choose
from coldstart_cli.strategies.building_blocks.logistic_regression import logistic_regression

SETS = {
    "wine": datasets.load_wine,
    "breast cancer": datasets.load_breast_cancer,
    "digits": datasets.load_digits,
}
BESIDE = {
    "logistic": ("strategy=logistic", "strategy.C=1", "strategy.normalise=false"),
    "extra_trees": ("strategy=extra_trees",),
    "boosted_trees": ("strategy=boosted_trees",),
}
FEW = ("folds_to_estimate=2", "repeats_to_estimate=1")  # only the predictor is looked at


def drawn(y: NDArray[np.int64], k: int, seed: int) -> NDArray[np.int64]:
    generator = np.random.default_rng(seed)
    return np.concatenate([generator.permutation(np.flatnonzero(y == c))[:k] for c in np.unique(y)])


def share(bundle: Bundle, x: NDArray[np.float32], y: NDArray[np.int64]) -> float:
    said = np.array([int(str(label).removeprefix("c")) for label in bundle.predict(x).labels])
    return float((said == y).mean())


def settings(
    x: NDArray[np.float32], y: NDArray[np.int64], seen: NDArray[np.int64], rest: NDArray[np.int64]
) -> dict[str, float]:
    """Accuracy in % on the rest of our logistic regression and of scikit-learn's, on one draw."""
    scaler = StandardScaler().fit(x[seen])
    a, b = (torch.from_numpy(scaler.transform(x[rows])) for rows in (seen, rest))
    weight, bias = logistic_regression(a, torch.from_numpy(y[seen]), len(np.unique(y)), 1.0)
    said = (b @ weight.T + bias).argmax(-1).numpy()
    found = {"ours": 100 * float((said == y[rest]).mean())}
    for C in (1.0, 0.1, 0.5, 2.0, 10.0):
        model = LogisticRegression(C=C, max_iter=2000).fit(a.numpy(), y[seen])
        found[f"C = {C:g}"] = 100 * model.score(b.numpy(), y[rest])
    whole = StandardScaler().fit(x)
    model = LogisticRegression(max_iter=2000).fit(whole.transform(x[seen]), y[seen])
    found["scaled by all rows"] = 100 * model.score(whole.transform(x[rest]), y[rest])
    return found


def paired(arguments: Mapping[str, Any]) -> None:
    """A row for each table: means over draws, and differences from scikit-learn at C = 1 with their 95 %."""
    warnings.simplefilter("ignore")
    digits = datasets.load_digits(return_X_y=True)
    tables = {name: load(return_X_y=True) for name, load in SETS.items()}
    tables["iris"] = datasets.load_iris(return_X_y=True)
    for pair in ((3, 8), (1, 7), (4, 9)):
        rows = np.isin(digits[1], pair)
        tables[f"digits {pair[0]}, {pair[1]}"] = (digits[0][rows], (digits[1][rows] == pair[1]).astype(int))
    for name, (x, y) in tables.items():
        draws = [drawn(y, arguments["k"], draw) for draw in range(arguments["draws"])]
        found = [
            settings(x.astype(np.float32), y, seen, np.setdiff1d(np.arange(len(y)), seen)) for seen in draws
        ]
        theirs = np.array([one["C = 1"] for one in found])
        cells = [f"{theirs.mean():.1f} ± {1.96 * theirs.std(ddof=1) / len(theirs) ** 0.5:.1f}"]
        for key in found[0]:
            if key != "C = 1":
                gains = np.array([one[key] for one in found]) - theirs
                half = 1.96 * gains.std(ddof=1) / len(gains) ** 0.5
                cells.append(f"{gains.mean():+.1f} ± {half:.1f}")
        if name == next(iter(tables)):
            heads = ["data", "scikit-learn, C = 1, %", *(key for key in found[0] if key != "C = 1")]
            print(f"| {' | '.join(heads)} |\n|{' --- |' * len(heads)}", flush=True)
        print(f"| {' | '.join([name, *cells])} |", flush=True)


def main(arguments: Mapping[str, Any]) -> None:
    warnings.simplefilter("ignore")
    head = ["data", "draw", "winner", "by", "of choose, %", "said, %", *(f"{n}, %" for n in BESIDE)]
    head += ["scikit-learn, %", "s"]
    print(f"| {' | '.join(head)} |\n|{' --- |' * len(head)}", flush=True)
    for name, load in SETS.items():
        x, y = load(return_X_y=True)
        x = x.astype(np.float32)
        for draw in range(arguments["draws"]):
            seen = drawn(y, arguments["k"], draw)
            rest = np.setdiff1d(np.arange(len(y)), seen)
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder, "rows.npz")
                np.savez(path, x=x[seen], y=np.array([f"c{c}" for c in y[seen]]))
                words = ("dataset=arrays", f"dataset.root={path}", "hardware=cpu", "hardware.threads=1")
                before = time.perf_counter()
                asked = (f"time_minutes={arguments['minutes']}", f"outputs={folder}/outputs")
                verdict, bundle = choose(*words, *asked, bundle=Path(folder, "b"))
                seconds = time.perf_counter() - before
                plain = ("model=features", "dataset.standardise=true", *FEW)
                bundles = {
                    n: adapt(*words, *own, *plain, bundle=Path(folder, n)) for n, own in BESIDE.items()
                }
                cells = [f"{100 * share(one, x[rest], y[rest]):.1f}" for one in (bundle, *bundles.values())]
            model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)).fit(x[seen], y[seen])
            said = verdict.rows[0]
            interval = (
                f"{100 * (said.value or 0):.1f} [{100 * (said.low or 0):.1f}, {100 * (said.high or 0):.1f}]"
            )
            theirs = f"{100 * model.score(x[rest], y[rest]):.1f}"
            row = [name, str(draw), verdict.winner, verdict.by, cells[0], interval, *cells[1:], theirs]
            print(f"| {' | '.join([*row, f'{seconds:.0f}'])} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--draws", type=int, default=4)
    parser.add_argument("--k", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--paired", action="store_true", help="logistic regression alone, ours and theirs")
    asked = vars(parser.parse_args())
    (paired if asked["paired"] else main)(asked)
