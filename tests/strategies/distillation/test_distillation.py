"""Losses of students against numpy, phases, the teacher beside its student, and teachers of other runs."""

from __future__ import annotations

import itertools
import re
import warnings
from collections.abc import Callable
from functools import partial
from itertools import islice

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from coldstart_cli.core.tasks import Examples, Pool
from coldstart_cli.experiment.assembly import Experiment
from coldstart_cli.models.mlp import MLP
from coldstart_cli.models.network import Network, Predictor, Trained
from coldstart_cli.strategies.distillation.distillation import (
    Distillation,
    taught_scores,
    teacher_of_run,
)
from coldstart_cli.strategies.distillation.features import relations
from coldstart_cli.strategies.transfer.fine_tune import FineTune
from coldstart_cli.training.optimizers import Adam

Make = Callable[..., Experiment]
Array = npt.NDArray[np.float64]
SINES = ("dataset=sinusoid", "model=mlp")


def softmax(logits: Array) -> Array:
    exponentials = np.exp(logits - logits.max(1, keepdims=True))
    return exponentials / exponentials.sum(1, keepdims=True)


def distilled(
    experiment: Make, *overrides: str, name: str = "distillation"
) -> tuple[Distillation, Experiment]:
    made = experiment(f"strategy={name}", *overrides)
    strategy = made.strategy.double()
    assert isinstance(strategy, Distillation)
    return strategy, made


def batch_of(made: Experiment, n: int = 12) -> tuple[Pool, Examples]:
    pool = made.source.pool("train")
    return pool, pool.examples(torch.arange(n))


def test_distillation_loss_equals_numpy(experiment: Make) -> None:
    strategy, made = distilled(experiment, "strategy.alpha=0.7", "strategy.temperature=3")
    pool, batch = batch_of(made)
    scores = strategy._batch_loss(pool.objective, batch)
    with torch.no_grad():
        student, teacher = strategy.network(batch.inputs).numpy(), strategy.teacher(batch.inputs).numpy()
    targets = batch.targets.numpy()
    labels = -np.log(softmax(student)[np.arange(len(targets)), targets]).mean()
    taught, own = softmax(teacher / 3), softmax(student / 3)
    divergence = 9 * (taught * np.log(taught / own)).sum(1).mean()
    assert divergence > 0
    assert scores["loss"].item() == pytest.approx(0.3 * labels + 0.7 * divergence, rel=1e-9)
    assert scores["divergence"].item() == pytest.approx(divergence, rel=1e-9)


def test_distillation_loss_of_a_regression_is_squared_error_from_both(experiment: Make) -> None:
    strategy, made = distilled(experiment, *SINES, "strategy.alpha=0.7")
    pool, batch = batch_of(made)
    scores = strategy._batch_loss(pool.objective, batch)
    with torch.no_grad():
        student, teacher = strategy.network(batch.inputs).numpy(), strategy.teacher(batch.inputs).numpy()
    expected = 0.3 * ((student - batch.targets.numpy()) ** 2).mean() + 0.7 * ((student - teacher) ** 2).mean()
    assert scores["loss"].item() == pytest.approx(expected, rel=1e-9)


def test_taught_scores_between_labels_and_teacher(experiment: Make) -> None:
    objective = experiment("strategy=protonet").source.objective
    outputs, targets = torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 3.0]]), torch.tensor([0, 2])
    score = partial(taught_scores, objective, outputs, -outputs, targets, temperature=1.0)
    torch.testing.assert_close(score(alpha=0.0)["loss"], objective.loss(outputs, targets))
    torch.testing.assert_close(score(alpha=1.0)["loss"], objective.divergence(outputs, -outputs, 1.0))
    assert score(alpha=0.5)["accuracy"] == 1.0


def huber(d: float) -> float:
    return 0.5 * d * d if abs(d) <= 1 else abs(d) - 0.5


