"""The laws of design, checked for every strategy that conf/strategy names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import pytest
import torch

from coldstart_cli.config import composition
from coldstart_cli.core.tasks import Strategy, Task
from coldstart_cli.errors import RequestError, Unserved
from coldstart_cli.evaluation.adaptations import Adaptations
from coldstart_cli.experiment.assembly import Experiment
from coldstart_cli.training import outer_loops
from coldstart_cli.training.meta_batch import Found, TaskGradients, kind
from coldstart_cli.training.optimizers import optimizers
from tests.kit.places import STRATEGIES

NAMES = STRATEGIES
STARTS_FROM_SUPPORT = {"align", "proto_maml"}  # their head before the first step is made of the support set
Make = Callable[..., Experiment]


@pytest.fixture
def experiment(experiment: Make) -> Make:
    """Every task has unlabelled examples, for the strategies that need some."""

    def made(*overrides: str) -> Experiment:
        return experiment("dataset.n_unlabelled=3", *overrides)

    return made


def losses(steps: Iterator[dict[str, float]], n: int) -> dict[str, list[float]]:
    """Loss -> its values; a training in phases has one loss for each (`teacher_loss`, then `loss`)."""
    values: dict[str, list[float]] = {}
    for metrics in islice(steps, n):
        for name in [name for name in metrics if name.endswith("loss")][:1]:
            values.setdefault(name, []).append(metrics[name])
    return values


def test_contract_sees_every_strategy() -> None:
    assert len(NAMES) == 38


@pytest.mark.parametrize("name", NAMES)
def test_adapt_leaves_the_strategy_unchanged(experiment: Make, name: str) -> None:
    made = experiment(f"strategy={name}")
    strategy, task = made.strategy.eval(), made.source.tasks("new", [0])[0]
    before = {key: value.clone() for key, value in strategy.state_dict().items()}
    grads = [p.grad for p in strategy.parameters()]
    for adapted in islice(strategy.adapt(task.support), 3):
        adapted.module(task.query.inputs)
    after = strategy.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert grads == [p.grad for p in strategy.parameters()]


@pytest.mark.parametrize("name", NAMES)
def test_prediction_is_inductive_or_says_so(experiment: Make, name: str) -> None:
    made = experiment(f"strategy={name}")
    strategy, task = made.strategy.eval(), made.source.tasks("new", [0])[0]
    for adapted in islice(strategy.adapt(task.support), 2):
        with torch.no_grad():
            together = adapted.module(task.query.inputs)[:1]
            alone = adapted.module(task.query.inputs[:1])  # type: ignore[index]
    assert not strategy.transductive
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


def test_transductive_norm_is_declared_and_real(experiment: Make) -> None:
    made = experiment("strategy=maml", "model.norm=batch_transductive")
    strategy, task = made.strategy.eval(), made.source.tasks("new", [0])[0]
    assert strategy.transductive
    adapted = next(strategy.adapt(task.support))
    with torch.no_grad():
        together, alone = adapted.module(task.query.inputs)[:1], adapted.module(task.query.inputs[:1])  # type: ignore[index]
    assert not torch.allclose(together, alone, atol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_first_item_is_the_unadapted_predictor(experiment: Make, name: str) -> None:
    made = experiment(f"strategy={name}")
    task = made.source.tasks("new", [0])[0]
    items = list(islice(made.strategy.eval().adapt(task.support), 3))
    assert items
    with torch.no_grad():
        for adapted in items:
            outputs = adapted.module(task.query.inputs)
            assert outputs.shape == (len(task.query), 3)
            assert torch.isfinite(outputs).all()
    if len(items) > 1 and name not in STARTS_FROM_SUPPORT:
        other = made.source.tasks("new", [1])[0]
        first = next(made.strategy.adapt(other.support))
        with torch.no_grad():  # before any step it knows nothing of the support set
            torch.testing.assert_close(items[0].module(task.query.inputs), first.module(task.query.inputs))


@pytest.mark.parametrize("name", NAMES)
def test_order_of_the_support_set_does_not_matter(experiment: Make, name: str) -> None:
    made = experiment(f"strategy={name}", "dataset.k_shot=3")
    support = made.source.tasks("new", [0])[0].support
    query = made.source.tasks("new", [0])[0].query
    order = torch.randperm(len(support), generator=torch.Generator().manual_seed(1))
    shuffled = replace(support, inputs=support.inputs[order], targets=support.targets[order])  # type: ignore[index]
    strategy = made.strategy.eval()
    with torch.no_grad():
        one, two = (list(islice(strategy.adapt(s), 3))[-1].module(query.inputs) for s in (support, shuffled))
    torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_fit_lowers_its_losses(experiment: Make, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = experiment(
        f"strategy={name}",
        "optimizer.lr=0.01",
        "optimizer.schedule=constant",
        "optimizer.warmup=0",
        "training.steps=80",
    )
    strategy, source = made.strategy.train(), made.source
    batch = source.tasks("train", range(4))  # always the same tasks: whether it learns, not how fast
    monkeypatch.setattr(type(source), "tasks", lambda self, split, indices: batch[: len(indices)])
    monkeypatch.setattr(type(source.pool("train")), "__len__", lambda self: 96)
    found = losses(strategy.fit(source), 80)
    assert bool(found) == strategy.learns_from_source
    for values in found.values():
        n = min(10, len(values) // 3)
        assert sum(values[-n:]) < 0.97 * sum(values[:n])


@pytest.mark.parametrize("stop", [1, 2, 3])
@pytest.mark.parametrize("name", NAMES)
def test_stopped_and_continued_fit_is_the_same_bit_for_bit(experiment: Make, name: str, stop: int) -> None:
    def made() -> tuple[Strategy, Iterator[dict[str, float]], Experiment]:
        experiment_ = experiment(f"strategy={name}", "training.steps=4")
        strategy = experiment_.strategy.train()
        return strategy, strategy.fit(experiment_.source), experiment_

    through, steps, _ = made()
    whole = list(islice(steps, 4))
    first, steps, _ = made()
    half = list(islice(steps, stop))
    second, _, again = made()
    second.load_state_dict(first.state_dict())
    for (_, new), (_, old) in zip(optimizers(second), optimizers(first), strict=True):
        new.load_state_dict(old.state_dict())
    rest = list(islice(second.fit(again.source, start=len(half)), 4 - stop))
    assert whole == half + rest
    ours, theirs = through.state_dict(), second.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def has_meta_batches(name: str) -> bool:
    ((_, config),) = composition.points([f"strategy={name}"])
    return "meta_batch_size" in config["strategy"]


@pytest.mark.parametrize("name", NAMES)
def test_vectorised_step_equals_looped_step(experiment: Make, name: str) -> None:
    if not has_meta_batches(name):
        pytest.skip(f"{name} learns from the pool of examples, not from tasks")
    states = []
    for mode in ("vmap", "loop"):
        made = experiment(
            f"strategy={name}", f"hardware.vectorize={mode}", "strategy.meta_batch_size=3", "optimizer=sgd"
        )
        strategy = made.strategy.double().train()
        list(islice(strategy.fit(made.source), 2))
        states.append(strategy.state_dict())
    for key, value in states[0].items():
        torch.testing.assert_close(value, states[1][key], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_step_on_threads_equals_looped_step_bit_for_bit(experiment: Make, name: str) -> None:
    if not has_meta_batches(name):
        pytest.skip(f"{name} learns from the pool of examples, not from tasks")
    states = []
    for threads in (1, 2):  # from step 15 of 20: past a first phase, which learns from the pool
        made = experiment(f"strategy={name}", f"hardware.threads={threads}", "strategy.meta_batch_size=3")
        strategy = made.strategy.train()
        metrics = list(islice(strategy.fit(made.source, start=15), 2))
        states.append((metrics, strategy.state_dict()))
    assert states[0][0] == states[1][0]
    assert all(torch.equal(value, states[1][1][key]) for key, value in states[0][1].items())


@pytest.mark.parametrize("name", NAMES)
def test_tasks_are_replayed_after_two_of_them(
    experiment: Make, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a loss reads or changes beside its tasks would slow down every step of its strategy."""
    if not has_meta_batches(name):
        pytest.skip(f"{name} learns from the pool of examples, not from tasks")
    known: list[bool] = []

    def seen(gradients: TaskGradients, tasks: Sequence[Task]) -> Iterator[Found]:
        for task in tasks:
            known.append(gradients.replays.known(kind([task])))
            yield gradients([task])

    monkeypatch.setattr(outer_loops, "one_after_another", seen)
    made = experiment(f"strategy={name}", "strategy.meta_batch_size=3")
    list(islice(made.strategy.train().fit(made.source, start=15), 2))
    assert known == [False, False, True, True, True, True]


