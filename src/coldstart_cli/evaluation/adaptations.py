"""Adapts to one task after another and answers its queries; by replays, where that is possible."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from coldstart_cli.core.contents import tensors_of
from coldstart_cli.core.strategy import Adapted, Strategy
from coldstart_cli.core.tasks import Task, TaskSource
from coldstart_cli.hardware import Hardware
from coldstart_cli.tracing import recorder
from coldstart_cli.tracing.recorder import Values
from coldstart_cli.tracing.replays import Replays
from coldstart_cli.tracing.watch import Watch

_ticks: ContextVar[list[float]] = ContextVar("_ticks")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a predictor says to the query set.

    Attributes:
        role: of a predictor beside the strategy's own; None for its own.
        outputs: (n_query, n_outputs), the same tensor where several steps share a predictor.
        deviations: (n_query, n_outputs), of outputs that are reals, or None.
        seconds: spent inside the strategy's generator up to this step.
    """

    step: int
    role: str | None
    notes: Mapping[str, float]
    outputs: Tensor
    deviations: Tensor | None
    seconds: float


@dataclass(frozen=True, slots=True)
class _Place:
    """An answer without its values: indices of outputs and deviations, the number of predictors before it."""

    step: int
    role: str | None
    notes: Mapping[str, float]
    output: int
    deviation: int | None
    n_adapted: int


class Adaptations:
    """Adapts one strategy to many tasks; if it can be recorded, by replays from the fourth of a shape on.

    Any thread may call it, each with its own tree of the strategy's modules.

    Args:
        steps: numbers of steps after which the query set is answered.
        beside: whether predictors that a strategy gives beside its own answer too.
    """

    def __init__(self, steps: Sequence[int], hardware: Hardware, *, beside: bool) -> None:
        self.steps, self.hardware, self.beside = steps, hardware, beside
        # Quiet, because many strategies decide by values and cannot be recorded.
        self.replays = Replays("the predictor of a task", after=1, quiet=True)
        self._places: dict[Hashable, list[_Place]] = {}
        self._watches: dict[int, Watch] = {}

    def __call__(self, strategy: Strategy, task: Task) -> list[Answer]:
        """The answers of one task; a strategy that takes fewer steps keeps its last predictor."""
        tensors = tensors_of(task.support, task.query)
        layout = tuple((tensor.shape, tensor.stride(), tensor.dtype) for tensor in tensors)
        kind = (task.support.objective, task.support.unlabelled is None, layout)
        watch = self._watches.setdefault(id(strategy), Watch(strategy, closed=(TaskSource,)))
        places: list[_Place] = []
        ticks: list[float] = []
        token = _ticks.set(ticks)
        try:
            outputs = self.replays(kind, partial(self._outputs, strategy, task, places), tensors, watch)
        finally:
            _ticks.reset(token)
        if self.replays.recordable:  # otherwise no replay will need them
            known = (watch.state, kind)
            if places:
                self._places[known] = places
            places = self._places[known]
        return [self._answer(place, outputs, ticks) for place in places]

    def _answer(self, place: _Place, outputs: Values, ticks: Sequence[float]) -> Answer:
        output = outputs[place.output]
        assert output is not None
        # Ticks come in pairs around each step of the generator; building and calling predictors is between
        # pairs.
        clocked = ticks[: 2 * place.n_adapted]
        seconds = sum(clocked[1::2]) - sum(clocked[::2])
        deviations = None if place.deviation is None else outputs[place.deviation]
        return Answer(place.step, place.role, place.notes, output, deviations, seconds)

    def _outputs(self, strategy: Strategy, task: Task, places: list[_Place], *tensors: Tensor) -> Values:
        waiting = iter(tensors)
        support = task.support.map(lambda _: next(waiting))
        query = task.query.map(lambda _: next(waiting)).inputs
        adaptation, found = strategy.adapt(support), list[Tensor | None]()
        latest: Adapted | None = None
        said: list[tuple[str | None, Mapping[str, float], int, int | None]] = []
        n_adapted, goes_on = 0, True
        places.clear()
        # The clock is read by `recorder.call`, so that a replay reads it at the same places.
        for step in range(max(self.steps) + 1):
            if goes_on:
                recorder.call(self._tick)
                with self.hardware.autocast():
                    item = next(adaptation, None)
                recorder.call(self._tick)
                goes_on = item is not None
                if item is not None:
                    latest, n_adapted, said = item, n_adapted + 1, []
            if step in self.steps and latest is not None:
                if not said:
                    if latest.notes:
                        recorder.refuse("it notes numbers")
                    beside = latest.beside.items() if self.beside else ()
                    for role, build in ((None, latest.build), *beside):
                        deviation = None if role else latest.deviation
                        at = None if deviation is None else len(found) + 1
                        said.append((role, {} if role else latest.notes, len(found), at))
                        found.append(self._predicted(build, query))
                        if deviation is not None:
                            found.append(self._predicted(deviation, query))
                places += [_Place(step, *words, n_adapted) for words in said]
        # Explicitly, so that what the generator holds is freed before the next task.
        adaptation.close()
        return found

    @torch.no_grad()
    def _predicted(self, build: Callable[[], nn.Module], inputs: object) -> Tensor:
        with self.hardware.autocast():
            outputs: Tensor = build()(inputs).float()
        return outputs

    def _tick(self) -> None:
        _ticks.get().append(self.hardware.now())
