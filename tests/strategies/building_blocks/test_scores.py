"""What a head of one width cannot serve, and the scores of a task."""

from __future__ import annotations

import pytest
import torch

from coldstart_cli.core.objectives import Classification
from coldstart_cli.strategies.building_blocks.scores import other_width, scores
from tests.kit.small_sources import episodes


def test_a_head_serves_tasks_of_its_own_width() -> None:
    tasks = episodes()
    assert other_width(3, tasks) is None
    reason = other_width(5, tasks)
    assert reason == "its head was built for 5 outputs and the task has 3; train with dataset.n_way=3"
    tasks.unequal = True
    assert str(other_width(3, tasks)).startswith("its head has one width and these tasks have different")


def test_scores_are_a_loss_with_its_graph_and_metrics_without() -> None:
    outputs = torch.tensor([[2.0, 0.0], [0.0, 1.0]], requires_grad=True)
    found = scores(Classification(2), outputs, torch.tensor([0, 0]))
    assert found["loss"].requires_grad and not found["accuracy"].requires_grad
    expected = torch.nn.functional.cross_entropy(outputs, torch.tensor([0, 0]))
    assert float(found["loss"].detach()) == pytest.approx(float(expected.detach()))
    assert float(found["accuracy"]) == 0.5
