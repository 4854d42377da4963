"""How often the interval that `coldstart adapt` prints holds the mean squared error it is about.

    python -m benchmarks.error_coverage                 the second table of docs/coverage.md, in some minutes

A draw is a regression of eight features with n labels, y = w x / 2 + noise, which ridge regression (`r2d2` of
the features as they are) learns from; the truth is its mean squared error on 3,000 fresh examples. Noise is
normal, t of three degrees of freedom, or normal with one error in twenty six times as large as the others.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.coverage import Shape, untold
from coldstart_cli.bundles.adapting.estimates import CONFIDENCE, estimated
from coldstart_cli.bundles.judging.held_out_labels import Rehearsal, Together
from coldstart_cli.config import composition
from coldstart_cli.core.objectives import Regression
from coldstart_cli.core.strategy import Strategy
from coldstart_cli.core.tasks import Examples, Support, TaskShape
from coldstart_cli.experiment.parts import StrategyBuilder
from coldstart_cli.hardware import Hardware

DIM, FRESH = 8, 3000
NOISES, LABELS = ("normal", "t of 3", "one in twenty far off"), (6, 10, 20, 40, 80)
HEAD = ["noise", "labels", "draws", "covered, %", "all too high, %", "all too low, %", "width / error"]


@dataclass(frozen=True)
class Row:
    """One cell of the table: shares of its draws, and the median of the intervals' widths over the errors."""

    noise: str
    n: int
    draws: int
    covered: float
    below: float
    above: float
    width: float

    def cells(self) -> list[str]:
        shares = (f"{100 * share:.1f}" for share in (self.covered, self.below, self.above))
        return [self.noise, str(self.n), str(self.draws), *shares, f"{self.width:.2f}"]


def coverage(strategy: Strategy, noise: str, n: int, draws: int, *, folds: tuple[int, int]) -> Row:
    """One cell: regressions with n labels each, drawn anew."""
    generator = np.random.default_rng([NOISES.index(noise), n])
    found = []
    for _ in range(draws):
        given, fresh = _drawn(noise, n, generator)
        support = Support(given.inputs, given.targets, Regression(1), int(generator.integers(2**31)))
        together = Together.of(np.arange(n), None)
        answers = Rehearsal(strategy, support, together, untold).answers(0, *folds)
        assert answers is not None
        measured = estimated(answers, Regression(1), ())
        assert measured.low is not None and measured.high is not None
        with torch.no_grad():
            said = next(strategy.adapt(support)).module(fresh.inputs)
        found.append(
            (measured.low, measured.high, measured.mean, float((said - fresh.targets).square().mean()))
        )
    low, high, mean, truth = np.array(found).T
    return Row(
        noise, n, draws, float(((low <= truth) & (truth <= high)).mean()), float((truth < low).mean()),
        float((truth > high).mean()), float(np.median((high - low) / mean)),
    )  # fmt: skip


def _drawn(noise: str, n: int, generator: np.random.Generator) -> tuple[Examples, Examples]:
    """n examples to learn from and fresh ones, both scaled by the first as `adapt` does."""
    weights = generator.normal(size=DIM) / 2
    sizes = (n, FRESH)
    inputs = [generator.normal(size=(size, DIM)) for size in sizes]
    targets = [x @ weights + _errors(noise, size, generator) for x, size in zip(inputs, sizes, strict=True)]
    mean, deviation = targets[0].mean(), targets[0].std()
    given, fresh = (
        Examples(torch.from_numpy(x).float(), torch.from_numpy((y - mean) / deviation).float()[:, None])
        for x, y in zip(inputs, targets, strict=True)
    )
    return given, fresh


def _errors(
    noise: str, size: int, generator: np.random.Generator
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    if noise == "t of 3":
        return generator.standard_t(3, size=size) / np.sqrt(3)
    errors = generator.normal(size=size)
    return errors if noise == "normal" else errors * np.where(generator.random(size) < 0.05, 5.0, 0.8)


def ridge() -> Strategy:
    """As `adapt model=features strategy=r2d2 strategy.source_training=false` builds it for reals."""
    words = ["model=features", "dataset=tabular", "dataset.root=none", "strategy=r2d2", "hardware=cpu"]
    ((_, config),) = composition.points([*words, "strategy.source_training=false"])
    hardware = Hardware(
        device="cpu", threads=1, processes=1, precision="fp32", deterministic=False, vectorize="loop",
        replay=False,
        shard=False, compile=False,
    )  # fmt: skip
    task = Shape((DIM,), Regression(1), TaskShape(None, 1, 1, 0))  # type: ignore[arg-type]
    facts = {"n_way": None, "n_source_outputs": 1, "source_groups": []}
    builder = StrategyBuilder(config, hardware, task, 1, facts)  # type: ignore[arg-type]
    return builder.build(config["strategy"], "strategy").eval()


def rows(draws: int) -> Iterator[Row]:
    values = composition.values_of("adapt", [])
    folds = (values["folds_to_estimate"], values["repeats_to_estimate"])
    strategy = ridge()
    for noise, n in itertools.product(NOISES, LABELS):
        yield coverage(strategy, noise, n, draws, folds=folds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--draws", type=int, default=300, help="tasks of each cell")
    torch.set_num_threads(1)
    print(f"Intervals of {100 * CONFIDENCE:g} %.\n\n| {' | '.join(HEAD)} |")
    print(f"| --- |{' ---: |' * (len(HEAD) - 1)}")
    for row in rows(parser.parse_args().draws):
        print(f"| {' | '.join(row.cells())} |", flush=True)
