"""Distances of whole batches by hand, and steps against plain torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from torch import nn

from coldstart_cli.core.tasks import Examples, Support
from coldstart_cli.experiment.assembly import Experiment
from coldstart_cli.strategies.alignment.feature_distance import DomainDistance, contrast
from coldstart_cli.strategies.building_blocks import discrepancy
from coldstart_cli.strategies.building_blocks.discrepancy import class_confusion
from coldstart_cli.strategies.building_blocks.two_domains import Domains
from coldstart_cli.training.inner_loop import canonical

Make = Callable[..., Experiment]


def domains() -> Domains:
    generator = torch.Generator().manual_seed(0)
    source, labelled = (torch.randn(n, 3, generator=generator, dtype=torch.float64) for n in (3, 4))
    targets = torch.tensor([0, 1, 0, 1])
    return Domains(source, torch.tensor([5, 2, 2]), labelled, targets, labelled[:0], labelled[:0])


def pairs(domains: Domains, source_classes: list[int] | None) -> float:
    """CCSA's distance by a loop over pairs."""
    same, different = [], []
    unit = {
        "s": [x / np.linalg.norm(x) for x in domains.source.numpy()],
        "t": [x / np.linalg.norm(x) for x in domains.labelled.numpy()],
    }
    labels = domains.labelled_targets.tolist()
    for j, y in enumerate(labels):
        for i, x in enumerate(unit["s"]):
            shared = source_classes is not None and domains.source_targets[i] == source_classes[y]
            (same if shared else different).append(np.linalg.norm(x - unit["t"][j]))
        for i in range(len(labels)):
            if source_classes is None and i != j:
                distance = np.linalg.norm(unit["t"][i] - unit["t"][j])
                (same if labels[i] == y else different).append(distance)
    aligned = np.mean([d**2 / 2 for d in same])
    return float(aligned + np.mean([max(0.0, 1.5 - d) ** 2 / 2 for d in different]))


@pytest.mark.parametrize("classes", [None, [2, 5]])
def test_contrast_equals_a_loop_over_pairs(classes: list[int] | None) -> None:
    given = None if classes is None else torch.tensor(classes)
    value = contrast(domains(), given, 1.5)
    assert float(value) == pytest.approx(pairs(domains(), classes), abs=1e-6)


def filled(made: Experiment) -> tuple[nn.Module, Support]:
    strategy = made.strategy.double().eval()
    next(iter(strategy.fit(made.source)))
    return strategy.eval(), made.source.tasks("new", [0])[0].support


def test_coral_first_step_equals_plain_torch(experiment: Make) -> None:
    made = experiment(
        "strategy=coral", "dataset.n_unlabelled=3", "strategy.memory_size=16", "strategy.momentum=0"
    )
    strategy, support = filled(made)
    assert isinstance(strategy, DomainDistance)
    assert isinstance(support.inputs, torch.Tensor) and isinstance(support.unlabelled, torch.Tensor)
    shared = replace(support, source_classes=torch.tensor([4, 0, 9]))
    kept = strategy.memory.examples
    head = strategy.network.head
    encoder, head_weight = strategy.network.encoder, head.weight.detach().clone().requires_grad_()
    weights = dict(encoder.named_parameters())
    features = encoder(torch.cat([kept.inputs, support.inputs, support.unlabelled]))  # type: ignore[list-item]
    of_source, of_target = features[:16], features[16:]
    outputs = of_source @ head_weight.T + head.bias
    labelled = (of_target[: len(support)] @ head_weight.T + head.bias)[:, [4, 0, 9]]
    loss = nn.functional.cross_entropy(outputs, kept.targets)
    loss = loss + nn.functional.cross_entropy(labelled, support.targets)
    loss = loss + strategy.weight * discrepancy.coral(of_source, of_target)
    gradients = torch.autograd.grad(loss, [head_weight, weights["convs.0.weight"]])
    item = list(islice(strategy.adapt(shared), 2))[-1]
    expected = (head_weight - strategy.between["lr"] * gradients[0])[[4, 0, 9]]
    torch.testing.assert_close(item.changed["head.weight"], expected.detach())
    first = weights["convs.0.weight"] - strategy.between["lr"] * gradients[1]
    torch.testing.assert_close(item.changed["encoder.convs.0.weight"], first.detach())


def test_canonical_takes_no_examples() -> None:
    empty = Examples(torch.zeros(0, 1, 2, 2), torch.zeros(0, dtype=torch.int64))
    assert len(canonical(empty)) == 0


def test_mcc_notes_and_lowers_the_confusion_of_its_unlabelled_examples(experiment: Make) -> None:
    made = experiment("strategy=mcc", "dataset.n_unlabelled=3", "strategy.weight=5")
    strategy = made.strategy.double().train()
    list(islice(strategy.fit(made.source), 1))
    support = made.source.tasks("new", [0])[0].support
    items = list(islice(strategy.eval().adapt(support), 6))
    noted = []
    for item in items:
        with torch.no_grad():
            outputs = item.module(support.unlabelled)
        noted.append(float(class_confusion(outputs, 2.5)))
    assert [item.notes["distance"] for item in items] == pytest.approx(noted)
    assert noted[-1] < noted[0]
