"""The losses of the target phase against numpy, and what it moves."""

from __future__ import annotations

from itertools import islice

import numpy as np
import torch
from torch import Tensor, nn

from coldstart_cli.core.objectives import Classification
from coldstart_cli.core.tasks import Inputs, Support
from coldstart_cli.models.alignment import Steered
from coldstart_cli.models.network import Encoder
from coldstart_cli.strategies.alignment.source_knowledge import SourceKnowledge
from coldstart_cli.strategies.alignment.target_model import TargetModel, blank_network
from coldstart_cli.training.inner_loop import sgd


class Linear(Encoder):
    feature_dim = 3

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3, bias=False)

    def forward(self, inputs: Inputs) -> Tensor:
        assert isinstance(inputs, Tensor)
        out: Tensor = self.layer(inputs)
        return out


def drawn(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def model(*, names: bool = True, labels: bool = True, soft: bool = True) -> TargetModel:
    encoder, memory = Linear().double(), SourceKnowledge(4, 3).double()
    with torch.no_grad():
        encoder.layer.weight.copy_(drawn(3, 3, seed=0))
        memory.centre.copy_(drawn(3, seed=1))
        memory.names_centre.copy_(drawn(3, seed=2))
    n = 3 if labels else 0
    targets, free = torch.tensor([0, 1, 1])[:n], drawn(5, 3, seed=4)
    support = Support(drawn(n, 3, seed=3), targets, Classification(2), 0, free)
    points = nn.functional.normalize(drawn(2, 3, seed=5), dim=-1)
    scale = torch.tensor(7.0, dtype=torch.float64)
    said = Steered(points, scale, torch.zeros(2, 4), {}, drawn(5, 2, seed=6).softmax(-1) if soft else None)
    network = blank_network(encoder, memory, 2)
    read = drawn(2, 3, seed=7) if names else None
    return TargetModel(network, memory, support, said, read, unlabelled_weight=0.5, weight=2.0)


def test_losses_equal_numpy() -> None:
    ours = model()
    loss, distance = ours._losses(ours.start())
    encoder = ours.network.encoder.encoder.layer.weight.detach().numpy()  # type: ignore[union-attr]
    centre, of_names = ours.memory.centre.numpy(), ours.memory.names_centre.numpy()

    def features(x: Tensor, mean: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
        moved = x.numpy() @ encoder.T - mean
        return np.asarray(moved / np.linalg.norm(moved, axis=1, keepdims=True))

    u, q = ours.said.points.numpy(), ours.said.soft.numpy()  # type: ignore[union-attr]

    def log_probabilities(f: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
        logits = 7.0 * f @ u.T
        return np.asarray(logits - np.log(np.exp(logits).sum(1, keepdims=True)))

    assert isinstance(ours.support.inputs, Tensor) and isinstance(ours.support.unlabelled, Tensor)
    assert isinstance(ours.names, Tensor)
    labelled = features(ours.support.inputs, centre)
    known = np.concatenate([labelled, features(ours.names, of_names)])
    y = np.array([0, 1, 1, 0, 1])
    free = features(ours.support.unlabelled, centre)
    expected = -log_probabilities(known)[np.arange(5), y].mean()
    expected -= 0.5 * (q * log_probabilities(free)).sum(1).mean()
    np.testing.assert_allclose(float(loss), expected)
    sums = np.stack([labelled[:1].sum(0), labelled[1:].sum(0)]) + q.T @ free
    cosines = (sums / np.linalg.norm(sums, axis=1, keepdims=True) * u).sum(1)
    np.testing.assert_allclose(float(distance), 1 - cosines.mean())


def test_training_moves_the_whole_network_and_ends_where_there_is_nothing_to_learn() -> None:
    ours = model()
    (first, before), (last, after) = (list(islice(ours.trained(sgd(0.05, 0.0)), 6))[i] for i in (0, 5))
    assert all(not torch.equal(first[name], last[name]) for name in first)
    assert after < before
    assert len(list(model(names=False, labels=False, soft=False).trained(sgd(0.05, 0.0)))) == 1
    assert len(list(islice(model(labels=False).trained(sgd(0.05, 0.0)), 3))) == 3
