"""FiLM against explicit layers, and what it shares with CAVIA."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from coldstart_cli.core.strategy import Strategy
from coldstart_cli.core.tasks import Task
from coldstart_cli.errors import RequestError
from coldstart_cli.experiment.assembly import Experiment
from coldstart_cli.models.mlp import MLP
from coldstart_cli.strategies.meta_learning.cavia import CAVIA
from coldstart_cli.strategies.meta_learning.film import FiLM
from coldstart_cli.training.meta_batch import same

Make = Callable[..., Experiment]
REGRESSION = ("dataset=harder_sinusoids", "model=mlp", "model.hidden=[4]", "dataset.k_shot=3")


def randomised(module: nn.Module) -> None:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))


def meta_loss(strategy: FiLM | CAVIA, task: Task) -> Tensor:
    weights = dict(strategy.named_parameters())
    return strategy._task_loss(same, weights, task.support.objective, task.support, task.query)["loss"]


def test_film_regression_equals_explicit_layers(experiment: Make) -> None:
    made = experiment("strategy=film", "strategy.hidden=[6]", "strategy.task_dim=5", *REGRESSION)
    strategy, task = made.strategy.double().eval(), made.source.tasks("train", [0])[0]
    assert isinstance(strategy, FiLM) and isinstance(strategy.encoder, MLP)
    randomised(strategy.generator)
    layer, head = strategy.encoder.layers[0], strategy.head
    x, y, query = (t.double() for t in (task.support.inputs, task.support.targets, task.query.inputs))  # type: ignore[union-attr]
    with torch.no_grad():
        pairs = torch.cat([torch.relu(layer(x)), y], dim=1)
        gammas, betas = strategy.generator(strategy.set_encoder(pairs).mean(0)).chunk(2)
        hidden = torch.relu((1 + gammas[:4]) * layer(query) + betas[:4])
        expected = (1 + gammas[4:]) * head(hidden) + betas[4:]
        (adapted,) = strategy.adapt(task.support)
        torch.testing.assert_close(adapted.module(query), expected)
    error = ((expected - task.query.targets) ** 2).mean()
    torch.testing.assert_close(meta_loss(strategy, task).detach(), error)


def test_film_classifies_by_the_covariance_of_modulated_features(experiment: Make) -> None:
    made = experiment("strategy=film", "dataset.k_shot=2")
    strategy, task = made.strategy.double().eval(), made.source.tasks("train", [0])[0]
    assert isinstance(strategy, FiLM)
    randomised(strategy.generator)
    (adapted,) = strategy.adapt(task.support)
    encoder, y = adapted.module.get_submodule("network.encoder"), task.support.targets
    with torch.no_grad():
        support, query = encoder(task.support.inputs), encoder(task.query.inputs)
        means = torch.stack([support[y == c].mean(0) for c in range(3)])
        centred = support - means[y]
        covariance = centred.T @ centred / 3 + torch.eye(support.shape[1]).double()  # 6 examples, 3 classes
        apart = query[:, None] - means
        distances = (apart @ torch.linalg.inv(covariance) * apart).sum(-1)
        outputs = adapted.module(task.query.inputs).log_softmax(1)
    scale = strategy.log_scale.detach().exp()
    torch.testing.assert_close(outputs, (-scale * distances).log_softmax(1))
    loss = torch.nn.functional.nll_loss(outputs, task.query.targets)
    torch.testing.assert_close(meta_loss(strategy, task).detach(), loss)


def test_one_label_a_class_says_how_sure_film_may_be(experiment: Make) -> None:
    made = experiment("strategy=film", "dataset.k_shot=1")
    strategy, task = made.strategy.double().eval(), made.source.tasks("train", [0])[0]
    assert isinstance(strategy, FiLM)
    randomised(strategy.generator)
    with torch.no_grad():
        strategy.log_ridge.fill_(-12.0)  # as a training with many labels a class may leave it
        (adapted,) = strategy.adapt(task.support)
        encoder = adapted.module.get_submodule("network.encoder")
        support, query = encoder(task.support.inputs), encoder(task.query.inputs)
        spread = strategy.log_ridge.exp() + support.var(0).mean()  # unbiased, of all features alike
        distances = (query[:, None] - support[task.support.targets.argsort()]).square().sum(-1) / spread
        outputs = adapted.module(task.query.inputs).log_softmax(1)
    torch.testing.assert_close(outputs, (-strategy.log_scale.exp() * distances).log_softmax(1).detach())


def test_film_reads_the_labels_of_a_task(experiment: Make) -> None:
    made = experiment("strategy=film", "dataset.k_shot=2")
    strategy, task = made.strategy.double().eval(), made.source.tasks("train", [0])[0]
    assert isinstance(strategy, FiLM)
    weights = dict(strategy.named_parameters())
    with torch.no_grad():
        features = strategy._features(weights, task.support.inputs)
        other = task.support.targets.roll(1)
        vectors = [strategy._task(weights, features, y, 3) for y in (task.support.targets, other)]
    assert not torch.allclose(*vectors)


@pytest.mark.parametrize("overrides", [("dataset.k_shot=2",), REGRESSION])
def test_film_ablations_differ_from_it_and_swap_with_itself_does_not(
    experiment: Make, overrides: tuple[str, ...]
) -> None:
    made = experiment("strategy=film", *overrides)
    strategy = made.strategy.double().eval()
    assert isinstance(strategy, FiLM)
    randomised(strategy.generator)
    task, other = made.source.tasks("train", [0, 1])
    (own,) = strategy.adapt(task.support)
    with torch.no_grad():
        found = {
            name: next(adaptation).module(task.query.inputs)
            for name, adaptation in strategy.ablations(task.support, other.support).items()
        }
        itself = next(strategy.ablations(task.support, task.support)["swap"]).module(task.query.inputs)
        outputs = own.module(task.query.inputs)
    assert set(found) == {"swap", "off"}
    assert all(not torch.allclose(of, outputs) for of in found.values())
    torch.testing.assert_close(itself, outputs)


@pytest.mark.parametrize("name", ["film", "cavia"])
def test_running_statistics_are_refused(experiment: Make, name: str) -> None:
    with pytest.raises(RequestError, match=r"^model\.norm: .*; choose group"):
        experiment(f"strategy={name}", "model.norm=batch")


def test_film_serves_any_number_of_ways(experiment: Make) -> None:
    made = experiment("strategy=film", "evaluation.n_way=7")
    strategy: Strategy = made.strategy.eval()
    task = made.source.with_shape(made.source.shape.__class__(7, 1, 2, 0)).tasks("new", [0])[0]
    (adapted,) = strategy.adapt(task.support)
    assert adapted.module(task.query.inputs).shape == (14, 7)
