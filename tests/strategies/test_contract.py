"""The laws of design, checked for every strategy that conf/strategy names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch

from coldstart_cli.assembly import Experiment

NAMES = sorted(p.stem for p in (Path(__file__).parents[2] / "conf" / "strategy").glob("*.yaml"))
Make = Callable[..., Experiment]


def test_contract_sees_every_strategy() -> None:
    assert len(NAMES) == 8


@pytest.mark.parametrize("name", NAMES)
def test_adapt_leaves_the_strategy_unchanged(experiment: Make, name: str) -> None:
    made = experiment(f"strategy={name}")
    strategy, task = made.strategy.eval(), made.source.tasks("new", [0])[0]
    before = {key: value.clone() for key, value in strategy.state_dict().items()}
    grads = [p.grad for p in strategy.parameters()]
    for adapted in islice(strategy.adapt(task.support), 3):
        adapted.module(task.query.inputs)
    after = strategy.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert grads == [p.grad for p in strategy.parameters()]


@pytest.mark.parametrize("name", NAMES)
def test_prediction_is_inductive_or_says_so(experiment: Make, name: str) -> None:
    made = experiment(f"strategy={name}")
    strategy, task = made.strategy.eval(), made.source.tasks("new", [0])[0]
    for adapted in islice(strategy.adapt(task.support), 2):
        with torch.no_grad():
            together = adapted.module(task.query.inputs)[:1]
            alone = adapted.module(task.query.inputs[:1])  # type: ignore[index]
    assert not strategy.transductive
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


def test_transductive_norm_is_declared_and_real(experiment: Make) -> None:
    made = experiment("strategy=maml", "model.norm=batch_transductive")
    strategy, task = made.strategy.eval(), made.source.tasks("new", [0])[0]
    assert strategy.transductive
    adapted = next(strategy.adapt(task.support))
    with torch.no_grad():
        together, alone = adapted.module(task.query.inputs)[:1], adapted.module(task.query.inputs[:1])  # type: ignore[index]
    assert not torch.allclose(together, alone, atol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_first_item_is_the_unadapted_predictor(experiment: Make, name: str) -> None:
    made = experiment(f"strategy={name}")
    task = made.source.tasks("new", [0])[0]
    items = list(islice(made.strategy.eval().adapt(task.support), 3))
    assert items
    with torch.no_grad():
        for adapted in items:
            outputs = adapted.module(task.query.inputs)
            assert outputs.shape == (len(task.query), 3)
            assert torch.isfinite(outputs).all()
    if len(items) > 1:
        other = made.source.tasks("new", [1])[0]
        first = next(made.strategy.adapt(other.support))
        with torch.no_grad():  # before any step it knows nothing of the support set
            torch.testing.assert_close(items[0].module(task.query.inputs), first.module(task.query.inputs))


@pytest.mark.parametrize("name", NAMES)
def test_order_of_the_support_set_does_not_matter(experiment: Make, name: str) -> None:
    made = experiment(f"strategy={name}", "dataset.k_shot=3")
    support = made.source.tasks("new", [0])[0].support
    query = made.source.tasks("new", [0])[0].query
    order = torch.randperm(len(support), generator=torch.Generator().manual_seed(1))
    shuffled = replace(support, inputs=support.inputs[order], targets=support.targets[order])  # type: ignore[index]
    strategy = made.strategy.eval()
    with torch.no_grad():
        one, two = (list(islice(strategy.adapt(s), 3))[-1].module(query.inputs) for s in (support, shuffled))
    torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_fit_lowers_its_loss(experiment: Make, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = experiment(
        f"strategy={name}", "optimizer.lr=0.01", "optimizer.schedule=constant", "optimizer.warmup=0"
    )
    strategy, source = made.strategy.train(), made.source
    batch = source.tasks("train", range(4))  # always the same tasks: whether it learns, not how fast
    monkeypatch.setattr(type(source), "tasks", lambda self, split, indices: batch[: len(indices)])
    monkeypatch.setattr(type(source.pool("train")), "__len__", lambda self: 96)
    losses = [values["loss"] for values in islice(strategy.fit(source), 60)]
    if not strategy.learns_from_source:
        assert losses == []
        return
    assert sum(losses[-10:]) < 0.97 * sum(losses[:10])


@pytest.mark.parametrize("name", NAMES)
def test_stopped_and_continued_fit_is_the_same_bit_for_bit(experiment: Make, name: str) -> None:
    through = experiment(f"strategy={name}")
    whole = list(islice(through.strategy.train().fit(through.source), 4))
    first = experiment(f"strategy={name}")
    half = list(islice(first.strategy.train().fit(first.source), 2))
    second = experiment(f"strategy={name}")
    second.strategy.load_state_dict(first.strategy.state_dict())
    second.strategy.optimizer.load_state_dict(first.strategy.optimizer.state_dict())  # type: ignore[union-attr,operator,arg-type]
    rest = list(islice(second.strategy.train().fit(second.source, start=len(half)), 2))
    assert whole == half + rest
    ours, theirs = through.strategy.state_dict(), second.strategy.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.mark.parametrize("name", [n for n in NAMES if n not in ("finetune", "linear_probe", "scratch")])
def test_vectorised_step_equals_looped_step(experiment: Make, name: str) -> None:
    states = []
    for mode in ("vmap", "loop"):
        made = experiment(
            f"strategy={name}", f"hardware.vectorize={mode}", "strategy.meta_batch_size=3", "optimizer=sgd"
        )
        strategy = made.strategy.double().train()
        list(islice(strategy.fit(made.source), 2))
        states.append(strategy.state_dict())
    for key, value in states[0].items():
        torch.testing.assert_close(value, states[1][key], rtol=1e-7, atol=1e-9)
