"""FiLM against explicit layers, and what it shares with CAVIA."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from coldstart_cli.core.tasks import Strategy, Task
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


def test_film_classifies_by_means_of_modulated_features(experiment: Make) -> None:
    made = experiment("strategy=film", "dataset.k_shot=2")
    strategy, task = made.strategy.double().eval(), made.source.tasks("train", [0])[0]
    assert isinstance(strategy, FiLM)
    protonet = experiment("strategy=protonet").strategy.double().eval()
    (start,), (expected,) = strategy.adapt(task.support), protonet.adapt(task.support)
    with torch.no_grad():  # modulation starts at zero
        logits = [adapted.module(task.query.inputs).log_softmax(1) for adapted in (start, expected)]
    torch.testing.assert_close(*logits)
    randomised(strategy.generator)
    (adapted,) = strategy.adapt(task.support)
    encoder = adapted.module.get_submodule("network.encoder")
    with torch.no_grad():
        support, query = encoder(task.support.inputs), encoder(task.query.inputs)
        means = torch.stack([support[task.support.targets == c].mean(0) for c in range(3)])
        distances = ((query[:, None] - means) ** 2).sum(-1)
        outputs = adapted.module(task.query.inputs).log_softmax(1)
    assert not torch.allclose(outputs, logits[0], atol=1e-3)
    torch.testing.assert_close(outputs, (-distances).log_softmax(1))


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
