"""Task alignment: its phases, what a training task may know, and its ablations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import islice

import pytest
import torch

from coldstart_cli.experiment.assembly import Experiment
from coldstart_cli.strategies.alignment.task_alignment import TaskAlignment

Make = Callable[..., Experiment]


def trained(experiment: Make, *overrides: str, steps: int = 4) -> tuple[TaskAlignment, Experiment]:
    made = experiment("strategy=align", f"training.steps={steps}", *overrides)
    strategy = made.strategy.train()
    assert isinstance(strategy, TaskAlignment)
    list(islice(strategy.fit(made.source), steps))
    return strategy.eval(), made


def test_source_model_is_frozen_in_the_second_phase(experiment: Make) -> None:
    made = experiment("strategy=align", "training.steps=4", "strategy.source_share=0.5")
    strategy = made.strategy.train()
    assert isinstance(strategy, TaskAlignment)
    assert strategy.preparing_steps == 2
    steps = strategy.fit(made.source)
    assert "source_loss" in list(islice(steps, 2))[-1]
    before = {name: value.clone() for name, value in strategy.network.state_dict().items()}
    assert not strategy.memory.known.any()
    said = next(iter(islice(steps, 1)))
    assert said["loss"] > 0
    # Without any evidence the loss is higher by `gain`, and these are small images without names.
    assert said["gain of names"] == 0
    assert strategy.memory.known.any()
    after = strategy.network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_vectorised_second_phase_equals_the_loop(experiment: Make) -> None:
    states = []
    for mode in ("vmap", "loop"):
        made = experiment(
            "strategy=align",
            f"hardware.vectorize={mode}",
            "strategy.meta_batch_size=3",
            "strategy.source_share=0.25",
            "training.steps=4",
            "optimizer=sgd",
        )
        strategy = made.strategy.double().train()
        list(islice(strategy.fit(made.source), 3))
        states.append(strategy.state_dict())
    for key, value in states[0].items():
        torch.testing.assert_close(value, states[1][key], rtol=1e-7, atol=1e-9)


def test_alignment_off_is_the_nearest_centroid_of_centred_features(experiment: Make) -> None:
    strategy, made = trained(experiment, "dataset.k_shot=3")
    task, other = made.source.tasks("new", [0, 1])
    adapted = next(strategy.ablations(task.support, other.support)["alignment off"])
    encoder, n_way = strategy.network.encoder, task.support.objective.n_outputs
    with torch.no_grad():
        features = strategy.memory.centred(encoder(task.support.inputs))
        queries = strategy.memory.centred(encoder(task.query.inputs))
        means = torch.stack([features[task.support.targets == c].mean(0) for c in range(n_way)])
        cosines = queries @ torch.nn.functional.normalize(means, dim=-1).T
        outputs = adapted.module(task.query.inputs)
    assert torch.equal(outputs.argmax(-1), cosines.argmax(-1))


def test_every_ablation_changes_the_answers(experiment: Make) -> None:
    strategy, made = trained(experiment, "dataset.n_unlabelled=3")
    task, other = made.source.tasks("new", [0, 1])
    with torch.no_grad():
        own = next(strategy.adapt(task.support)).module(task.query.inputs)
        found = {
            name: next(steps).module(task.query.inputs)
            for name, steps in strategy.ablations(task.support, other.support).items()
        }
    assert torch.equal(found.pop("names off"), own)  # images have no names
    assert set(found) == {
        "alignment off",
        "points of another class",
        "constant attention",
        "source off",
        "unlabelled off",
    }
    assert [name for name, outputs in found.items() if torch.allclose(outputs, own)] == []


def test_evidence_that_is_not_named_is_not_used(experiment: Make) -> None:
    strategy, made = trained(experiment, "strategy.evidence=[source]")
    task = made.source.tasks("new", [0])[0]
    notes = next(strategy.adapt(task.support)).notes
    assert [name for name in notes if name.startswith("worth")] == ["worth of source"]
    without = replace(task.support, unlabelled=None)
    one, two = (next(strategy.adapt(s)).module(task.query.inputs) for s in (task.support, without))
    torch.testing.assert_close(one, two)


def test_shared_classes_are_served_without_labels(experiment: Make) -> None:
    words = ("dataset=glyph_shift", "dataset.n_query=2", "dataset.n_unlabelled=2")
    strategy, made = trained(experiment, *words, "evaluation.k_shots=[0]")
    assert made.source.shares_labels
    task = made.source.with_shape(replace(made.source.shape, k_shot=0)).tasks("new", [0])[0]
    for adapted in islice(strategy.adapt(task.support), 2):
        assert torch.isfinite(adapted.module(task.query.inputs)).all()


def test_notes_say_how_much_attention_each_group_gets(experiment: Make) -> None:
    strategy, made = trained(experiment)
    task = made.source.tasks("new", [0])[0]
    notes = next(strategy.adapt(task.support)).notes
    shares = [value for name, value in notes.items() if name.startswith("attention to ")]
    assert len(shares) == len(set(strategy.source_groups)) > 1
    assert sum(shares) == pytest.approx(1)
