"""`coldstart choose` on eight labels a class of six sets of texts, beside what it chose among.

    python -m benchmarks.few_labels --draws 2                  the table of docs/choosing.md
    python -m benchmarks.few_labels --sets mr subj banking77_validation    sets that nothing is reported of

A draw is a file of labelled texts, as a person would give it; what is printed is the accuracy of the winner's
bundle and of `logistic` (which scikit-learn's LogisticRegression equals) on texts of the test part, the
negative log likelihood of both, and the seconds that the whole choice took.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from coldstart_cli import Bundle, adapt, choose

Pairs = list[tuple[str, str]]
SETS = ("cr", "sst5", "ag_news", "trec", "banking77", "clinc150")
MOST_TESTED = 1000


def parts(name: str, data: Path, seed: int) -> tuple[Pairs, Pairs]:
    """Texts with labels to draw from, and those that judge."""
    if name == "clinc150":
        full = json.loads((data / name / "data_full.json").read_text())
        return [tuple(pair) for pair in full["train"]], [tuple(pair) for pair in full["test"]]
    if name.startswith("banking77"):
        found = [_rows(data / "banking77" / f"{part}.csv", "category") for part in ("train", "test")]
        labels = sorted({label for _, label in found[0]})
        if name == "banking77_validation":  # fifteen intents, others each time
            labels = random.Random(seed).sample(labels[::3], 15)
        return tuple([pair for pair in part if pair[1] in labels] for part in found)  # type: ignore[return-value]
    with (data / "sentences" / f"{'ag_news_test' if name == 'ag_news' else name}.csv").open(
        newline=""
    ) as file:
        rows = list(csv.DictReader(file))
    if any(row.get("split") == "test" for row in rows):
        return tuple(  # type: ignore[return-value]
            [(row["text"], row["label"]) for row in rows if row["split"] == part]
            for part in ("train", "test")
        )
    random.Random(0).shuffle(rows)
    pairs = [(row["text"], row["label"]) for row in rows if row["text"].strip()]
    return pairs[len(pairs) // 5 :], pairs[: len(pairs) // 5]


def _rows(path: Path, label: str) -> Pairs:
    with path.open(newline="") as file:
        return [(row["text"], row[label]) for row in csv.DictReader(file)]


def drawn(pairs: Pairs, k: int, seed: int) -> Pairs:
    generator, found = random.Random(seed), []
    for label in sorted({label for _, label in pairs}):
        found += generator.sample(sorted(pair for pair in pairs if pair[1] == label), k)
    return found


def write(path: Path, pairs: Pairs) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *pairs])


def scored(bundle: Bundle, tested: Pairs) -> tuple[float, float]:
    """Accuracy, and negative log likelihood of the right label."""
    found = bundle.predict([text for text, _ in tested])
    assert found.probabilities is not None
    place = {name: column for column, name in enumerate(found.classes)}
    right = np.array([place[label] for _, label in tested])
    p = found.probabilities.numpy()
    likely = p[np.arange(len(p)), right].clip(1e-12)
    return float((p.argmax(1) == right).mean()), float(-np.log(likely).mean())


def main(arguments: Mapping[str, Any]) -> None:
    warnings.simplefilter("ignore")
    head = "data | draw | classes | winner | by | accuracy, % | said, % | logistic, % | NLL | of logistic | s"
    print(f"| {head} |")
    print(f"| --- |{' --- |' * 10}", flush=True)
    names: Sequence[str] = arguments["sets"]
    for name in names:
        for draw in range(arguments["first"], arguments["first"] + arguments["draws"]):
            learned, tested = parts(name, Path(arguments["data"]), draw)
            random.Random(draw).shuffle(tested)
            tested = tested[:MOST_TESTED]
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder, "labels.csv")
                write(path, drawn(learned, arguments["k"], draw))
                words = ("dataset=text", f"dataset.root={path}", "hardware=cpu", "hardware.threads=1")
                before = time.perf_counter()
                asked = (f"time_minutes={arguments['minutes']}", f"outputs={folder}/outputs")
                verdict, bundle = choose(*words, *asked, bundle=Path(folder, "b"))
                seconds = time.perf_counter() - before
                plain = adapt(
                    *words, "strategy=logistic", "model=minilm_frozen", bundle=Path(folder, "plain")
                )
                (own, own_nll), (other, other_nll) = scored(bundle, tested), scored(plain, tested)
            said = verdict.rows[0]
            cells = [
                name, draw, verdict.classes, verdict.winner, verdict.by, f"{100 * own:.1f}",
                f"{100 * (said.value or 0):.1f} [{100 * (said.low or 0):.1f}, {100 * (said.high or 0):.1f}]",
                f"{100 * other:.1f}", f"{own_nll:.2f}", f"{other_nll:.2f}", f"{seconds:.0f}",
            ]  # fmt: skip
            print(f"| {' | '.join(map(str, cells))} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--draws", type=int, default=2)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--k", type=int, default=8)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--data", default="../shared/data", help="folder with sentences, banking77, clinc150")
    main(vars(parser.parse_args()))
