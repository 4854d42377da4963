"""How good the strategy is that `coldstart choose` takes, and how often its interval holds its accuracy.

    python -m benchmarks.choice                 the tables of docs/choosing.md, in some minutes
    python -m benchmarks.choice --draws 20      a quick look

A draw is a task of so many classes with k labels each. Candidates are the frozen ones of candidates/text
(`heads`), or eight nearest centroids that each see 48 random directions of the features (`equals`: none is
better by more than luck). The truth is the accuracy of the one taken, learned from all labels, on 40 fresh
examples of each class. `alpha` is the level at which labels overrule the favourite, which is the first.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.coverage import _drawn, features_of, strategy_of, texts_of, untold
from coldstart_cli.bundles.adapting.estimates import estimated, without_luck
from coldstart_cli.bundles.judging.held_out_labels import Answers, Rehearsal, Together
from coldstart_cli.core.objectives import Classification
from coldstart_cli.core.strategy import Strategy
from coldstart_cli.core.tasks import Support
from coldstart_cli.metrics.choice import choose

ALPHAS = (0.0, 0.05, 0.15, 0.3, 0.5, 1.01)
"""The last one: labels alone decide."""
CELLS = ((2, 8), (5, 4), (15, 4))


@dataclass(frozen=True)
class Learner:
    """A candidate: a strategy on features, perhaps on some directions of them alone."""

    name: str
    strategy: Strategy
    reads: Callable[[Tensor], Tensor]


def learners(kind: str, dim: int) -> list[Learner]:
    if kind == "heads":
        names = ("logistic", "r2d2", "nearest_centroid")
        return [Learner(name, strategy_of(name, dim), lambda x: x) for name in names]
    made = []
    for number in range(8):
        directions = torch.randn(dim, 48, generator=torch.Generator().manual_seed(number)) / 48**0.5
        made.append(
            Learner(f"equal {number}", strategy_of("nearest_centroid", 48), partial(_seen, directions))
        )
    return made


def _seen(directions: Tensor, features: Tensor) -> Tensor:
    return features @ directions


def judged(
    learner: Learner, support: Support, features: Tensor, fresh: np.ndarray[Any, Any]
) -> tuple[Answers, Any]:
    """Its answers to held-out labels, and what it says of fresh examples after all labels."""
    seen = Support(learner.reads(support.inputs), support.targets, support.objective, support.seed)  # type: ignore[arg-type]
    together = Together.of(np.arange(len(seen)), None)
    order = torch.arange(len(seen))
    answers = Rehearsal(learner.strategy, seen, together, untold, order).answers(0, 8, 2)
    assert answers is not None
    module = next(learner.strategy.adapt(seen)).module
    with torch.no_grad():
        said = module(learner.reads(features[fresh])).argmax(-1).numpy()
    return answers, said


def cell(kind: str, features: Tensor, classes: Any, way: int, k: int, draws: int, *, random: bool) -> None:
    """Prints a row for each alpha."""
    generator, candidates = np.random.default_rng([way, k, random]), learners(kind, features.shape[1])
    rows: dict[float, list[tuple[float, ...]]] = {alpha: [] for alpha in ALPHAS}
    for _ in range(draws):
        seen, targets, fresh, wanted = _drawn(classes, way, k, generator, random=random)
        support = Support(
            features[seen], torch.from_numpy(targets), Classification(way), int(generator.integers(2**31))
        )
        found = [judged(learner, support, features, fresh) for learner in candidates]
        scores = np.stack([_right(answers) for answers, _ in found], 1)
        truths = [1 / way if random else float((said == wanted).mean()) for _, said in found]
        for alpha in ALPHAS:
            choice = choose(scores, np.arange(len(seen)), 0, alpha=alpha, seed=0)
            raw = estimated(found[choice.winner][0], support.objective, tuple(map(str, range(way))))
            measured = without_luck(raw, choice.luck)
            truth = truths[choice.winner]
            assert measured.low is not None and measured.high is not None
            rows[alpha].append(
                (
                    truth,
                    max(truths),
                    choice.overruled,
                    measured.low <= truth <= measured.high,
                    raw.mean,
                    measured.mean,
                )
            )
    what = "random" if random else kind
    for alpha, values in rows.items():
        means = [f"{100 * mean:.1f}" for mean in np.array(values, dtype=float).mean(0)]
        print(f"| {' | '.join([what, str(way), str(k), f'{min(alpha, 1):g}', *means])} |", flush=True)


def _right(answers: Answers) -> Any:
    each = (answers.outputs.argmax(-1) == answers.targets).double().numpy()
    _, of = np.unique(answers.examples, return_inverse=True)
    return np.bincount(of, each) / np.bincount(of)


HEAD = [
    "candidates", "classes", "k", "alpha", "accuracy of the one taken, %", "of the best, %",
    "overruled, %", "covered, %", "estimate before, %", "estimate, %",
]  # fmt: skip


def main(arguments: Mapping[str, Any]) -> None:
    torch.set_num_threads(1)
    for name, texts, labels in texts_of(Path(arguments["data"])):
        features, classes = features_of(texts), np.unique(labels, return_inverse=True)[1]
        print(f"\n{name}, {arguments['draws']} draws\n\n| {' | '.join(HEAD)} |")
        print(f"| --- |{' ---: |' * (len(HEAD) - 1)}")
        for kind, random in (("heads", False), ("equals", False), ("equals", True)):
            for way, k in CELLS:
                cell(kind, features, classes, way, k, arguments["draws"], random=random)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--draws", type=int, default=100, help="tasks of each cell")
    parser.add_argument("--data", default="../shared/data", help="folder with clinc150 and banking77")
    main(vars(parser.parse_args()))
