"""AdaBN: statistics against numpy, layer by layer; what moves and what does not."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from coldstart_cli.core.tasks import Support
from coldstart_cli.errors import Unserved
from coldstart_cli.experiment.assembly import Experiment
from coldstart_cli.models.conv import Conv4
from coldstart_cli.strategies.alignment.ada_bn import AdaBN, statistics_distance

Make = Callable[..., Experiment]
BATCH = ("strategy=adabn", "model.norm=batch", "dataset.n_unlabelled=3")


def trained(experiment: Make, *overrides: str) -> tuple[AdaBN, Support]:
    made = experiment(*BATCH, *overrides)
    strategy = made.strategy.double().train()
    assert isinstance(strategy, AdaBN)
    list(islice(strategy.fit(made.source), 3))
    return strategy.eval(), made.source.tasks("new", [0])[0].support


@pytest.mark.parametrize("weight", [1.0, 0.25])
def test_statistics_are_the_task_s_layer_by_layer(experiment: Make, weight: float) -> None:
    strategy, support = trained(experiment, f"strategy.weight={weight}")
    encoder = strategy.network.encoder
    assert isinstance(encoder, Conv4)
    assert isinstance(support.unlabelled, torch.Tensor)
    maps = torch.cat([support.inputs, support.unlabelled]).double() / 255  # type: ignore[list-item]
    first, second = islice(strategy.adapt(support), 2)
    with torch.no_grad():
        for i, (conv, norm) in enumerate(zip(encoder.convs, encoder.norms, strict=True)):
            maps = F.conv2d(maps, conv.weight, conv.bias, stride=2, padding=1)  # type: ignore[arg-type]
            values = maps.numpy()
            mean, var = values.mean((0, 2, 3)), values.var((0, 2, 3))
            for kind, of_task in (("mean", mean), ("var", var)):
                of_source = getattr(norm, f"running_{kind}").numpy()
                name = f"encoder.norms.{i}.running_{kind}"
                np.testing.assert_allclose(first.changed[name], of_source)
                expected = (1 - weight) * of_source + weight * of_task
                np.testing.assert_allclose(second.changed[name], expected, rtol=1e-6)
            maps = (maps - torch.tensor(mean)[:, None, None]) / torch.tensor(var + 1e-5)[:, None, None].sqrt()
            maps = F.relu(maps * norm.weight[:, None, None] + norm.bias[:, None, None])  # type: ignore[index]
    assert second.notes["distance"] < first.notes["distance"]
    assert (second.notes["distance"] == pytest.approx(0.0)) == (weight == 1.0)


def test_no_weight_of_the_encoder_moves_and_the_head_descends_on_the_new_features(experiment: Make) -> None:
    strategy, support = trained(experiment)
    before = {name: tensor.clone() for name, tensor in strategy.state_dict().items()}
    items = list(islice(strategy.adapt(support), 4))
    assert all(torch.equal(tensor, before[name]) for name, tensor in strategy.state_dict().items())
    assert {name.rpartition(".")[2] for name in items[3].changed if name.startswith("encoder.")} == {
        "running_mean",
        "running_var",
    }
    with torch.no_grad():
        features = items[3].module.network.encoder(support.inputs)  # type: ignore[union-attr,operator]
    head = torch.nn.Linear(features.shape[1], 3).double()
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    optimizer = torch.optim.SGD(head.parameters(), lr=strategy.tuning["lr"], momentum=0.9)
    for _ in range(3):
        optimizer.zero_grad()
        F.cross_entropy(head(features), support.targets).backward()
        optimizer.step()
    torch.testing.assert_close(items[3].changed["head.weight"], head.weight.detach())


def test_statistics_distance_is_a_divergence_of_gaussians() -> None:
    used = {"a.running_mean": torch.tensor([0.0, 1.0]), "a.running_var": torch.tensor([1.0, 4.0])}
    task = {"a.running_mean": torch.tensor([1.0, 1.0]), "a.running_var": torch.tensor([1.0, 1.0])}
    by_hand = (0.5 * 1 + (np.log(2) + 1 / 8 - 1 / 2)) / 2
    assert statistics_distance(used, task) == pytest.approx(by_hand, rel=1e-4)
    assert statistics_distance(used, used) == pytest.approx(0.0, abs=1e-7)


@pytest.mark.parametrize("norm", ["group", "batch_transductive"])
def test_model_without_running_statistics_is_refused_before_training(experiment: Make, norm: str) -> None:
    with pytest.raises(Unserved, match=r"the model keeps none; choose model.norm=batch"):
        experiment("strategy=adabn", f"model.norm={norm}", "dataset.n_unlabelled=3")
