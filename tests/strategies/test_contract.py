"""The laws of design, checked for every strategy that conf/strategy names."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from coldstart_cli.experiment.assembly import Experiment
from coldstart_cli.testing.law import Law
from coldstart_cli.testing.test_strategy import cases
from coldstart_cli.testing.trial import Trial
from tests.kit.strategies import trials


@pytest.mark.parametrize(("trial", "law"), list(cases(trials())))
def test_strategy_keeps(trial: Trial, law: Law) -> None:
    assert not (broken := law.broken_by(trial)), broken


@pytest.mark.parametrize("trial", trials(), ids=repr)
def test_no_strategy_is_transductive_by_itself(trial: Trial) -> None:
    assert not trial.strategy.transductive


def test_transductive_norm_is_declared_and_real(experiment: Callable[..., Experiment]) -> None:
    made = experiment("strategy=maml", "model.norm=batch_transductive")
    strategy, task = made.strategy.eval(), made.source.tasks("new", [0])[0]
    assert strategy.transductive
    adapted = next(strategy.adapt(task.support))
    with torch.no_grad():
        together, alone = adapted.module(task.query.inputs)[:1], adapted.module(task.query.inputs[:1])  # type: ignore[index]
    assert not torch.allclose(together, alone, atol=1e-3)
