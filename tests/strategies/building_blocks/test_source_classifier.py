"""What the transfer family shares: the head it starts from, and tasks without labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import islice

import pytest
import torch

from coldstart_cli.config.catalog import catalogue, search_roots
from coldstart_cli.config.families import by_family
from coldstart_cli.core.tasks import Support, Task
from coldstart_cli.errors import RequestError
from coldstart_cli.experiment.assembly import Experiment
from coldstart_cli.strategies.building_blocks.source_classifier import (
    descended,
    for_task,
    head_loss,
    network_loss,
    rule_of,
    weights_of,
)
from coldstart_cli.strategies.transfer.fine_tune import FineTune
from coldstart_cli.training.inner_loop import Weights

Make = Callable[..., Experiment]
GROUPS = catalogue(search_roots())
FAMILY = [one.name for one in by_family(GROUPS["strategy"], GROUPS)["transfer"]]


def sharing(task: Task, n_labelled: int) -> Support:
    """The support set's first examples, of classes 5, 0 and 2 of the source."""
    inputs, targets = task.support.inputs, task.support.targets
    assert isinstance(inputs, torch.Tensor)
    classes = torch.tensor([5, 0, 2])
    return replace(
        task.support, inputs=inputs[:n_labelled], targets=targets[:n_labelled], source_classes=classes
    )


@pytest.mark.parametrize("name", FAMILY)
@pytest.mark.parametrize("n_labelled", [0, 3])
def test_shared_labels_start_from_the_source_model(experiment: Make, name: str, n_labelled: int) -> None:
    try:
        made = experiment(f"strategy={name}", "dataset.n_unlabelled=2")
    except RequestError as error:  # it answers in words, or reads them
        assert "no language head" in str(error) or "no text tower" in str(error)
        return
    strategy, task = made.strategy.eval(), made.source.tasks("new", [0])[0]
    if strategy.needs_labels:  # it learns from them, or from names, and has no source model to start from
        bare = made.source.with_shape(replace(made.source.shape, k_shot=0))
        lack = (
            "k_shot is 0 and the classes have no names" if strategy.reads_names else "it learns from labels"
        )
        assert str(strategy.refusal(bare)).startswith(lack)
        return
    items = strategy.adapt(sharing(task, n_labelled))
    with torch.no_grad():
        outputs = next(items).module(task.query.inputs)
        expected = strategy.network(task.query.inputs)[:, [5, 0, 2]]  # type: ignore[operator]
    torch.testing.assert_close(outputs, expected)
    assert (next(items, None) is None) == (n_labelled == 0)


def test_head_loss_is_the_networks_loss_while_the_encoder_is_frozen(experiment: Make) -> None:
    made = experiment("strategy=finetune", "dataset.k_shot=2")
    strategy, support = made.strategy.double().eval(), made.source.tasks("new", [0])[0].support
    assert isinstance(strategy, FineTune)
    network = for_task(strategy.network, support)
    head = {name: torch.randn_like(w) for name, w in weights_of(network, "head.").items()}
    torch.testing.assert_close(head_loss(network, support)(head), network_loss(network, support)(head))


def test_steps_keep_no_graph_of_the_steps_before(experiment: Make) -> None:
    made = experiment("strategy=finetune")
    strategy, support = made.strategy.eval(), made.source.tasks("new", [0])[0].support
    assert isinstance(strategy, FineTune)
    network, read = for_task(strategy.network, support), []
    task_loss = network_loss(network, support)

    def loss(weights: Weights) -> torch.Tensor:
        read.append(all(w.is_leaf and w.requires_grad for w in weights.values()))
        return task_loss(weights)

    list(islice(descended(loss, weights_of(network), rule_of(strategy.tuning), support), 4))
    assert read == [True] * 3


@pytest.mark.parametrize("make_loss", [head_loss, network_loss])
def test_losses_draw_mini_batches_that_an_epoch_sees_once(
    experiment: Make, make_loss: Callable[..., Callable[..., torch.Tensor]]
) -> None:
    made = experiment("strategy=finetune", "dataset.k_shot=2")
    strategy, support = made.strategy.double().eval(), made.source.tasks("new", [0])[0].support
    assert isinstance(strategy, FineTune)
    network = for_task(strategy.network, support)
    head = {name: torch.randn_like(w) for name, w in weights_of(network, "head.").items()}
    loss = make_loss(network, support, batch_size=2)
    found = torch.stack([loss(head) for _ in range(3)])
    torch.testing.assert_close(found.mean(), network_loss(network, support)(head))
    assert found.std() > 0
    shuffled = replace(
        support, inputs=support.inputs[[3, 1, 5, 0, 4, 2]], targets=support.targets[[3, 1, 5, 0, 4, 2]]
    )  # type: ignore[index]
    again = make_loss(network, shuffled, batch_size=2)
    torch.testing.assert_close(torch.stack([again(head) for _ in range(3)]), found)
