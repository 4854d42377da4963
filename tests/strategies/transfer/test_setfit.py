"""SetFit against numpy and torch's own optimizer: pairs, loss, steps, and the head that is solved on top."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from coldstart_cli.core.tasks import Task
from coldstart_cli.errors import RequestError
from coldstart_cli.experiment.assembly import Experiment
from coldstart_cli.strategies.building_blocks.logistic_regression import logistic_regression
from coldstart_cli.strategies.transfer.setfit import SetFit, cosine_similarity_loss, drawn_pairs
from coldstart_cli.training.inner_loop import canonical
from coldstart_cli.training.randomness import step_seed
from coldstart_cli.training.schedules import lr_factor

Make = Callable[..., Experiment]
TARGETS = torch.tensor([0, 0, 0, 1, 1, 2])


def made_in_double(experiment: Make, *overrides: str) -> tuple[SetFit, Task]:
    made = experiment("strategy=setfit", "dataset.k_shot=3", *overrides)
    strategy = made.strategy.double().eval()
    assert isinstance(strategy, SetFit)
    return strategy, made.source.tasks("new", [0])[0]


def outputs(module: torch.nn.Module, task: Task) -> Tensor:
    with torch.no_grad():
        said: Tensor = module(task.query.inputs)
    return said


def test_every_example_begins_as_many_pairs_of_each_kind() -> None:
    pairs = drawn_pairs(TARGETS, 5, seed=0)
    assert pairs.shape == (2 * 5 * 6, 3)
    first, second, same = pairs.T
    assert torch.equal(TARGETS[first] == TARGETS[second], same.bool())
    for kind in (0, 1):
        assert first[same == kind].bincount().tolist() == [5] * 6
    assert not torch.equal(first, first.sort().values)  # batches are mixed


def test_partners_are_drawn_evenly() -> None:
    first, second, same = drawn_pairs(TARGETS, 3000, seed=1).T
    of_first = second[(first == 0) & (same == 1)].bincount(minlength=6) / 3000
    others = second[(first == 0) & (same == 0)].bincount(minlength=6) / 3000
    torch.testing.assert_close(of_first, torch.tensor([1, 1, 1, 0, 0, 0]) / 3, atol=0.04, rtol=0)
    torch.testing.assert_close(others, torch.tensor([0, 0, 0, 1, 1, 1]) / 3, atol=0.04, rtol=0)


def test_pairs_depend_on_the_seed_alone() -> None:
    assert torch.equal(drawn_pairs(TARGETS, 2, seed=3), drawn_pairs(TARGETS, 2, seed=3))
    assert not torch.equal(drawn_pairs(TARGETS, 2, seed=3), drawn_pairs(TARGETS, 2, seed=4))


def test_a_class_of_one_label_pairs_with_itself() -> None:
    first, second, same = drawn_pairs(TARGETS, 4, seed=0).T
    assert second[(first == 5) & (same == 1)].tolist() == [5] * 4


def test_loss_equals_numpy() -> None:
    generator = np.random.default_rng(0)
    x, pairs = generator.normal(size=(5, 4)), np.array([[0, 1], [2, 2], [3, 4]])
    same = np.array([1, 1, 0])
    cosines = [x[i] @ x[j] / np.sqrt((x[i] @ x[i]) * (x[j] @ x[j])) for i, j in pairs]
    found = cosine_similarity_loss(torch.from_numpy(x), torch.from_numpy(pairs), torch.from_numpy(same))
    np.testing.assert_allclose(float(found), np.mean((np.array(cosines) - same) ** 2))


def test_steps_equal_torchs_adam_on_both_sides_of_each_pair(experiment: Make) -> None:
    strategy, task = made_in_double(
        experiment, "strategy.iterations=2", "strategy.pair_batch_size=10", "strategy.lr=0.01"
    )
    items = list(strategy.adapt(task.support))
    assert len(items) == 1 + 4  # 2 * 2 * 9 pairs, the last batch is smaller
    support = canonical(task.support)
    pairs = drawn_pairs(support.targets, 2, step_seed(task.support.seed, 0))
    encoder = copy.deepcopy(strategy.network.encoder)
    optimizer = torch.optim.Adam(encoder.parameters(), 0.01)
    assert isinstance(support.inputs, Tensor)
    for step, item in enumerate(items):
        for name, weight in encoder.named_parameters():
            torch.testing.assert_close(item.changed[f"encoder.{name}"], weight.detach(), msg=f"{step} {name}")
        if step == 4:
            break
        left, right, same = pairs[10 * step : 10 * step + 10].T
        u, v = encoder(support.inputs[left]), encoder(support.inputs[right])
        cosine = (u * v).sum(1) / (u.norm(dim=1) * v.norm(dim=1))
        optimizer.param_groups[0]["lr"] = 0.01 * lr_factor(step, n_steps=4, schedule="linear", warmup=0.1)
        optimizer.zero_grad()
        torch.autograd.backward((cosine - same).square().mean())
        optimizer.step()


@pytest.mark.parametrize("step", [0, 2, 3])  # the last of 3, and one in between
def test_head_is_the_logistic_regression_on_the_tuned_features(experiment: Make, step: int) -> None:
    strategy, task = made_in_double(
        experiment, "strategy.iterations=1", "strategy.pair_batch_size=6", "strategy.lr=0.01", "strategy.C=3"
    )
    *_, item = islice(strategy.adapt(task.support), step + 1)
    encoder = copy.deepcopy(strategy.network.encoder)
    encoder.load_state_dict({n.removeprefix("encoder."): w for n, w in item.changed.items()})
    with torch.no_grad():
        support, query = (F.normalize(encoder(e.inputs)) for e in (task.support, task.query))
        weight, bias = logistic_regression(support, task.support.targets, 3, 3.0)
    torch.testing.assert_close(outputs(item.module, task), query @ weight.T + bias)


def test_step_0_is_the_frozen_logistic_head_and_steps_lower_the_loss_on_pairs(experiment: Make) -> None:
    strategy, task = made_in_double(
        experiment, "strategy.lr=0.01", "strategy.C=10", "strategy.iterations=150"
    )
    first, *_, last = strategy.adapt(task.support)
    made = experiment("strategy=logistic", "dataset.k_shot=3", "strategy.C=10")
    logistic = next(made.strategy.double().eval().adapt(task.support))
    torch.testing.assert_close(outputs(first.module, task), outputs(logistic.module, task))
    pairs = drawn_pairs(task.support.targets, 5, seed=0)
    losses = []
    for item in (first, last):
        with torch.no_grad():
            features = item.module.encoder(task.support.inputs)
        losses.append(float(cosine_similarity_loss(features, pairs[:, :2], pairs[:, 2])))
    assert losses[1] < 0.1 * losses[0]


def test_classes_of_one_label_are_counted(experiment: Make) -> None:
    strategy, task = made_in_double(experiment)
    assert next(strategy.adapt(task.support)).notes == {}
    few = task.support.take(torch.tensor([0, 3, 4, 6]))
    lone = replace(task.support, inputs=few.inputs, targets=few.targets)
    assert [item.notes for item in islice(strategy.adapt(lone), 2)] == [{"classes of one label": 2.0}] * 2


def test_source_training_is_taken_where_it_is_asked_for(experiment: Make) -> None:
    made = experiment("strategy=setfit", "strategy.source_training=true")
    assert made.strategy.learns_from_source
    assert next(iter(made.strategy.fit(made.source)))["loss"] > 0


def test_frozen_encoder_is_refused(text_experiment: Make, tiny_bert: Path) -> None:
    frozen = ("strategy=setfit", "model=hf_text", f"model.path={tiny_bert}", "model.frozen=true")
    with pytest.raises(RequestError, match=r"^strategy: .* is frozen; choose .*strategy=logistic$") as caught:
        text_experiment(*frozen)
    assert not re.search(r"\n", str(caught.value))
