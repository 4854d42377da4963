"""Laws of `fit`: what a strategy learns from the source."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from coldstart_cli.core.strategy import Strategy
from coldstart_cli.core.tasks import Examples, Objective, Pool, Split, Task, TaskShape, TaskSource
from coldstart_cli.errors import RequestError
from coldstart_cli.experiment.assembly import Experiment
from coldstart_cli.testing.law import apart, changed_in, law
from coldstart_cli.testing.trial import Trial
from coldstart_cli.tracing.replays import as_written
from coldstart_cli.training import outer_loops
from coldstart_cli.training.meta_batch import Found, TaskGradients, kind
from coldstart_cli.training.optimizers import optimizers
from coldstart_cli.training.randomness import begin_generators, step_seed

_PAST_A_FIRST_PHASE = 17  # step of the 20 of experiment=smoke; a first phase may learn from the pool


def learns_from_tasks(trial: Trial) -> bool:
    """Whether its constructor names `vectorize`, that is, it can compute the tasks of a batch in one call."""
    encoders = trial.strategy.modules()
    return "vectorize" in trial.facts and all(getattr(m, "vectorizable", True) for m in encoders)


def few(trial: Trial) -> dict[str, int]:
    """Few tasks of an outer step and few inner steps: a law asks whether, not how well."""
    inner_steps = trial.value("inner_steps")
    return {"meta_batch_size": 3, **({"inner_steps": min(2, inner_steps)} if inner_steps else {})}


class FewExamples(Pool):
    """The first examples of a pool."""

    def __init__(self, pool: Pool, n: int) -> None:
        self.pool, self.n = pool, min(n, len(pool))
        self.objective: Objective = pool.objective
        self.groups, self.names, self.queries = pool.groups, pool.names, pool.queries

    def __len__(self) -> int:
        return self.n

    def examples(self, indices: Tensor) -> Examples:
        return self.pool.examples(indices)


class SameTasks(TaskSource):
    """A source that always gives the same few tasks: it shows whether a strategy learns, not how fast."""

    def __init__(self, source: TaskSource, n_tasks: int, n_examples: int) -> None:
        self.source, self.n_examples = source, n_examples
        self.shape, self.fingerprint, self.input_shape = source.shape, source.fingerprint, source.input_shape
        self.shares_labels, self.unequal = source.shares_labels, source.unequal
        self.few = source.tasks("train", range(n_tasks))

    @property
    def objective(self) -> Objective:
        return self.source.objective

    def tasks(self, split: Split, indices: Sequence[int]) -> list[Task]:
        return [self.few[i % len(self.few)] for i in range(len(indices))]

    def pool(self, split: Split) -> Pool:
        return FewExamples(self.source.pool(split), self.n_examples)

    def refusal(self, split: Split, shape: TaskShape) -> str | None:
        return self.source.refusal(split, shape)

    def with_shape(self, shape: TaskShape) -> TaskSource:
        return SameTasks(self.source.with_shape(shape), len(self.few), self.n_examples)

    def facts(self) -> dict[str, str]:
        return self.source.facts()


def loss_of(metrics: Mapping[str, float]) -> dict[str, float]:
    """The first loss among the metrics of a step; a training in phases has one for each (`teacher_loss`)."""
    names = [name for name in metrics if name.endswith("loss")][:1]
    return {name: metrics[name] for name in names}


def ends_of(values: Sequence[float]) -> tuple[float, float]:
    """Means of the first values and of the last: of ten, or of a third where there are few."""
    # Means over several steps, because single losses are noisy.
    n = max(1, min(10, len(values) // 3))
    return sum(values[:n]) / n, sum(values[-n:]) / n


def has_fallen(values: Sequence[float], share: float) -> bool:
    """Whether the last values of a loss are lower than the first ones, by a share of those."""
    first, last = ends_of(values)
    return last < first - share * abs(first)  # false for nan, too


@law(
    "fit lowers the losses that it has, and takes steps exactly where learns_from_source says so",
    "check the sign of the loss and that the optimizer moves what it depends on, or set learns_from_source",
)
def fit_lowers_its_losses(trial: Trial) -> str | None:
    """Within 80 steps, each over the same two tasks; over as soon as the losses fell by a twentieth."""

    def begun(start: int) -> Iterator[Mapping[str, float]]:
        steady = {"lr": 0.03, "schedule": "constant", "warmup": 0.0}
        every_task = {"meta_batch_size": 2}
        made = trial.experiment(optimizer=steady, training={"steps": 80}, strategy=every_task)
        return islice(made.strategy.train().fit(SameTasks(made.source, 2, 96), start), 80 - start)

    with as_written():
        of_last_phase = [loss_of(metrics).keys() for metrics in begun(79)]
    found: dict[str, list[float]] = {}
    step = 0
    for step, metrics in enumerate(begun(0), 1):
        for name, value in loss_of(metrics).items():
            found.setdefault(name, []).append(value)
        every_phase = all(names <= found.keys() for names in of_last_phase)
        if step % 10 == 0 and every_phase and all(has_fallen(values, 0.05) for values in found.values()):
            break
    if bool(step) != trial.strategy.learns_from_source:
        return f"learns_from_source is {trial.strategy.learns_from_source} and it takes {step} steps"
    for name, values in found.items():
        # Less than 3 % may be noise.
        if not has_fallen(values, 0.03):
            first, last = ends_of(values)
            return f"its {name} went from {first:.3g} to {last:.3g} over the same few tasks"
    return None


@law(
    "training.examples is the number of labelled source examples that it draws, to within a step",
    "draw by training.outer_loops, as many at step n of m whatever was drawn before",
    lambda trial: trial.strategy.learns_from_source,
)
def examples_are_drawn_to_within_a_step(trial: Trial) -> str | None:
    drawn: list[int] = []
    with outer_loops.counting(drawn.append), as_written():
        made = trial.experiment(strategy=few(trial))
        next(made.strategy.train().fit(made.source), None)
        if not sum(drawn):
            return None  # a loop of its own, which counts nothing: such a number is refused for it
        most = 6 * drawn[0]
        made = trial.experiment(strategy=few(trial), training={"examples": most})
        steps, drawn[:] = made.strategy.train().fit(made.source), []
        sizes = []
        for _ in islice(steps, made.training.steps):
            sizes.append(sum(drawn))
            drawn.clear()
    if not 0 <= most - sum(sizes) < max(sizes):
        return f"it drew {sum(sizes)} in {len(sizes)} steps where {most} were asked for"
    return None


def taken(strategy: Strategy, made: Experiment, start: int, n: int) -> Iterator[dict[str, float]]:
    """Metrics of `n` outer steps from step `start` on.

    They are taken as by the trainer: torch's own generator, used by dropout, is seeded by (seed, step).
    """
    steps = strategy.fit(made.source, start)
    for step in range(start, start + n):
        begin_generators(step_seed(made.config["seed"], step), made.hardware.device)
        yield from islice(steps, 1)


def checkpoint_of(strategy: Strategy) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """Copies of what a checkpoint holds: the strategy's state, and that of each of its optimizers."""
    state = strategy.state_dict(), [optimizer.state_dict() for _, optimizer in optimizers(strategy)]
    return copy.deepcopy(state)