REPLAYED = {
    "anil", "boil", "born_again", "cavia", "distillation", "film", "finetune", "fomaml", "l2_sp",
    "linear_probe", "lp_ft", "maml", "maml_lora", "matching", "meta_sgd", "nearest_centroid", "proto_maml",
    "protonet", "r2d2", "relational", "scratch", "task_encoder",
}  # fmt: skip
"""Whose adaptation must stay fast; others draw random numbers, decide by values, or note some, and may."""


@pytest.mark.parametrize("name", NAMES)
def test_replayed_adaptations_have_the_bits_of_written_ones(experiment: Make, name: str) -> None:
    made = experiment(f"strategy={name}")
    strategy, steps = made.strategy.eval(), [0, 1, 2]
    replayed = Adaptations(steps, made.hardware, beside=True)
    for task in made.source.tasks("new", range(6)):
        expected = Adaptations(steps, made.hardware, beside=True)(strategy, task)
        found = replayed(strategy, task)
        for one, other in zip(found, expected, strict=True):
            assert (one.step, one.role) == (other.step, other.role)
            assert torch.equal(one.outputs, other.outputs)
            assert one.seconds > 0
    assert replayed.replays.recordable or name not in REPLAYED


@pytest.mark.parametrize("name", NAMES)
def test_bf16_is_refused_where_and_only_where_a_gradient_goes_through_gradients(
    experiment: Make, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = experiment(f"strategy={name}", "hardware.precision=bf16_second_order")
    graphs = [False]
    grad = torch.autograd.grad

    def seen(*args: Any, create_graph: bool = False, **kwargs: Any) -> Any:
        graphs.append(create_graph)
        return grad(*args, create_graph=create_graph, **kwargs)

    monkeypatch.setattr(torch.autograd, "grad", seen)
    with made.hardware.autocast():
        list(islice(made.strategy.train().fit(made.source, start=15), 1))
    assert made.strategy.differentiates_twice == any(graphs)
    if made.strategy.differentiates_twice:
        with pytest.raises(RequestError, match=r"^hardware.precision: bf16 .*second_order=false"):
            experiment(f"strategy={name}", "hardware.precision=bf16")


@pytest.mark.parametrize("name", NAMES)
def test_regression_is_served_or_refused_with_the_reason(experiment: Make, name: str) -> None:
    try:
        made = experiment(f"strategy={name}", "dataset=sinusoid", "model=mlp")
    except Unserved as error:
        assert "regression; choose" in str(error)
        return
    strategy, task = made.strategy.eval(), made.source.tasks("new", [0])[0]
    for adapted in islice(strategy.adapt(task.support), 2):
        with torch.no_grad():
            outputs = adapted.module(task.query.inputs)
        assert outputs.shape == task.query.targets.shape
        assert torch.isfinite(outputs).all()


CLEARLY = {  # so much weight on the distance, and so large batches, that what is seen is no luck
    "mmd": ("strategy.weight=5", "strategy.adaptation_batch_size=256"),
    "coral": ("strategy.weight=1e6", "strategy.adaptation_batch_size=256"),
    "ccsa": ("strategy.adaptation_batch_size=256",),
    "co_tuning": ("strategy.weight=30",),
}
ADVERSARIAL = ("dann", "cdan")


@pytest.mark.parametrize("name", NAMES)
def test_alignment_distance_falls_during_adapt(experiment: Make, name: str) -> None:
    made = experiment(f"strategy={name}", "dataset.k_shot=3", *CLEARLY.get(name, ()))
    strategy, source = made.strategy.double().train(), made.source
    list(islice(strategy.fit(source), 20))
    strategy.eval()
    distances = []
    for task in source.tasks("new", range(5)):
        notes = [adapted.notes for adapted in islice(strategy.adapt(task.support), 12)]
        distances.append([note["distance"] for note in notes if "distance" in note])
    if strategy.needs_unlabelled:
        assert all(distances), "a method that needs unlabelled examples says how far they are from the source"
    if not any(distances):
        pytest.skip(f"{name} notes no distance")
    if name in ADVERSARIAL:
        pytest.skip(f"{name} descends what a discriminator sees, not the distance that it notes")
    assert sum(d[-1] for d in distances) < sum(d[0] for d in distances)


@pytest.mark.parametrize("name", NAMES)
def test_predictors_beside_it_serve_the_same_task(experiment: Make, name: str) -> None:
    made = experiment(f"strategy={name}")
    strategy, task = made.strategy.eval(), made.source.tasks("new", [0])[0]
    for adapted in islice(strategy.adapt(task.support), 3):
        for role, build in adapted.beside.items():
            assert role not in ("strategy", "baseline")
            with torch.no_grad():
                outputs = build()(task.query.inputs)
            assert outputs.shape == (len(task.query), 3)
            assert torch.isfinite(outputs).all()


@pytest.mark.parametrize("name", NAMES)
def test_task_without_labels_is_refused_where_classes_are_new(experiment: Make, name: str) -> None:
    with pytest.raises(Unserved, match=r"^strategy: .*k_shot is 0.*; give labels"):
        experiment(f"strategy={name}", "evaluation.k_shots=[0]")
