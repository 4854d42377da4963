"""The adversary by hand: whose gradient is turned round, what it reads, how its strength rises."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
import torch

from coldstart_cli.experiment.assembly import Experiment
from coldstart_cli.strategies.alignment.adversarial import DomainAdversarial, rising
from coldstart_cli.strategies.building_blocks.two_domains import Domains

Make = Callable[..., Experiment]


def test_strength_rises_as_in_the_paper() -> None:
    assert rising(0.0) == 0
    assert rising(0.3) == pytest.approx(2 / (1 + np.exp(-3)) - 1)
    assert rising(1.0) == rising(7.0) == pytest.approx(0.99990920)


@pytest.mark.parametrize(("n_steps", "says"), [(30, r"30 steps.* weighs 15%.*over 1,000"), (300, None)])
def test_too_few_steps_for_the_adversary_are_said(
    experiment: Make, caplog: pytest.LogCaptureFixture, n_steps: int, says: str | None
) -> None:
    experiment("strategy=dann", "dataset.n_unlabelled=3", f"evaluation.steps=[0,{n_steps}]")
    said = [line for line in caplog.messages if "adversarial term" in line]
    assert (re.search(says, said[0]) is not None) if says else not said


def step(strategy: DomainAdversarial, at: int) -> tuple[list[torch.Tensor], Domains, dict[str, torch.Tensor]]:
    """The gradients of features and of the discriminator's last layer."""
    generator = torch.Generator().manual_seed(0)
    width = strategy.network.encoder.feature_dim
    source, unlabelled = (
        torch.randn(n, width, generator=generator, dtype=torch.float64).requires_grad_() for n in (3, 2)
    )
    nobody = torch.zeros(0, dtype=torch.int64)
    domains = Domains(source, torch.tensor([0, 1, 2]), source[:0], nobody, unlabelled, source[:0])
    weights = {f"discriminator.{n}": w for n, w in strategy.discriminator.named_parameters()}
    weights |= {f"source_head.{n}": w for n, w in strategy.network.head.named_parameters()}
    loss = strategy._step_loss(torch.zeros((), dtype=torch.float64), weights, domains, at)
    last = weights["discriminator.4.weight"]
    return list(torch.autograd.grad(loss, [source, unlabelled, last])), domains, weights


def test_dann_turns_round_the_features_gradient_and_not_the_discriminators(experiment: Make) -> None:
    strategy = experiment("strategy=dann", "dataset.n_unlabelled=3").strategy.double()
    assert isinstance(strategy, DomainAdversarial)
    (of_source, of_target, last), domains, _ = step(strategy, 4)
    features = torch.cat([domains.source, domains.unlabelled])
    probabilities = strategy.discriminator(features).squeeze(-1).sigmoid()
    loss = (-probabilities[:3].log().mean() - (1 - probabilities[3:]).log().mean()) / 2
    plain = torch.autograd.grad(loss, [domains.source, domains.unlabelled, strategy.discriminator[4].weight])
    strength = rising(4 / strategy.ramp_steps)
    torch.testing.assert_close(of_source, -strength * plain[0])
    torch.testing.assert_close(of_target, -strength * plain[1])
    torch.testing.assert_close(last, plain[2])


def test_cdan_reads_features_times_class_probabilities(experiment: Make) -> None:
    strategy = experiment(
        "strategy=cdan", "dataset.n_unlabelled=3", "strategy.entropy=false"
    ).strategy.double()
    assert isinstance(strategy, DomainAdversarial)
    assert strategy.of_features is None  # 8 features x 229 classes are few enough
    (_, _, last), domains, _ = step(strategy, 4)
    features = torch.cat([domains.source, domains.unlabelled]).detach()
    classes = strategy.network.head(features).softmax(-1).detach()
    read = torch.einsum("nd,nc->ndc", features, classes).flatten(1)
    probabilities = strategy.discriminator(read).squeeze(-1).sigmoid()
    loss = (-probabilities[:3].log().mean() - (1 - probabilities[3:]).log().mean()) / 2
    (plain,) = torch.autograd.grad(loss, [strategy.discriminator[4].weight])
    torch.testing.assert_close(last, plain)


def test_cdan_projects_products_that_are_too_wide_at_random(experiment: Make) -> None:
    strategy = experiment("strategy=cdan", "dataset.n_unlabelled=3", "model.hidden=64").strategy
    assert isinstance(strategy, DomainAdversarial)
    n_classes = strategy.network.head.out_features
    assert strategy.of_features is not None and strategy.of_probabilities is not None
    assert strategy.of_features.shape == (256, 64)
    assert strategy.of_probabilities.shape == (256, n_classes)
    assert {"of_features", "of_probabilities"} <= strategy.state_dict().keys()


def test_entropy_weighs_confident_examples_more_without_conditioning_too(experiment: Make) -> None:
    strategy = experiment("strategy=dann", "dataset.n_unlabelled=3", "strategy.entropy=true").strategy
    assert isinstance(strategy, DomainAdversarial)
    assert strategy.needs_classes
    (_, _, last), domains, _ = step(strategy.double(), 4)
    features = torch.cat([domains.source, domains.unlabelled]).detach()
    classes = strategy.network.head(features).softmax(-1).detach()
    weights = 1 + (classes * classes.log()).sum(-1).exp()  # equation 10: 1 + exp(-H)
    of_source = strategy.discriminator(features).squeeze(-1).sigmoid()
    losses = torch.cat([-of_source[:3].log(), -(1 - of_source[3:]).log()]) * weights
    loss = (losses[:3].sum() / weights[:3].sum() + losses[3:].sum() / weights[3:].sum()) / 2
    (plain,) = torch.autograd.grad(loss, [strategy.discriminator[4].weight])
    torch.testing.assert_close(last, plain)
