"""Choosing and weighting source groups: turns, formulas of the uses, and what each similarity reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import islice

import pytest
import torch

from coldstart_cli.core.tasks import Pool
from coldstart_cli.errors import Unserved
from coldstart_cli.experiment.assembly import Experiment
from coldstart_cli.strategies.building_blocks.similarity import (
    h_score,
    leep,
    logme,
    n_leep,
    task2vec,
)
from coldstart_cli.strategies.transfer.source_selection import SourceSelection

Make = Callable[..., Experiment]


def selection(
    experiment: Make, name: str, *overrides: str, steps: int = 0
) -> tuple[SourceSelection, Experiment]:
    made = experiment(f"strategy={name}", *overrides)
    strategy = made.strategy.double().train()
    assert isinstance(strategy, SourceSelection)
    list(islice(strategy.fit(made.source), steps))
    return strategy.eval(), made  # type: ignore[return-value]


def test_groups_are_those_of_the_data_and_train_on_their_own_classes(experiment: Make) -> None:
    strategy, made = selection(experiment, "leep")
    groups = made.source.pool("train").groups
    assert strategy.groups == ("DIGIT", "LATIN", "GREEK")
    assert sorted(torch.cat(strategy.classes).tolist()) == list(range(len(groups)))
    for name, own in zip(strategy.groups, strategy.classes, strict=True):
        assert {groups[i] for i in own.tolist()} == {name}
    before = [{n: p.clone() for n, p in e.named_parameters()} for e in (strategy.pooled, *strategy.experts)]
    assert strategy.preparing_steps == 10  # half of 20
    names = [next(iter(metrics)) for metrics in islice(strategy.fit(made.source), 12)]
    assert names == ["loss"] * 10 + ["DIGIT_loss", "LATIN_loss"]
    moved = [
        any(not torch.equal(p, old[n]) for n, p in expert.named_parameters())
        for old, expert in zip(before, (strategy.pooled, *strategy.experts), strict=True)
    ]
    assert moved == [True, True, True, True]
    pooled = strategy.pooled.network.state_dict()  # where every group started, and Greek still is
    waiting = strategy.experts[2].network.state_dict()  # type: ignore[union-attr,operator]
    assert all(torch.equal(tensor, waiting[name]) for name, tensor in pooled.items())


def test_without_a_pooled_share_networks_take_turns_as_in_earlier_runs(experiment: Make) -> None:
    strategy, made = selection(experiment, "leep", "strategy.pooled_share=null")
    names = [next(iter(metrics)) for metrics in islice(strategy.fit(made.source), 3)]
    assert names == ["loss", "DIGIT_loss", "LATIN_loss"]
    assert strategy.candidates == strategy.groups
    support = made.source.tasks("new", [0])[0].support
    with torch.no_grad():
        logits = strategy.pooled.network(support.inputs).float()
    by_hand = [leep(logits[:, own].softmax(-1), support.targets, 3) for own in strategy.classes]
    assert strategy.similarities(support) == pytest.approx(by_hand, abs=1e-5)


@pytest.mark.parametrize("name", ["leep", "logme", "n_leep", "h_score"])
def test_each_measure_reads_the_candidates_own_network(experiment: Make, name: str) -> None:
    strategy, made = selection(experiment, name, "dataset.k_shot=3", steps=14)
    support = made.source.tasks("new", [0])[0].support
    everything = torch.arange(sum(map(len, strategy.classes)))
    networks = [*(e.network for e in strategy.experts), strategy.pooled.network]
    found = strategy.similarities(support)
    assert len(networks) == len(found) == 4
    for network, own, similarity in zip(networks, [*strategy.classes, everything], found, strict=True):
        with torch.no_grad():
            features = network.encoder(support.inputs)  # type: ignore[union-attr,operator]
            part = network.head(features)[:, own].float()  # type: ignore[union-attr,operator]
        features, y = features.float(), support.targets
        by_hand = {
            "leep": lambda part=part, y=y: leep(part.exp() / part.exp().sum(1, keepdim=True), y, 3),
            "logme": lambda features=features, y=y: logme(features, torch.eye(3)[y]),
            "n_leep": lambda features=features, y=y: n_leep(features, y, 3, 1),
            "h_score": lambda features=features, y=y: h_score(features, y, 3),
        }[name]()
        assert similarity == pytest.approx(by_hand, abs=1e-5)


def test_task2vec_embeds_groups_in_training_and_the_task_by_the_probes_gradients(experiment: Make) -> None:
    strategy, made = selection(
        experiment, "task2vec", "strategy.embed_every=3", "strategy.probe_draws=5", "model.hidden=4",
        "model.groups=2",
    )  # fmt: skip
    steps = strategy.train().fit(made.source)
    next(steps), next(steps)
    assert not strategy.embeddings.any()
    next(steps)
    strategy.eval()
    assert strategy.embeddings.shape == (4, 4 * 4)  # four filters of each of four layers, of four candidates
    assert (strategy.embeddings.sum(1) > 0).all()
    support = made.source.tasks("new", [0])[0].support
    found = strategy.similarities(support)
    assert all(0 < s <= 1 for s in found)
    own = strategy._embedding_of(support, support)
    assert found == pytest.approx([task2vec(group, own) for group in strategy.embeddings], abs=1e-6)


@pytest.mark.parametrize("name", ["leep", "logme", "task2vec", "n_leep", "h_score"])
def test_similarities_serve_one_label_and_do_not_depend_on_order(experiment: Make, name: str) -> None:
    strategy, made = selection(experiment, name, "strategy.embed_every=4", "strategy.probe_draws=6", steps=4)
    support = made.source.tasks("new", [3])[0].support
    turned = replace(support, inputs=support.inputs.flip(0), targets=support.targets.flip(0))  # type: ignore[union-attr]
    assert all(abs(s) < 100 for s in strategy.similarities(support))
    assert strategy.similarities(support) == strategy.similarities(turned)


def test_weights_are_a_softmax_and_the_mixture_a_mean_of_log_probabilities(experiment: Make) -> None:
    strategy, made = selection(experiment, "leep", "strategy.temperature=0.5", steps=8)
    task = made.source.tasks("new", [0])[0]
    items = list(islice(strategy.adapt(task.support), 3))
    similarities = torch.tensor(strategy.similarities(task.support))
    expected = (similarities / 0.5).exp() / (similarities / 0.5).exp().sum()
    torch.testing.assert_close(items[0].changed["weights"], torch.full((4,), 1 / 4))
    torch.testing.assert_close(items[2].changed["weights"], expected)
    with torch.no_grad():
        each = [expert(task.query.inputs) for expert in (build() for build in items[2].beside.values())]
        outputs = items[2].module(task.query.inputs)
    by_hand = sum(w * torch.log(torch.softmax(o, -1)) for w, o in zip(expected, each, strict=True))
    torch.testing.assert_close(outputs, by_hand.double(), rtol=1e-5, atol=1e-6)
    assert not items[0].notes
    assert list(items[1].notes) == [f"similarity of {g}" for g in ("DIGIT", "LATIN", "GREEK", "all groups")]


def test_choose_fine_tunes_the_group_most_alike(experiment: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    strategy, made = selection(experiment, "leep", "strategy.use=choose", steps=8)
    task = made.source.tasks("new", [0])[0]
    monkeypatch.setattr(SourceSelection, "similarities", lambda self, support: [0.1, 0.3, 0.2, 0.1])
    items = list(islice(strategy.adapt(task.support), 4))
    alone = list(islice(strategy.experts[1].adapt(task.support), 4))  # type: ignore[operator]
    for item, other in zip(items[1:], alone[1:], strict=True):
        torch.testing.assert_close(item.changed["head.weight"], other.changed["head.weight"])
    pooled = strategy.pooled.network.encoder.convs[0].weight  # type: ignore[index,union-attr]
    torch.testing.assert_close(items[0].changed["encoder.convs.0.weight"], pooled.detach())
    with torch.no_grad():  # beside it, every group after as many steps
        for number, name in enumerate(("DIGIT", "LATIN", "GREEK")):
            other = list(islice(strategy.experts[number].adapt(task.support), 4))[3]  # type: ignore[operator]
            torch.testing.assert_close(
                items[3].beside[name]()(task.query.inputs), other.module(task.query.inputs)
            )


def test_source_without_groups_is_refused_with_the_reason(
    experiment: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = type(experiment().source.pool("train"))
    made_of = pool.__init__

    def without_groups(self: Pool, *args: object) -> None:
        made_of(self, *args)
        self.groups = ()

    monkeypatch.setattr(pool, "__init__", without_groups)
    with pytest.raises(Unserved, match="name 0; choose dataset=glyphs or omniglot"):
        experiment("strategy=leep")
