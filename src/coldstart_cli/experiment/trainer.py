"""The timed training loop: budgets, seeds, checkpoints and validation, the same for every strategy."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any

from annotated_types import Ge, Gt
from torch import nn

from coldstart_cli.core.strategy import Strategy
from coldstart_cli.core.tasks import TaskShape, TaskSource
from coldstart_cli.errors import JobError, RequestError
from coldstart_cli.evaluation.loop import tasks_of
from coldstart_cli.evaluation.scoring import scored_together
from coldstart_cli.experiment import sharding
from coldstart_cli.files.durable import append_jsonl, sync, truncate
from coldstart_cli.hardware import Hardware
from coldstart_cli.loggers.logger import Logger
from coldstart_cli.metrics.names import VALIDATION
from coldstart_cli.processes import ranks, shards
from coldstart_cli.processes.signals import StopOnSignal
from coldstart_cli.runs.run import Run
from coldstart_cli.training.augmentation import Augmentation
from coldstart_cli.training.optimizers import optimizers
from coldstart_cli.training.outer_loops import augmenting, counting
from coldstart_cli.training.randomness import begin_generators, step_seed


@dataclass(frozen=True, kw_only=True, slots=True)
class ValidationPlan:
    """Which source-validation tasks select the best state, and when.

    Attributes:
        every: outer steps between two validations. The last step is always validated, and so is the
            untrained state, which is a candidate too.
        n_tasks: number of tasks, which are always the same.
        n_way, k_shot, n_query: their shape, or None for that of the training tasks.
        adaptation_steps: gradient steps after which a task's query set is scored; None in a file stands for
            the strategy's own (`config.composition.resolved`).
    """

    every: Annotated[int, Ge(1)]
    n_tasks: Annotated[int, Ge(1)]
    n_way: Annotated[int, Ge(2)] | None
    k_shot: Annotated[int, Ge(1)] | None
    n_query: Annotated[int, Ge(1)] | None
    adaptation_steps: Annotated[int, Ge(0)] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingPlan:
    """The budget of a training.

    Attributes:
        steps: outer steps; a strategy may need fewer.
        examples: labelled source examples to draw, which then say the number of steps (`example_budget`).
        trials: of the search that chose the settings; None where that is not known. It changes nothing.
        log_every: outer steps between two lines of history.
        checkpoint_seconds: seconds between two checkpoints; resuming is exact, so results stay the same.
        validation: how the best state is chosen.
        augment: how training images are moved at random.
    """

    steps: Annotated[int, Ge(1)]
    examples: Annotated[int, Ge(1)] | None
    trials: Annotated[int, Ge(0)] | None
    log_every: Annotated[int, Ge(1)]
    checkpoint_seconds: Annotated[float, Gt(0)]
    validation: ValidationPlan
    augment: Augmentation


class Training:
    """A training that continues from its last checkpoint.

    All randomness of a step is seeded by (seed, step), so a checkpoint holds no state of a generator.
    """

    def __init__(
        self,
        strategy: Strategy,
        source: TaskSource,
        plan: TrainingPlan,
        hardware: Hardware,
        run: Run,
        seed: int,
    ) -> None:
        self.strategy, self.source, self.plan = strategy, source, plan
        self.hardware, self.run, self.seed = hardware, run, seed
        self.checkpoints = run.checkpoints
        self.step, self.best_step, self.best_value = 0, 0, math.nan
        self.best: dict[str, Any] | None = None  # weights at `best_step`
        self.best_written = -1
        self.saved: int | None = None  # step of the last checkpoint
        self.validated = -1
        self.seconds = 0.0
        self.examples: int | None = 0  # labelled source examples drawn
        self.lengths = {"history.jsonl": 0, "timings.jsonl": 0}
        # The first rank reads and the others are told, or a checkpoint that appears meanwhile would divide
        # them.
        state = ranks.agreed(self.checkpoints.latest)
        if state is not None:
            try:
                self._restore(state)
            except (KeyError, ValueError, RuntimeError) as error:
                raise RequestError(
                    f"run: {run.path} has checkpoints of another training; start anew with again=true"
                ) from error
        self.held = sharding.held(strategy, hardware)
        for name, length in self.lengths.items():
            if not ranks.first():
                break
            # Lines after the checkpoint will be written again, with the same content: history stays byte-
            # identical.
            self.lengths[name] = truncate(run.path / name, length)
            if self.lengths[name] < length:
                _warn(f"{run.path / name}: has lost lines; the training itself is not affected")

    def fit(self, loggers: Sequence[Logger], stop: StopOnSignal) -> None:
        """Trains to the end of the budget; the best state is then in the run's checkpoints.

        Raises:
            Stopped: after a signal, with the state saved.
            JobError: where a metric, a gradient or a weight is no longer finite.
            RequestError: where a checkpoint cannot be written; earlier ones are kept.
        """
        learns = self.strategy.learns_from_source  # otherwise the data set may have no source
        steps = self.strategy.fit(self.source, self.step) if learns else iter(())
        saved = self.hardware.now()
        while True:
            if self._validation_due:
                self._validate(loggers, stop)
            stopping = stop.requested  # read once: a stop below must have been saved here
            # By the clock, not by steps: a crash then costs the same time whether steps are fast or slow.
            late = self.hardware.now() - saved > self.plan.checkpoint_seconds
            if stopping or self.held.agreed(late):
                self._save()
                saved = self.hardware.now()
            if stopping:
                stop.check()
            if self.step == self.plan.steps or (values := self._one_step(steps)) is None:
                break
            if self.step == self.plan.steps or self.step % self.plan.log_every == 0:
                self._log(values, loggers)
            for logger in loggers:
                logger.advance(self.step)
        if self.step > 0:
            if self.source.validation == "none":  # nothing says that an earlier state was better
                self.best_step, self.best = self.step, self.held.state()
            self._save()
        else:  # nothing was learned, as by `scratch`; its validation value is there for a search
            self.checkpoints.save_best({"strategy": self.held.state(), "step": 0})
        self.held.end()

    def _one_step(self, steps: Iterator[dict[str, float]]) -> dict[str, float] | None:
        self.strategy.train()
        # For losses that draw from torch's global generator, such as dropout in a plug-in's own loop.
        begin_generators(step_seed(self.seed, self.step), self.hardware.device)
        before = self.hardware.now()
        with self.hardware.autocast(), counting(self._count), augmenting(self.plan.augment or None):
            values = next(steps, None)
        if values is None:
            return None
        self.seconds += self.hardware.now() - before
        # Counted before the checks, so that a message names the step that failed.
        self.step += 1
        for name, value in values.items():
            self._refuse_unless_finite(name, value)
        self._refuse_unless_weights_are_finite()
        return values

    def _refuse_unless_weights_are_finite(self) -> None:
        learning = {name: p for name, p in self.strategy.named_parameters() if p.requires_grad}
        # A sum reads each weight once and is faster than any norm; one number is copied from the device.
        total = shards.total(learning.values())
        if not math.isfinite(total):  # the loss before this step was finite, its gradient was not
            self._refuse_unless_finite(*_not_finite(learning))

    def _refuse_unless_finite(self, name: str, value: float) -> None:
        """
        Raises:
            JobError: naming the step and what is not finite; no checkpoint has it.
        """
        if math.isfinite(value):
            return
        kept = "no checkpoint was due before" if self.saved is None else f"that of step {self.saved} is kept"
        raise JobError(
            f"training: {name} is {value} at step {self.step}; lower optimizer.lr or the strategy's own rate "
            f"({self.run.path}: {kept}) (E35)"
        )

    def _count(self, n: int) -> None:
        if self.examples is not None:
            self.examples += n

    def _log(self, values: Mapping[str, float], loggers: Sequence[Logger]) -> None:
        self._append("history.jsonl", {"step": self.step, **values})
        self._append("timings.jsonl", {"step": self.step, "seconds": round(self.seconds, 6)})
        for logger in loggers:
            logger.metrics(self.step, values)

    @property
    def _validation_due(self) -> bool:
        # A source of new tasks alone serves strategies that learn nothing, which have one state.
        if self.source.validation == "none" or not self.source.has_source:
            return False
        # No state before a teacher is ready can be the best, the untrained one included.
        preparing = self.strategy.preparing_steps
        prepared = self.step > preparing or preparing == 0
        regular = prepared and self.step % self.plan.validation.every == 0
        return self.step > self.validated and (regular or self.step == self.plan.steps)

    def _validate(self, loggers: Sequence[Logger], stop: StopOnSignal) -> None:
        """Validates; a stop does not wait for all tasks, which are scored again after the resume."""
        plan = self.plan.validation
        assert plan.adaptation_steps is not None, "the composition has put a number in its place"
        source = self.source.with_shape(validation_shape(self.source, plan))
        tasks = tasks_of(source, "validation", plan.n_tasks)
        together = partial(
            scored_together,
            self.strategy,
            steps=[plan.adaptation_steps],
            hardware=self.hardware,
            beside=False,
        )
        values = []
        with self.held.whole():
            for scores in ranks.spread(tasks, together):
                if stop.requested:
                    return
                values += [score.value for score in scores]
        value = sum(values) / len(values)
        name = f"{VALIDATION}{source.objective.headline}"
        # An untrained network may diverge where a trained one does not: it is no candidate then.
        if self.step:
            self._refuse_unless_finite(name, value)
        self.validated = self.step
        sign = 1.0 if source.objective.higher_is_better else -1.0
        # Strictly better: of equal states the earlier one is kept.
        if math.isfinite(value) and (self.best is None or sign * value > sign * self.best_value):
            self.best_step, self.best_value = self.step, value
            self.best = self.held.copied()
        self._append("history.jsonl", {"step": self.step, name: value})
        for logger in loggers:
            logger.metrics(self.step, {name: value})

    def _append(self, name: str, row: Mapping[str, object]) -> None:
        if not ranks.first():
            return
        self.lengths[name] += append_jsonl(self.run.path / name, row)

    def _save(self) -> None:
        """Writes a checkpoint, and the best state in a separate file.

        The checkpoint has the best state too, so that each file that is resumed from is consistent.
        """
        for name in self.lengths if ranks.first() else ():
            sync(self.run.path / name)  # a checkpoint must not count lines that a crash could lose
        self.checkpoints.save(self._state(), self.step)
        self.saved = self.step
        if self.best is not None and self.best_written != self.best_step:
            self.checkpoints.save_best({"strategy": self.best, "step": self.best_step})
            self.best_written = self.best_step

    def _state(self) -> dict[str, Any]:
        """All that a resumed training needs; strategies need not know about it."""
        return {
            "strategy": self.held.state(),
            "optimizers": self.held.optimizer_states(),
            "step": self.step,
            "best_step": self.best_step,
            "best_value": self.best_value,
            "best": self.best,
            "validated": self.validated,
            "seconds": self.seconds,
            "examples": self.examples,
            "lengths": dict(self.lengths),
            "threads": self.hardware.threads,
            "processes": ranks.world(),
            "vectorize": self.strategy.vectorize,
        }

    def _restore(self, state: Mapping[str, Any]) -> None:
        # Older checkpoints do not say the number of processes; it was one.
        before = {"threads": state["threads"], "processes": state.get("processes", 1)}
        now = {"threads": self.hardware.threads, "processes": ranks.world()}
        for unit in (unit for unit in before if before[unit] != now[unit]):
            _warn(
                f"{self.run.path}: was trained on {before[unit]} {unit} and continues with "
                f"{now[unit]}; its numbers will differ in rounding (hardware.{unit})"
            )
        # What `auto` chose when the run began; another device might choose differently.
        self.strategy.vectorize = state.get("vectorize", self.strategy.vectorize)
        self.strategy.load_state_dict(state["strategy"])
        for name, optimizer in optimizers(self.strategy):
            optimizer.load_state_dict(state["optimizers"][name])
        self.step, self.seconds, self.lengths = state["step"], state["seconds"], dict(state["lengths"])
        self.best_step, self.best_value = state["best_step"], state["best_value"]
        self.saved, self.validated = self.step, state.get("validated", self.step)
        if "best" in state:
            self.best = state["best"]
        elif self.best_step:  # older checkpoints keep it only in its own file
            self.best = self.checkpoints.best()["strategy"]
        # Checkpoints of format 1 did not count, so the total is unknown.
        self.examples = state.get("examples")


def _not_finite(weights: Mapping[str, nn.Parameter]) -> tuple[str, float]:
    """The first tensor that is not finite, and its sum: a gradient, if it came from one, or a weight."""
    gradients = {f"the gradient of {n}": w.grad for n, w in weights.items() if w.grad is not None}
    for name, tensor in {**gradients, **weights}.items():
        total = float(shards.whole(tensor.detach()).double().sum())
        if not math.isfinite(total):
            return name, total
    return "", 0.0  # all are finite; only their sum overflowed in single precision


def _warn(text: str) -> None:
    warnings.warn(text, RuntimeWarning, stacklevel=3)


def validation_shape(source: TaskSource, plan: ValidationPlan) -> TaskShape:
    """The shape of the validation tasks: the plan's where it gives one, otherwise the training tasks'."""
    given = {"n_way": plan.n_way, "k_shot": plan.k_shot, "n_query": plan.n_query}
    return replace(source.shape, **{name: value for name, value in given.items() if value is not None})
