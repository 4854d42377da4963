"""MetaICL: its loss is that of plain prompts, and its gradient that of the factors alone."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from coldstart_cli.core.tasks import Support
from coldstart_cli.models.language.label_likelihood import rows
from coldstart_cli.models.pretrained.text import Tokens
from coldstart_cli.strategies.building_blocks.in_context import in_order, with_names
from coldstart_cli.strategies.meta_learning.meta_icl import MetaICL
from coldstart_cli.testing.trial import Trial
from coldstart_cli.training.meta_batch import same
from tests.models.language.test_causal_lm import by_hand, of_transformers


@pytest.fixture
def trial(torch_settings: None) -> Trial:
    pytest.importorskip("transformers", reason="needs the extra hf")
    return Trial("meta_icl")


@pytest.mark.parametrize("loss", ["labels", "right"])
@pytest.mark.parametrize("score", ["sum", "channel"])
def test_loss_is_that_of_prompts_in_one_piece(trial: Trial, loss: str, score: str) -> None:
    made = trial.experiment(strategy={"loss": loss, "score": score})
    strategy, task = made.strategy, made.source.tasks("train", [0])[0]
    assert isinstance(strategy, MetaICL)
    seen = with_names(task, n_query=2, order_seed=0)
    found = strategy._task_loss(
        same, dict(strategy.factors.items()), seen.support.objective, seen.support, seen.query
    )
    path = Path(made.config["model"]["path"])
    theirs, tokens = of_transformers(path), Tokens(path=str(path), max_length=16, in_prompt=True)
    before, between = (torch.tensor(tokens.part(p)) for p in ("Text:", "\nLabel:"))
    shown, names = in_order(task.support, 0), rows(task.support.names)  # type: ignore[arg-type]
    prompt = []
    for text, label in zip(rows(shown.inputs), shown.targets.tolist(), strict=True):
        own = (before, text, between, names[label])
        prompt += own if score == "sum" else (own[2], own[3], own[0], own[1])
    # The first two questions of each class.
    kept = [i for c in range(3) for i in (task.query.targets == c).nonzero().flatten()[:2].tolist()]
    scores = torch.zeros(len(kept), 3)
    for i, query in enumerate(kept):
        text = rows(task.query.inputs)[query]
        for c, name in enumerate(names):
            if score == "sum":
                scores[i, c] = by_hand(theirs, torch.cat([*prompt, before, text, between]), name)
            else:
                scores[i, c] = by_hand(theirs, torch.cat([*prompt, between, name, before]), text)
    targets = task.query.targets[kept]
    right = scores[range(len(kept)), targets]
    expected = F.cross_entropy(scores, targets) if loss == "labels" else -right.mean()
    assert float(found["loss"].detach()) == pytest.approx(float(expected), rel=1e-4)


def test_gradient_is_that_of_merged_weights(trial: Trial) -> None:
    """By a difference of the loss along a direction, with factors that are not zero."""
    made = trial.experiment()
    strategy = made.strategy.double()
    assert isinstance(strategy, MetaICL)
    torch.manual_seed(0)
    for factor in strategy.factors.values():
        torch.nn.init.normal_(factor, std=0.1)
    seen = with_names(made.source.tasks("train", [0])[0], n_query=2, order_seed=0)
    weights = dict(strategy.factors.items())

    def loss(shift: float) -> torch.Tensor:
        moved = {name: w + shift * torch.ones_like(w) for name, w in weights.items()}
        found = strategy._task_loss(same, moved, seen.support.objective, seen.support, seen.query)
        return found["loss"]

    gradients = torch.autograd.grad(loss(0.0), list(weights.values()))
    with torch.no_grad():
        slope = (loss(1e-3) - loss(-1e-3)) / 2e-3
    assert float(sum(g.sum() for g in gradients)) == pytest.approx(
        float(slope), rel=1e-2
    )  # norms are in float32
    assert not any(p.requires_grad for n, p in strategy.named_parameters() if "factors" not in n)


def test_before_a_step_it_answers_as_in_context_and_after_some_otherwise(trial: Trial) -> None:
    made, plain = trial.experiment(), Trial("in_context").experiment(strategy={"calibration": "none"})
    task = made.source.tasks("new", [0])[0]

    def answers(of: Support) -> list[torch.Tensor]:
        with torch.no_grad():
            return [next(m.strategy.eval().adapt(of)).module(task.query.inputs) for m in (made, plain)]

    ours, theirs = answers(task.support)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    list(islice(made.strategy.train().fit(made.source), 3))
    ours, theirs = answers(task.support)
    assert not torch.allclose(ours, theirs, rtol=1e-2, atol=1e-2)
    # The model itself is no part of a checkpoint.
    assert all(name.startswith("factors.") or name == "lm.digest" for name in made.strategy.state_dict())
