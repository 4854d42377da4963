"""Low-rank updates of source groups: merged by hand, trained by turns, chosen by the measures' formulas."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from coldstart_cli.core.tasks import Task
from coldstart_cli.errors import RequestError
from coldstart_cli.experiment.assembly import Experiment
from coldstart_cli.strategies.building_blocks.similarity import leep, logme
from coldstart_cli.strategies.transfer.source_adapters import SourceAdapters

Make = Callable[..., Experiment]


def adapters(experiment: Make, *overrides: str, steps: int = 0) -> tuple[SourceAdapters, Experiment, Task]:
    made = experiment("strategy=source_adapters", "strategy.alpha=8", "strategy.rank=2", *overrides)
    strategy = made.strategy.double().train()
    assert isinstance(strategy, SourceAdapters)
    list(islice(strategy.fit(made.source), steps))
    strategy.eval()
    return strategy, made, made.source.tasks("new", [0])[0]


def whole(strategy: SourceAdapters, i: int) -> nn.Sequential:
    """Encoder and head of an expert with weights added up by hand."""
    expert, encoder = strategy._experts()[i], strategy.encoder
    merged: dict[str, Tensor] = {}
    for name in strategy.names:
        a, b = (expert.factors[f"encoder.{name}.lora_{x}".replace(".", "/")] for x in "AB")
        weight = encoder.get_parameter(name)
        merged[name] = weight + 4.0 * torch.einsum("or,ri->oi", b, a).reshape(weight.shape)

    class Merged(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            features: Tensor = functional_call(encoder, merged, (inputs,))
            return features

    return nn.Sequential(Merged(), expert.head)


def moved(strategy: SourceAdapters) -> SourceAdapters:
    """With updates that are not zero, another one for each expert."""
    torch.manual_seed(0)
    for parameter in strategy.experts.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return strategy


def test_updates_take_turns_and_train_on_their_own_classes_while_the_encoder_stays(experiment: Make) -> None:
    strategy, made, _ = adapters(experiment)
    assert strategy.groups == ("DIGIT", "LATIN", "GREEK") and len(strategy.experts) == 4
    encoder = {n: p.clone() for n, p in strategy.encoder.named_parameters()}
    before = [{n: p.clone() for n, p in e.named_parameters()} for e in strategy._experts()]
    names = [next(iter(metrics)) for metrics in islice(strategy.train().fit(made.source), 3)]
    assert names == ["DIGIT_loss", "LATIN_loss", "GREEK_loss"]
    for expert, old, own in zip(strategy._experts(), before, strategy.classes, strict=True):
        changed = (expert.head.weight != old["head.weight"]).any(1)
        rows = torch.zeros(len(changed), dtype=torch.bool)
        rows[own] = True
        # The rows of other groups' classes are pushed down, those of its own are pulled as well.
        assert changed.any() == (expert is not strategy._experts()[3])
        assert not changed.any() or changed[rows].all()
        b = [p for n, p in expert.named_parameters() if n.endswith("lora_B")]
        assert any(p.any() for p in b) == bool(changed.any())
    assert all(torch.equal(p, encoder[n]) for n, p in strategy.encoder.named_parameters())
    *_, last = islice(strategy.fit(made.source, 3), 1)
    assert next(iter(last)) == "loss"  # of all groups


@pytest.mark.parametrize("measure", ["leep", "logme"])
def test_similarities_are_those_of_merged_networks(experiment: Make, measure: str) -> None:
    strategy, _, task = adapters(experiment, f"strategy.similarity={measure}", "dataset.k_shot=3")
    found = moved(strategy).similarities(task.support)
    y = task.support.targets
    for i, own in enumerate(strategy.classes):
        body, head = whole(strategy, i)
        with torch.no_grad():
            features = body(task.support.inputs)
            logits = head(features)[:, own].float()
        by_hand = (
            leep(logits.exp() / logits.exp().sum(1, keepdim=True), y, 3)
            if measure == "leep"
            else logme(features.float(), torch.eye(3)[y])
        )
        assert found[i] == pytest.approx(by_hand, abs=1e-4)
    assert len({round(value, 4) for value in found}) > 1


def test_first_step_is_that_of_merged_weights(experiment: Make) -> None:
    strategy, _, task = adapters(experiment, "strategy.use=choose", "strategy.lr=0.1")
    moved(strategy)
    best = max(range(4), key=strategy.similarities(task.support).__getitem__)
    items = list(islice(strategy.adapt(task.support), 3))
    assert not items[0].notes and len(items[1].notes) == 4 == len(items[1].beside)
    expert = strategy._experts()[best]
    head = nn.Linear(expert.head.in_features, 3).double()
    torch.nn.init.zeros_(head.weight), torch.nn.init.zeros_(head.bias)
    body = whole(strategy, best)[0]
    factors = list(expert.factors.values())
    optimizer = torch.optim.SGD([*factors, *head.parameters()], 0.1, momentum=0.9)
    kept = [f.detach().clone() for f in factors]
    for _ in range(2):
        body = whole(strategy, best)[0]
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(head(body(task.support.inputs)), task.support.targets).backward()
        optimizer.step()
    with torch.no_grad():
        expected = head(whole(strategy, best)[0](task.query.inputs))
        for factor, old in zip(factors, kept, strict=True):
            factor.copy_(old)
        found = items[2].module(task.query.inputs)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_state_of_a_pretrained_encoder_is_updates_and_heads(text_experiment: Make, tiny_bert: Path) -> None:
    made = text_experiment("strategy=source_adapters", "model=hf_text", f"model.path={tiny_bert}")
    assert isinstance(made.strategy, SourceAdapters)
    names = made.strategy.state_dict().keys()
    assert "encoder.digest" in names
    assert all(name.startswith("experts.") or name == "encoder.digest" for name in names)
    with pytest.raises(
        RequestError, match=r"model: its encoder has no weights to update; choose model=hf_te"
    ):
        text_experiment("strategy=source_adapters", "model=hf_text_frozen", f"model.path={tiny_bert}")
    with pytest.raises(RequestError, match=r"rank: 99 is above the smaller side of"):
        text_experiment(
            "strategy=source_adapters", "model=hf_text", f"model.path={tiny_bert}", "strategy.rank=99"
        )
