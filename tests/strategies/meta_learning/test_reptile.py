"""The outer step against torch's Adam, run on every task's mini-batches by hand."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import islice

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from coldstart_cli.experiment.assembly import Experiment
from coldstart_cli.strategies.meta_learning.reptile import Reptile
from coldstart_cli.training.inner_loop import batches, canonical

Make = Callable[..., Experiment]
PAPER = (
    "optimizer=sgd", "optimizer.lr=0.7", "optimizer.momentum=0", "optimizer.nesterov=false",
    "optimizer.weight_decay=0", "optimizer.schedule=constant", "optimizer.warmup=0",
)  # fmt: skip


def made_with(experiment: Make, *overrides: str) -> tuple[Reptile, Experiment]:
    fixed = ("strategy.outer_lr=null", "strategy.carry_state=false", "strategy.inner_lr=0.01")
    made = experiment("strategy=reptile", *fixed, "dataset.k_shot=2", *PAPER, *overrides)
    strategy = made.strategy.double().train()
    assert isinstance(strategy, Reptile)
    return strategy, made


def trained(strategy: Reptile, inputs: Tensor, targets: Tensor, size: int, steps: int, seed: int) -> Reptile:
    """A copy whose network torch.optim.Adam has trained on mini-batches."""
    mine = copy.deepcopy(strategy)
    adam = torch.optim.Adam(mine.network.parameters(), mine.inner["inner_lr"], betas=(0.0, 0.999))
    for chosen in islice(batches(len(targets), size, seed), steps):
        adam.zero_grad()
        F.cross_entropy(mine.network(inputs[chosen]), targets[chosen]).backward()  # type: ignore[no-untyped-call]
        adam.step()
    return mine


@pytest.mark.parametrize("mode", ["vmap", "loop"])
def test_outer_step_moves_towards_the_mean_of_the_trained_weights(experiment: Make, mode: str) -> None:
    strategy, made = made_with(
        experiment, "strategy.meta_batch_size=2", "strategy.inner_batch_size=5", f"hardware.vectorize={mode}"
    )
    ends = []
    for task in made.source.tasks("train", range(2)):
        inputs = torch.cat([task.support.inputs, task.query.inputs])  # type: ignore[list-item]
        targets = torch.cat([task.support.targets, task.query.targets])
        ends.append(trained(strategy, inputs, targets, 5, 5, task.support.seed).network.state_dict())
    before = copy.deepcopy(strategy.network.state_dict())
    next(strategy.fit(made.source))
    for name, found in strategy.network.state_dict().items():
        mean = (ends[0][name] + ends[1][name]) / 2
        torch.testing.assert_close(found, before[name] + 0.7 * (mean - before[name]), rtol=1e-6, atol=1e-8)


def test_reported_loss_is_that_of_the_next_mini_batch(experiment: Make) -> None:
    strategy, made = made_with(experiment, "strategy.meta_batch_size=1", "strategy.inner_batch_size=4")
    task = made.source.tasks("train", [0])[0]
    inputs = torch.cat([task.support.inputs, task.query.inputs])  # type: ignore[list-item]
    targets = torch.cat([task.support.targets, task.query.targets])
    end = trained(strategy, inputs, targets, 4, 5, task.support.seed)
    chosen = next(islice(batches(len(targets), 4, task.support.seed), 5, None))
    with torch.no_grad():
        expected = F.cross_entropy(end.network(inputs[chosen]), targets[chosen])
    assert next(strategy.fit(made.source))["loss"] == pytest.approx(float(expected), rel=1e-6)


def test_adaptation_takes_the_same_steps_on_the_support_set_alone(experiment: Make) -> None:
    strategy, made = made_with(experiment, "strategy.adapt_batch_size=4")
    support = made.source.tasks("new", [0])[0].support
    ordered = canonical(support)
    end = trained(strategy, ordered.inputs, ordered.targets, 4, 3, support.seed)  # type: ignore[arg-type]
    changed = next(islice(strategy.adapt(support), 3, None)).changed
    for name, value in end.network.named_parameters():
        torch.testing.assert_close(changed[name], value.detach(), rtol=1e-6, atol=1e-8)


def test_without_a_batch_size_every_step_on_a_new_task_sees_every_label(experiment: Make) -> None:
    strategy, made = made_with(experiment)
    support = made.source.tasks("new", [0])[0].support
    ordered = canonical(support)
    end = trained(strategy, ordered.inputs, ordered.targets, len(ordered), 2, support.seed)  # type: ignore[arg-type]
    changed = next(islice(strategy.adapt(support), 2, None)).changed
    for name, value in end.network.named_parameters():
        torch.testing.assert_close(changed[name], value.detach(), rtol=1e-5, atol=1e-7)


def test_carried_mean_squares_are_those_that_the_tasks_end_with(experiment: Make) -> None:
    """Two outer steps of one task each at epsilon 1: the authors' loop, one Adam for all tasks."""
    own = ("strategy.outer_lr=1.0", "strategy.carry_state=true", "strategy.meta_batch_size=1")
    strategy, made = made_with(
        experiment,
        *own,
        "strategy.inner_batch_size=5",
        "strategy.adapt_batch_size=5",
        "training.steps=1000000",
    )
    theirs = copy.deepcopy(strategy.network)
    adam = torch.optim.Adam(theirs.parameters(), 0.01, betas=(0.0, 0.999))
    for task in made.source.tasks("train", range(2)):
        inputs = torch.cat([task.support.inputs, task.query.inputs])  # type: ignore[list-item]
        targets = torch.cat([task.support.targets, task.query.targets])
        for chosen in islice(batches(len(targets), 5, task.support.seed), 5):
            adam.zero_grad()
            F.cross_entropy(theirs(inputs[chosen]), targets[chosen]).backward()  # type: ignore[no-untyped-call]
            adam.step()
    list(islice(strategy.fit(made.source), 2))
    ours = dict(strategy.network.named_parameters())
    for name, value in theirs.named_parameters():
        torch.testing.assert_close(ours[name], value, rtol=1e-4, atol=1e-6)  # epsilon is .999999 at step 2
    support = made.source.tasks("new", [0])[0].support
    ordered, adapting = canonical(support), next(islice(strategy.adapt(support), 1, None)).changed
    for chosen in islice(batches(len(ordered), 5, support.seed), 1):
        adam.zero_grad()
        F.cross_entropy(theirs(ordered.inputs[chosen]), ordered.targets[chosen]).backward()  # type: ignore[no-untyped-call,index]
        adam.step()
    for name, value in theirs.named_parameters():
        torch.testing.assert_close(adapting[name], value.detach(), rtol=1e-4, atol=1e-6)