def relations_by_loops(student: Array, teacher: Array) -> tuple[float, float]:
    """Park et al. 2019, sections 3.2.1 and 3.2.2, a pair and a triplet at a time."""
    n = len(student)
    pairs = list(itertools.permutations(range(n), 2))
    triplets = list(itertools.permutations(range(n), 3))

    def distance(x: Array, i: int, j: int) -> float:
        mean = np.mean([np.linalg.norm(x[a] - x[b]) for a, b in pairs])
        return float(np.linalg.norm(x[i] - x[j]) / mean)

    def cosine(x: Array, i: int, j: int, k: int) -> float:
        e, f = x[i] - x[j], x[k] - x[j]
        return float(e @ f / (np.linalg.norm(e) * np.linalg.norm(f)))

    return (
        sum(huber(distance(teacher, *p) - distance(student, *p)) for p in pairs) / len(pairs),
        sum(huber(cosine(teacher, *t) - cosine(student, *t)) for t in triplets) / len(triplets),
    )


def test_relations_equal_loops_for_widths_that_differ() -> None:
    generator = torch.Generator().manual_seed(0)
    student = torch.randn(6, 4, generator=generator, dtype=torch.float64)
    teacher = 3 * torch.randn(6, 7, generator=generator, dtype=torch.float64) ** 3
    distance, angle = relations(student, teacher)
    expected = relations_by_loops(student.numpy(), teacher.numpy())
    assert (distance.item(), angle.item()) == (pytest.approx(expected[0]), pytest.approx(expected[1]))
    assert min(expected) > 0.01


def test_relations_do_not_see_scale_shift_and_rotation() -> None:
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rotation, _ = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1)).double())
    distance, angle = relations(x, 4 * x @ rotation + 2)
    assert distance.item() == pytest.approx(0, abs=1e-12)
    assert angle.item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("n", [1, 2, 4])