@law(
    "a training that is stopped and resumed learns the same, bit for bit",
    "draw from torch's generator, or one seeded by (seed, step); keep state in parameters and buffers",
)
def stopped_training_goes_on_alike(trial: Trial) -> str | None:
    """A loss may be random, as with dropout, as long as a step always draws the same numbers."""

    def begun() -> tuple[Strategy, Experiment]:
        made = trial.experiment(training={"steps": 4}, strategy=few(trial))
        return made.strategy.train(), made

    strategy, made = begun()
    whole, checkpoints = list[dict[str, float]](), list[Any]()
    with as_written():
        for metrics in taken(strategy, made, 0, 4):
            whole.append(metrics)
            checkpoints.append(checkpoint_of(strategy))
    fresh, again = begun()
    with as_written():
        if list(taken(fresh, again, 0, 1)) != whole[:1]:
            return "another training of the same seed begins otherwise"
    for stop in (1, 2, 3):
        # The first goes on by recordings of its own, the others as it is written.
        computed = contextlib.nullcontext() if stop == 1 else as_written()
        second, again = begun()
        for state, moments in checkpoints[:stop][-1:]:  # none where fit has nothing to do
            second.load_state_dict(state)
            for (_, optimizer), moment in zip(optimizers(second), moments, strict=True):
                optimizer.load_state_dict(moment)
        with computed:
            rest = list(taken(second, again, min(stop, len(whole)), 4 - stop))
        if whole[stop:] != rest:
            return f"after a stop at step {stop} of 4 its metrics are others"
        if names := changed_in(strategy.state_dict(), second.state_dict()):
            return f"after a stop at step {stop} of 4 other values are in {', '.join(names[:3])}"
    return None


