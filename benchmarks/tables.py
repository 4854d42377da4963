"""`coldstart choose` on five labels a class of scikit-learn's tables, beside each of its candidates.

    python -m benchmarks.tables --draws 4                  the table of docs/choosing.md

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
from numpy.typing import NDArray
from sklearn import datasets
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from coldstart_cli import Bundle, adapt, choose

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
    main(vars(parser.parse_args()))
