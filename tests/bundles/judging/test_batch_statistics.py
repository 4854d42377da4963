"""A predictor that reads statistics off its batch answers each input by itself once it is settled."""

from __future__ import annotations

import torch
from torch import nn

from coldstart_cli.bundles.judging.batch_statistics import reads_its_batch, settled
from coldstart_cli.core.objectives import Classification
from coldstart_cli.core.tasks import Support
from coldstart_cli.models.norm import BatchNorm


def network() -> nn.Sequential:
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 3, 3), BatchNorm(3, mode="batch_transductive"), nn.ReLU(),
              nn.Conv2d(3, 2, 3), BatchNorm(2, mode="batch_transductive"), nn.Flatten()]  # fmt: skip
    return nn.Sequential(*layers).eval()


def support_of(inputs: torch.Tensor, unlabelled: torch.Tensor | None = None) -> Support:
    return Support(inputs, torch.zeros(len(inputs), dtype=torch.int64), Classification(2), 0, unlabelled)


def test_a_settled_predictor_answers_each_input_by_itself() -> None:
    module, support = network(), torch.randn(6, 1, 8, 8)
    queries = torch.cat([torch.randn(4, 1, 8, 8), 3 + torch.randn(4, 1, 8, 8)])
    own = settled(module, support_of(support))
    with torch.no_grad():
        torch.testing.assert_close(own(queries)[:4], own(queries[:4]))
        assert not torch.allclose(module(queries)[:4], module(queries[:4]), atol=0.1)
        torch.testing.assert_close(own(support), module(support))  # statistics of the support, layer by layer
    assert reads_its_batch(module) and not reads_its_batch(own)
    assert {"1.running_mean", "4.running_var"} <= own.state_dict().keys() - module.state_dict().keys()


def test_without_labels_the_statistics_are_those_of_the_unlabelled_examples() -> None:
    module, free = network(), torch.randn(6, 1, 8, 8)
    own = settled(module, support_of(free[:0], free))
    with torch.no_grad():
        torch.testing.assert_close(own(free), module(free))
        torch.testing.assert_close(own(free[:1]), module(free)[:1])
    labelled = settled(module, support_of(free[:3], free))  # these where there are any
    with torch.no_grad():
        torch.testing.assert_close(labelled(free[:3]), module(free[:3]))


def test_a_predictor_without_batch_statistics_stays_itself() -> None:
    module = nn.Linear(2, 2)
    assert settled(module, support_of(torch.zeros(3, 2))) is module
