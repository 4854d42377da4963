"""The alignment model by hand: whom it attends to, what is hidden, how far it is trusted."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import torch

from coldstart_cli.experiment.assembly import Experiment
from coldstart_cli.models.alignment import AlignmentModel, Knowledge
from coldstart_cli.strategies.alignment.task_alignment import Align, class_means, nearest, nearest_head

Make = Callable[..., Experiment]


def drawn(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_nearest_hides_each_class_its_own_prototype() -> None:
    known = drawn(5, 3, seed=0)
    hidden = nearest(known[[3, 1]] + 1e-3, known)
    assert hidden.nonzero().tolist() == [[0, 3], [1, 1]]
    said = AlignmentModel(3).double()(known[[3, 1]], known[[3, 1]], torch.tensor([1, 1]), known, hidden)
    assert not said.attention[hidden].any()
    seen = AlignmentModel(3).double()(
        known[[3, 1]], known[[3, 1]], torch.tensor([1, 1]), known, ~hidden & hidden
    )
    assert seen.attention.argmax(-1).tolist() == [3, 1]


def test_nearest_head_orders_by_distance() -> None:
    means, points = drawn(3, 4, seed=0), drawn(3, 4, seed=1)
    beta = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)
    head = nearest_head(means, Knowledge(torch.zeros(0), points, beta))
    centres = torch.stack([means[0], (means[1] + points[1]) / 2, points[2]])
    features = drawn(6, 4, seed=2)
    outputs = features @ head["head.weight"].T + head["head.bias"]
    expected = -(features.unsqueeze(1) - centres).pow(2).sum(-1) + features.pow(2).sum(-1, keepdim=True)
    torch.testing.assert_close(outputs, expected)


def test_class_means_equal_a_loop(experiment: Make) -> None:
    made = experiment("strategy=align")
    assert isinstance(made.strategy, Align)
    encoder, pool = made.strategy.network.encoder.eval(), made.source.pool("train")
    means = class_means(encoder, pool)
    examples = pool.examples(torch.arange(len(pool)))
    members = examples.targets == 7
    with torch.no_grad():
        expected = encoder(examples.inputs[members]).mean(0)  # type: ignore[index]
    torch.testing.assert_close(means[7], expected)


def test_source_model_is_frozen_in_the_second_phase(experiment: Make) -> None:
    made = experiment("strategy=align", "training.steps=4", "strategy.source_share=0.5")
    strategy = made.strategy.train()
    assert isinstance(strategy, Align)
    steps = strategy.fit(made.source)
    assert "source_loss" in list(islice(steps, 2))[-1]
    before = {name: value.clone() for name, value in strategy.network.state_dict().items()}
    assert not strategy.known.any()
    assert next(iter(islice(steps, 1)))["loss"] > 0
    assert strategy.known.any()
    after = strategy.network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    moved = [not torch.equal(before[f"encoder.{n}"], w) for n, w in strategy.target.named_parameters()]
    assert all(moved)


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


def test_notes_say_how_much_attention_each_group_gets(experiment: Make) -> None:
    made = experiment("strategy=align")
    strategy, task = made.strategy.eval(), made.source.tasks("new", [0])[0]
    assert isinstance(strategy, Align)
    notes = next(strategy.adapt(task.support)).notes
    shares = [value for name, value in notes.items() if name.startswith("attention to ")]
    assert len(shares) == len(set(strategy.source_groups)) > 1
    assert abs(sum(shares) - 1) < 1e-5