@law(
    "tasks computed in one call give what tasks one after another give",
    "write the task loss for one task and lift it by `each`, or set vectorizable = False on the model",
    learns_from_tasks,
)
def vectorised_step_equals_looped_step(trial: Trial) -> str | None:
    """Without dropout, which draws different numbers for a batch than for its tasks."""
    states = []
    for mode in ("vmap", "loop"):
        made = trial.experiment(optimizer_name="sgd", hardware={"vectorize": mode}, strategy=few(trial))
        # In double precision, where rounding does not hide a difference.
        strategy = made.strategy.double().eval()
        with as_written():
            list(islice(strategy.fit(made.source), 2))
        states.append(strategy.state_dict())
    for name, value in states[0].items():
        difference = apart(value, states[1][name], rtol=1e-7, atol=1e-9)
        if difference is not None:
            return f"{name} is {difference:.2g} away"
    return None


@law(
    "a step on two threads has the bits of a step on one",
    "let the loss of a task depend on that task alone, and draw no numbers in an order that tasks share",
    learns_from_tasks,
)
def threads_change_no_bit(trial: Trial) -> str | None:
    told = []
    # On one thread as it is written; two replay recordings side by side.
    for threads, computed in ((1, as_written()), (2, contextlib.nullcontext())):
        hardware = {"threads": threads, "vectorize": "loop"}
        made = trial.experiment(hardware=hardware, strategy=few(trial))
        strategy = made.strategy.train()
        with computed:
            told.append((list(taken(strategy, made, _PAST_A_FIRST_PHASE, 2)), strategy.state_dict()))
    if told[0][0] != told[1][0]:
        return "its metrics are others"
    names = changed_in(told[0][1], told[1][1])
    return f"other values are in {', '.join(names[:3])}" if names else None


@law(
    "the loss of a task is replayed from the third task of a shape on",
    "read no value of a tensor in the task loss; it would only be slower, so this law may be left out by -k",
    learns_from_tasks,
)
def tasks_are_replayed_after_two(trial: Trial) -> str | None:
    """Without dropout, since what draws random numbers is not replayed."""
    known: list[bool] = []

    def seen(gradients: TaskGradients, tasks: Sequence[Task]) -> Iterator[Found]:
        for task in tasks:
            known.append(gradients.replays.known(kind([task])))
            yield gradients([task])

    made = trial.experiment(hardware={"vectorize": "loop"}, strategy=few(trial))
    with mock.patch.object(outer_loops, "one_after_another", seen):
        list(islice(made.strategy.eval().fit(made.source, start=_PAST_A_FIRST_PHASE), 2))
    return None if known[2:] and all(known[2:]) else "it is computed as it is written"


@law(
    "differentiates_twice says whether a gradient goes through gradients, for which bf16 is too coarse",
    "set it where the outer loss is differentiated through inner steps, and nowhere else",
)
def bf16_is_refused_through_gradients(trial: Trial) -> str | None:
    made = trial.experiment(hardware={"precision": "bf16_second_order"}, strategy=few(trial))
    graphs = [False]
    grad: Any = torch.autograd.grad

    def seen(*args: Any, create_graph: bool = False, **kwargs: Any) -> Any:
        # A gradient of gradients needs create_graph, so it is enough to watch for that.
        graphs.append(create_graph)
        return grad(*args, create_graph=create_graph, **kwargs)

    with mock.patch.object(torch.autograd, "grad", seen), made.hardware.autocast(), as_written():
        list(islice(made.strategy.train().fit(made.source, start=_PAST_A_FIRST_PHASE), 1))
    says = made.strategy.differentiates_twice
    if says != any(graphs):
        return f"it is {says}"
    if says:
        try:
            trial.experiment(hardware={"precision": "bf16"})
        except RequestError as error:
            return None if "hardware.precision: bf16" in str(error) else f"it is refused by {str(error)!r}"
        return "bf16 is accepted"
    return None