def test_outer_rate_of_its_own_falls_linearly_to_zero(experiment: Make) -> None:
    strategy, made = made_with(experiment, "strategy.outer_lr=0.8", "training.steps=4")
    rates = []
    for _ in islice(strategy.fit(made.source), 4):
        rates.append(strategy.optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([0.8, 0.6, 0.4, 0.2])


def test_carried_state_without_an_outer_rate_is_refused(experiment: Make) -> None:
    from coldstart_cli.errors import RequestError

    with pytest.raises(RequestError, match=r"^strategy\.carry_state: .*; give outer_lr=1.0 or"):
        experiment("strategy=reptile", "strategy.outer_lr=null")


def test_mini_batches_depend_on_the_task_and_leave_no_class_out(experiment: Make) -> None:
    strategy, made = made_with(experiment, "strategy.inner_batch_size=18", "strategy.inner_steps=1")
    one, two = (strategy._in_batches(task) for task in made.source.tasks("train", range(2)))
    assert one.support.targets.bincount().tolist() == [6, 6, 6]  # 2 of the support, 4 of the query set
    assert not torch.equal(one.support.targets, two.support.targets)


def test_another_number_of_ways_and_running_statistics_are_refused(experiment: Make) -> None:
    from coldstart_cli.errors import RequestError

    with pytest.raises(RequestError, match=r"^strategy: its head was built for 3 outputs .*; train with"):
        experiment("strategy=reptile", "evaluation.n_way=4")
    with pytest.raises(RequestError, match=r"^model\.norm: .*; choose group"):
        experiment("strategy=reptile", "model.norm=batch")
