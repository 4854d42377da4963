"""The laws of design, checked for every strategy that conf/strategy names."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from coldstart_cli.experiment.assembly import Experiment
from coldstart_cli.testing.checking import laws_for
from coldstart_cli.testing.trial import Trial
from tests.kit.places import STRATEGIES, skip_without_package


@pytest.mark.timeout(600)  # ten seconds on a quiet machine, for all laws of a strategy
@pytest.mark.parametrize("name", STRATEGIES)
def test_strategy_keeps_every_law_that_concerns_it(name: str) -> None:
    """One test a strategy, whose trial all laws share; a broken law names itself and what to do."""
    skip_without_package(name)
    trial = Trial(name)
    laws = laws_for(trial)
    assert len(laws) >= 8
    assert [broken for law in laws if (broken := law.broken_by(trial))] == []
    assert not trial.strategy.transductive  # it would be let off a law; a norm alone may ask for that


def test_transductive_norm_is_declared_and_real(experiment: Callable[..., Experiment]) -> None:
    made = experiment("strategy=maml", "model.norm=batch_transductive")
    strategy, task = made.strategy.eval(), made.source.tasks("new", [0])[0]
    assert strategy.transductive
    adapted = next(strategy.adapt(task.support))
    with torch.no_grad():
        together, alone = adapted.module(task.query.inputs)[:1], adapted.module(task.query.inputs[:1])  # type: ignore[index]
    assert not torch.allclose(together, alone, atol=1e-3)
