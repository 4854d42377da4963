"""What the processes of a pair do in test_sharding.py: they are started by name and import no test."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import torch

from coldstart_cli.evaluation.loop import tasks_of
from coldstart_cli.experiment import sharding
from coldstart_cli.experiment.assembly import assemble
from coldstart_cli.experiment.forecast import forecast
from coldstart_cli.experiment.trainer import Training
from coldstart_cli.processes import ranks, shards
from coldstart_cli.processes.signals import StopOnSignal, Stopped
from coldstart_cli.runs.run import Run
from coldstart_cli.training.optimizers import optimizers
from coldstart_cli.training.randomness import step_seed

T = TypeVar("T")
STEPS = 3


def in_double(work: Callable[[], T]) -> T:
    """In float64, where an order of sums does not grow into a difference."""
    torch.set_default_dtype(torch.float64)
    try:
        return work()
    finally:
        torch.set_default_dtype(torch.float32)


def trained(config: Mapping[str, Any]) -> dict[str, Any]:
    """A few steps, an adaptation in the midst of them, and all that a checkpoint would keep."""
    experiment = assemble(config)
    strategy, metrics, said = experiment.strategy, [], []
    held = sharding.held(strategy, experiment.hardware)
    steps = strategy.fit(experiment.source)
    for step in range(STEPS):
        torch.manual_seed(step_seed(config["seed"], step))
        strategy.train()
        metrics += list(islice(steps, 1))
        with held.whole():
            strategy.eval()
            (task,) = tasks_of(experiment.source, "new", 1)
            adapted = list(islice(strategy.adapt(task.support), 2))[-1]
            said.append(adapted.module(task.query.inputs).detach())
    learning = [p for encoder in sharding.encoders(strategy) for p in encoder.parameters()]
    moments = [
        t for _, o in optimizers(strategy) for of in o.state.values() for t in of.values() if t.numel() > 1
    ]
    total = shards.total(strategy.parameters())
    counts = {
        "weights": sum(shards.own(p).numel() for p in learning),
        "gradients": sum(shards.own(p.grad).numel() for p in learning if p.grad is not None),
        "moments": sum(shards.own(t).numel() for t in moments),
    }
    found = {"state": held.copied(), "optimizers": held.optimizer_states(), "metrics": metrics, "said": said}
    held.end()
    assert not any(shards.is_part(p) for p in strategy.parameters())
    ended = {name: tensor.clone() for name, tensor in strategy.state_dict().items()}
    return {**found, "counts": counts, "total": total, "ended": ended}


Jobs = Sequence[tuple[Mapping[str, Any], str, int | None]]
"""Arguments of `train_run`."""


def train_all(configs: Mapping[str, Mapping[str, Any]], folder: str, double: bool, jobs: Jobs) -> None:
    """Each process keeps what it has in the end; "wide" is forecast as well, and jobs are done."""
    for job in jobs:
        train_run(*job)
    found = {name: in_double(partial(trained, c)) if double else trained(c) for name, c in configs.items()}
    torch.save(found, Path(folder, f"{ranks.place().rank}.pt"))
    if "wide" in configs:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            forecast(assemble(configs["wide"]), Run(Path(folder, "run")))
        if ranks.first():
            Path(folder, "forecast").write_text(printed.getvalue())


class StopAfter(StopOnSignal):
    """A signal that comes after so many questions, one a step; None: never."""

    def __init__(self, steps: int | None) -> None:
        super().__init__()
        self.left = steps

    @property
    def requested(self) -> bool:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                self._received = 15
        return super().requested


def train_run(config: Mapping[str, Any], path: str, steps: int | None) -> None:
    """Trains, or continues, a run to the end of its budget, or until it is stopped after some steps."""
    experiment = in_double(lambda: assemble(config))
    parts = (experiment.strategy, experiment.source, experiment.training, experiment.hardware)
    with contextlib.suppress(Stopped):
        in_double(lambda: Training(*parts, Run(Path(path)), seed=0).fit([], StopAfter(steps)))