def test_relations_have_a_finite_gradient_where_examples_are_the_same(n: int) -> None:
    x = torch.ones(n, 3)
    x[n // 2 :, 0] = 2
    x.requires_grad_()
    distance, angle = relations(x, torch.randn(n, 5, generator=torch.Generator().manual_seed(0)))
    (distance + angle).backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


def test_relational_loss_adds_weighted_relations_of_features(experiment: Make) -> None:
    strategy, made = distilled(experiment, name="relational")
    pool, batch = batch_of(made, 7)
    scores = strategy._batch_loss(pool.objective, batch)
    with torch.no_grad():
        student = strategy.network.encoder(batch.inputs).numpy()
        teacher = strategy.teacher.encoder(batch.inputs).numpy()
        labels = pool.objective.loss(strategy.network(batch.inputs), batch.targets).item()
    distance, angle = relations_by_loops(student, teacher)
    assert scores["loss"].item() == pytest.approx(labels + 25 * distance + 50 * angle, rel=1e-7)


def test_distillation_trains_the_teacher_then_the_student(experiment: Make) -> None:
    made = experiment("strategy=distillation", "training.steps=8", "strategy.teacher_share=0.25")
    strategy = made.strategy.train()
    assert isinstance(strategy, Distillation)
    networks = {"teacher": strategy.teacher, "student": strategy.network}
    moved, names = [], []
    for metrics in islice(strategy.fit(made.source), 8):
        names.append(next(iter(metrics)))
        moved.append({role: network.head.weight.detach().clone() for role, network in networks.items()})
    assert names == ["teacher_loss"] * 2 + ["loss"] * 6
    assert strategy.preparing_steps == 2
    assert all(torch.equal(m["student"], moved[0]["student"]) for m in moved[:2])
    assert all(torch.equal(m["teacher"], moved[1]["teacher"]) for m in moved[1:])
    assert not torch.equal(moved[0]["teacher"], moved[1]["teacher"])
    assert not torch.equal(moved[1]["student"], moved[2]["student"])


def test_teacher_moves_no_running_statistics_while_it_teaches(experiment: Make) -> None:
    made = experiment("strategy=distillation", "model.norm=batch", "training.steps=8")
    strategy = made.strategy
    states = []
    for _ in islice(strategy.train().fit(made.source), 4):
        states.append({k: t.clone() for k, t in strategy.state_dict().items() if k.startswith("teacher.")})
        strategy.train()  # as the runner does before every step
    assert any(not torch.equal(states[0][key], states[1][key]) for key in states[0] if "running" in key)
    assert all(torch.equal(states[1][key], states[3][key]) for key in states[0])


def test_teacher_beside_equals_the_teacher_adapted_alone(experiment: Make) -> None:
    strategy, made = distilled(experiment)
    lr = strategy.tuning["lr"]
    alone = experiment("strategy=finetune", f"strategy.lr={lr}", "strategy.head_lr=null").strategy.double()
    assert isinstance(alone, FineTune)
    alone.network.load_state_dict(strategy.teacher.state_dict())
    task = made.source.tasks("new", [0])[0]
    pairs = zip(
        islice(strategy.eval().adapt(task.support), 4), alone.eval().adapt(task.support), strict=False
    )
    for step, (adapted, expected) in enumerate(pairs):
        assert set(adapted.beside) == {"teacher"}
        if step != 1:  # steps that nobody asks for are taken when a later one is
            with torch.no_grad():
                ours = adapted.beside["teacher"]()(task.query.inputs)
                torch.testing.assert_close(ours, expected.module(task.query.inputs), rtol=1e-9, atol=1e-12)


def test_student_adapts_without_a_look_at_its_teacher(experiment: Make) -> None:
    strategy, made = distilled(experiment)
    seen: list[object] = []
    strategy.teacher.encoder.register_forward_hook(lambda *_: seen.append(1))
    items = list(islice(strategy.eval().adapt(made.source.tasks("new", [0])[0].support), 3))
    assert not seen
    items[2].beside["teacher"]()
    assert len(seen) == 2  # a step each


def test_unlabelled_examples_get_the_outputs_of_the_adapted_teacher(experiment: Make) -> None:
    """Two steps of the teacher's head by hand, then one of the student's, from heads of zeros."""
    strategy, made = distilled(
        experiment, "dataset.n_unlabelled=4", "strategy.trainable=head", "strategy.momentum=0",
        "strategy.teacher_steps=2", "strategy.temperature=1", "strategy.unlabelled_weight=0.6",
        name="distill_unlabelled",
    )  # fmt: skip
    support = made.source.tasks("new", [0])[0].support
    adapted = list(islice(strategy.eval().adapt(support), 2))[-1]
    assert support.unlabelled is not None
    with torch.no_grad():
        (t, tu), (s, su) = (
            [network.encoder(inputs).numpy() for inputs in (support.inputs, support.unlabelled)]
            for network in (strategy.teacher, strategy.network)
        )
    labels, lr = np.eye(3)[support.targets.numpy()], strategy.tuning["lr"]
    head, bias = np.zeros((3, t.shape[1])), np.zeros(3)
    for _ in range(2):
        error = (softmax(t @ head.T + bias) - labels) / len(t)
        head, bias = head - lr * error.T @ t, bias - lr * error.sum(0)
    with torch.no_grad():
        beside = adapted.beside["teacher"]()(support.unlabelled).numpy()
    np.testing.assert_allclose(beside, tu @ head.T + bias, rtol=1e-9, atol=1e-12)
    taught = softmax(tu @ head.T + bias)
    gradient = ((1 / 3 - labels) / len(s)).T @ s + 0.6 * ((1 / 3 - taught) / len(su)).T @ su
    np.testing.assert_allclose(adapted.changed["head.weight"].numpy(), -lr * gradient, rtol=1e-9, atol=1e-12)


def test_smaller_teacher_is_warned_of_with_both_sizes(experiment: Make) -> None:
    made = experiment("strategy=distillation", *SINES)
    student, teacher = made.strategy.network.encoder, MLP((1,), hidden=[2], activation="relu")  # type: ignore[union-attr]
    sizes = r"has 7 parameters, fewer than its student's 1,761; choose a larger one"
    with pytest.warns(RuntimeWarning, match=rf"^strategy\.teacher: {sizes}"):
        constructed(student, teacher)  # type: ignore[arg-type]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        constructed(teacher, student)  # type: ignore[arg-type]


def constructed(student: MLP, teacher: MLP, run: Trained | None = None) -> Distillation:
    def trained(name: str, path: str) -> Trained:
        assert (name, path) == ("teacher_run", "run")
        assert run is not None
        return run

    adam = Adam(
        10, lr=0.1, beta1=0.9, beta2=0.9, weight_decay=0, schedule="constant", warmup=0, clip_norm=None
    )
    return Distillation(
        student, adam, 1, 10, 0, trained, teacher=teacher, teacher_run=None if run is None else "run",
        teacher_share=0.5, alpha=0.5, temperature=1, distance_weight=0, angle_weight=0, unlabelled_weight=0,
        attention_weight=0, hint_share=0,
        teacher_steps=1, teacher_lr=None, teacher_rule=None, batch_size=4, trainable="all", lr=0.1,
        rule="sgd", momentum=0,
    )  # fmt: skip


def test_teacher_of_a_run_is_taken_whole_and_takes_no_steps() -> None:
    student, teacher = (MLP((1,), hidden=[width], activation="relu") for width in (2, 3))
    head = nn.Linear(3, 1)
    strategy = constructed(
        student, MLP((1,), hidden=[9], activation="relu"), Trained(teacher, head.state_dict())
    )
    x = torch.linspace(-1, 1, 5).unsqueeze(1)
    torch.testing.assert_close(strategy.teacher(x), head(teacher(x)))
    assert strategy.preparing_steps == 0


@pytest.mark.parametrize(
    ("head", "has"), [(nn.Linear(3, 5).state_dict(), "a head of 5 outputs"), ({}, "no head")]
)
def test_teacher_of_a_run_with_another_head_is_refused(head: dict[str, torch.Tensor], has: str) -> None:
    learned = Trained(MLP((1,), hidden=[3], activation="relu"), head)
    with pytest.raises(
        ValueError, match=rf"^teacher_run: run has {re.escape(has)} and the source has 7; name"
    ):
        teacher_of_run(lambda name, path: learned, "run", 7)


@pytest.mark.parametrize("own", [True, False])
def test_teacher_adapts_at_a_rate_of_its_own_where_it_has_one(experiment: Make, own: bool) -> None:
    keys = ("strategy.teacher_lr=0.3", "strategy.teacher_rule=sgd") if own else ()
    strategy, made = distilled(
        experiment, "strategy.rule=adam", "strategy.lr=0.003", "strategy.momentum=0", *keys
    )
    support = made.source.tasks("new", [0])[0].support
    one = next(islice(strategy.adapt(support), 1, None))
    with torch.no_grad():
        features = strategy.teacher.encoder(support.inputs).numpy()
    # The head of new classes is 0 at first: all three are equally probable.
    gradient = (
        (np.full((len(features), 3), 1 / 3) - np.eye(3)[support.targets.numpy()]).T @ features / len(features)
    )
    expected = -0.3 * gradient if own else -0.003 * np.sign(gradient)
    np.testing.assert_allclose(_head_of(one.beside["teacher"]()), expected, rtol=1e-3, atol=1e-6)
    assert np.abs(_head_of(one.module)).max() <= 0.0030001  # Adam's first step, of the student's rate


def _head_of(predictor: nn.Module) -> Array:
    assert isinstance(predictor, Predictor)
    assert isinstance(predictor.network, Network)
    return predictor.network.head.weight.numpy()
