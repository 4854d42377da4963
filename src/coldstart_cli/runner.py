"""The clocked training loop: budgets, seeds, checkpoints and validation, the same for every strategy."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import torch
from annotated_types import Ge, Gt

from coldstart_cli.core import Strategy, TaskShape, TaskSource
from coldstart_cli.curve import VALIDATION
from coldstart_cli.errors import JobError
from coldstart_cli.evaluation import tasks_of
from coldstart_cli.files import append_jsonl, truncate
from coldstart_cli.hardware import Hardware
from coldstart_cli.loggers import Logger
from coldstart_cli.runs import Run
from coldstart_cli.scoring import optimizers, scored_together
from coldstart_cli.signals import StopOnSignal
from coldstart_cli.training import counting, step_seed


@dataclass(frozen=True, kw_only=True, slots=True)
class ValidationPlan:
    """Which source-validation tasks select the best state, and when.

    Attributes:
        every: outer steps between two validations; the last step is always validated.
        n_tasks: tasks, always the same.
        n_way, k_shot, n_query: their shape, or None for that of the training tasks.
        adaptation_steps: gradient steps after which a task's query set is scored.
    """

    every: Annotated[int, Ge(1)]
    n_tasks: Annotated[int, Ge(1)]
    n_way: Annotated[int, Ge(2)] | None
    k_shot: Annotated[int, Ge(1)] | None
    n_query: Annotated[int, Ge(1)] | None
    adaptation_steps: Annotated[int, Ge(0)]


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingPlan:
    """The budget of a training.

    Attributes:
        steps: outer steps; a strategy may need fewer.
        log_every: outer steps between two lines of history.
        checkpoint_seconds: seconds between two checkpoints; resuming is exact, so they change no result.
        validation: how the best state is chosen.
    """

    steps: Annotated[int, Ge(1)]
    log_every: Annotated[int, Ge(1)]
    checkpoint_seconds: Annotated[float, Gt(0)]
    validation: ValidationPlan


class Training:
    """A training that goes on from its last checkpoint.

    The seed of every step's randomness is (seed, step), so a state needs no generator's inside.
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
        self.seconds = 0.0
        self.examples: int | None = 0  # labelled source examples drawn
        self.lengths = {"history.jsonl": 0, "timings.jsonl": 0}
        state = self.checkpoints.latest()
        if state is not None:
            self._restore(state)
        for name, length in self.lengths.items():
            truncate(run.path / name, length)

    def fit(self, loggers: Sequence[Logger], stop: StopOnSignal) -> None:
        """Trains to the end of the budget; the best state is in the run's checkpoints.

        Raises:
            Stopped: after a signal, with the state saved.
            JobError: where a metric is no longer finite.
        """
        learns = self.strategy.learns_from_source  # else the data set may have no source to give it
        steps = self.strategy.fit(self.source, self.step) if learns else iter(())
        saved = self.hardware.now()
        while self.step < self.plan.steps:
            values = self._one_step(steps)
            if values is None:
                break
            last = self.step == self.plan.steps
            if last or self.step % self.plan.log_every == 0:
                self._log(values, loggers)
            prepared = self.step > self.strategy.preparing_steps
            if last or (prepared and self.step % self.plan.validation.every == 0):
                self._validate(loggers)
            stopping = stop.requested  # asked once: who is stopped below has been saved here
            if last or stopping or self.hardware.now() - saved > self.plan.checkpoint_seconds:
                self.checkpoints.save(self._state(), self.step)
                saved = self.hardware.now()
            for logger in loggers:
                logger.advance(self.step)
            if stopping:
                stop.check()
        if self.best_step == 0:  # nothing was learned, as by `scratch`
            self.checkpoints.save_best({"strategy": self.strategy.state_dict(), "step": 0})

    def _one_step(self, steps: Iterator[dict[str, float]]) -> dict[str, float] | None:
        self.strategy.train()
        torch.manual_seed(step_seed(self.seed, self.step))
        before = self.hardware.now()
        with self.hardware.autocast(), counting(self._count):
            values = next(steps, None)
        if values is None:
            return None
        self.seconds += self.hardware.now() - before
        self.step += 1
        for name, value in values.items():
            if not math.isfinite(value):
                raise JobError(
                    f"training: {name} is {value} at step {self.step}; lower optimizer.lr or the strategy's "
                    f"own rate, the last good state is kept in {self.run.path}"
                )
        return values

    def _count(self, n: int) -> None:
        if self.examples is not None:
            self.examples += n

    def _log(self, values: Mapping[str, float], loggers: Sequence[Logger]) -> None:
        self._append("history.jsonl", {"step": self.step, **values})
        self._append("timings.jsonl", {"step": self.step, "seconds": round(self.seconds, 6)})
        for logger in loggers:
            logger.metrics(self.step, values)

    def _validate(self, loggers: Sequence[Logger]) -> None:
        plan = self.plan.validation
        source = self.source.with_shape(validation_shape(self.source, plan))
        tasks = tasks_of(source, "validation", plan.n_tasks)
        together = scored_together(self.strategy, tasks, [plan.adaptation_steps], self.hardware, beside=False)
        records = [record for records in together for record in records]
        value = sum(r["value"] for r in records) / len(records)
        sign = 1.0 if source.objective.higher_is_better else -1.0
        if self.best_step == 0 or sign * value > sign * self.best_value:
            self.best_step, self.best_value = self.step, value
            self.checkpoints.save_best({"strategy": self.strategy.state_dict(), "step": self.step})
        name = f"{VALIDATION}{source.objective.headline}"
        self._append("history.jsonl", {"step": self.step, name: value})
        for logger in loggers:
            logger.metrics(self.step, {name: value})

    def _append(self, name: str, row: Mapping[str, object]) -> None:
        self.lengths[name] += append_jsonl(self.run.path / name, row)

    def _state(self) -> dict[str, Any]:
        """All that a resumed training needs: no strategy knows of it."""
        return {
            "strategy": self.strategy.state_dict(),
            "optimizers": {name: optimizer.state_dict() for name, optimizer in optimizers(self.strategy)},
            "step": self.step,
            "best_step": self.best_step,
            "best_value": self.best_value,
            "seconds": self.seconds,
            "examples": self.examples,
            "lengths": dict(self.lengths),
            "threads": self.hardware.threads,
            "vectorize": self.strategy.vectorize,
        }

    def _restore(self, state: Mapping[str, Any]) -> None:
        if state["threads"] != self.hardware.threads:
            warnings.warn(
                f"{self.run.path}: was trained on {state['threads']} threads and goes on with "
                f"{self.hardware.threads}; its numbers will differ in rounding (hardware.threads)",
                RuntimeWarning,
                stacklevel=2,
            )
        # What `auto` chose where it began: another device may choose otherwise.
        self.strategy.vectorize = state.get("vectorize", self.strategy.vectorize)
        self.strategy.load_state_dict(state["strategy"])
        for name, optimizer in optimizers(self.strategy):
            optimizer.load_state_dict(state["optimizers"][name])
        self.step, self.seconds, self.lengths = state["step"], state["seconds"], dict(state["lengths"])
        self.best_step, self.best_value = state["best_step"], state["best_value"]
        # A checkpoint of format 1 did not count: what came before it is not known.
        self.examples = state.get("examples")


def validation_shape(source: TaskSource, plan: ValidationPlan) -> TaskShape:
    """The shape of the validation tasks: the plan's where it says, the training tasks' where it does not."""
    given = {"n_way": plan.n_way, "k_shot": plan.k_shot, "n_query": plan.n_query}
    return replace(source.shape, **{name: value for name, value in given.items() if value is not None})
