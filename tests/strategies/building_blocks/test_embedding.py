"""Tasks encoded once: one pass for both sets, and a training that lowers the query loss."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from coldstart_cli.core.tasks import Examples
from coldstart_cli.strategies.building_blocks.embedding import fit_embedding, full_precision, task_scores
from coldstart_cli.training.meta_batch import same
from tests.kit.plain_optimizers import plain_sgd
from tests.kit.small_sources import episodes


class Counting(nn.Module):
    """A layer on images of 5x5 that counts its inputs."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(25, 4)
        self.seen: list[int] = []

    def forward(self, inputs: Tensor) -> Tensor:
        self.seen.append(len(inputs))
        return self.layer(inputs.flatten(1).float() / 255)  # type: ignore[no-any-return]


def products(weights: Mapping[str, Tensor], support: Examples, query: Tensor, n_outputs: int) -> Tensor:
    """Products with the features of the support set, summed over each class."""
    assert isinstance(support.inputs, Tensor)
    members = torch.nn.functional.one_hot(support.targets, n_outputs).to(query.dtype)
    return query @ (members.T @ support.inputs).T


def test_scores_are_those_of_the_query_set_by_one_pass_over_both() -> None:
    encoder, task = Counting(), episodes().tasks("train", [0])[0]
    weights = {f"encoder.{name}": w for name, w in encoder.named_parameters()}
    found = task_scores(
        encoder, products, same, weights, task.support.objective, task.support, task.query  # type: ignore[arg-type]
    )  # fmt: skip
    assert encoder.seen == [len(task.support) + len(task.query)]
    with torch.no_grad():
        support = Examples(encoder(task.support.inputs), task.support.targets)
        outputs = products({}, support, encoder(task.query.inputs), 3)
    expected = nn.functional.cross_entropy(outputs, task.query.targets)
    assert float(found["loss"].detach()) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("vectorize", [True, False])
def test_fit_moves_the_encoders_weights(vectorize: bool) -> None:
    encoder = Counting()
    before = encoder.layer.weight.detach().clone()
    weights = {f"encoder.{name}": w for name, w in encoder.named_parameters()}
    strategy: Any = SimpleNamespace(
        encoder=encoder, optimizer=plain_sgd()(encoder.parameters()), vectorize=vectorize, meta_batch_size=2,
        named_parameters=weights.items, standard=None, standardise=None,
    )  # fmt: skip
    steps = fit_embedding(strategy, products, episodes(), 0)
    assert all({"loss", "accuracy"} <= metrics.keys() for metrics in islice(steps, 2))
    assert not torch.equal(encoder.layer.weight, before)


def test_features_have_full_precision_at_least() -> None:
    kinds = (torch.bfloat16, torch.float32, torch.float64)
    assert [full_precision(torch.ones(1, dtype=kind)).dtype for kind in kinds] == [
        torch.float32, torch.float32, torch.float64
    ]  # fmt: skip
