"""What a predictor costs: who is called how often, in which order, with which clock."""

from __future__ import annotations

import gc
from collections.abc import Callable, Generator, Iterator
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import nn

from coldstart_cli.config import composition
from coldstart_cli.core.strategy import Adapted, Strategy
from coldstart_cli.core.tasks import Support, TaskSource
from coldstart_cli.evaluation.costs import (
    FEWEST,
    TURN,
    WARM_UP,
    adaptation_ms,
    costs,
    encoding_ms,
    parameter_count,
    raw_inputs,
    repeated,
    timed,
)
from coldstart_cli.evaluation.loop import tasks_of
from coldstart_cli.experiment.assembly import Experiment, assemble
from coldstart_cli.experiment.parts import preprocess_of
from coldstart_cli.hardware import Hardware
from coldstart_cli.models.preprocess import Plain
from coldstart_cli.models.pretrained.features import WithEncoder
from coldstart_cli.models.pretrained.text import FrozenText
from coldstart_cli.tracing.flops import flops

pytestmark = pytest.mark.usefixtures("torch_settings")


class Table(nn.Module):
    """As many numbers as are asked for; what is read from them is 0."""

    def __init__(self, size: int, n_way: int) -> None:
        super().__init__()
        self.numbers = nn.Parameter(torch.zeros(size))
        self.n_way = n_way

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.numbers.sum().expand(len(inputs), self.n_way)


class WithTeacher(Strategy):
    """Seven numbers, taught by a thousand."""

    learns_from_source = False

    def fit(self, source: TaskSource, start: int = 0) -> Iterator[dict[str, float]]:
        return iter(())

    def adapt(self, support: Support) -> Generator[Adapted, None, None]:
        n_way = support.objective.n_outputs
        yield Adapted(partial(Table, 7, n_way), {}, {}, {"teacher": partial(Table, 1000, n_way)})


class Clock:
    """Stands for the hardware: a second passes with every call that is timed."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> float:
        return self.seconds


def made(*overrides: str) -> Experiment:
    tiny = ("experiment=smoke", "hardware=cpu", "hardware.threads=1", "model.hidden=8", "dataset.n_way=3")
    ((_, config),) = composition.points([*tiny, *overrides])
    return assemble(config)


def test_costs_tell_the_teacher_apart() -> None:
    experiment = made("evaluation.timed_calls=30", "evaluation.batch_sizes=[1,2]")
    task = next(tasks_of(experiment.source, "new", 1))
    found = costs(WithTeacher(), task, experiment.evaluation, experiment.hardware, {1: 2.5}, Plain())
    teacher = found.beside["teacher"]
    assert (found.parameters, teacher.parameters) == (7, 1000)
    assert found.adaptation_ms == {1: 2.5}
    for predictor in (found, teacher):
        assert predictor.inference.keys() == {1, 2}
        assert all(t.calls and t.calls >= 30 and t.p50_ms <= t.p95_ms for t in predictor.inference.values())


TICK = 1 / 1024  # seconds, exact in binary


def run_timed(least: int, total: float, costs: dict[str, float]) -> tuple[str, dict[str, list[float]]]:
    """All in ticks."""
    clock, called = Clock(), []

    def call(name: str) -> None:
        called.append(name)
        clock.seconds += costs[name] * TICK

    calls: dict[str, Callable[[], object]] = {name: partial(call, name) for name in costs}
    seconds = timed(calls, cast("Hardware", clock), least=least, total=total * TICK)
    return "".join(called), {name: [value / TICK for value in of] for name, of in seconds.items()}


def test_timed_calls_take_turns_after_a_warm_up() -> None:
    called, seconds = run_timed(2 * TURN, 0.0, {"a": 1.0, "b": 2.0})
    turn = 1 + TURN  # the first call of a turn is not timed
    assert called == "a" * WARM_UP + "b" * WARM_UP + 2 * ("a" * turn + "b" * turn)
    assert seconds == {"a": [1.0] * 2 * TURN, "b": [2.0] * 2 * TURN}


def test_timed_calls_go_on_until_both_bounds_are_reached() -> None:
    _, seconds = run_timed(TURN, 100.0, {"quick": 1.0, "slow": 50.0})
    assert (len(seconds["quick"]), len(seconds["slow"])) == (100, TURN)
    _, seconds = run_timed(TURN + 1, 1.0, {"quick": 1.0, "slow": 50.0})
    assert (len(seconds["quick"]), len(seconds["slow"])) == (2 * TURN, 2 * TURN)


def test_timed_calls_of_who_is_done_cease() -> None:
    called, _ = run_timed(TURN, 50.0, {"q": 1.0, "s": 50.0})
    turns = [(name, len(list(run))) for name, run in groupby(called[2 * WARM_UP :])]
    assert [name for name, _ in turns] == ["q", "s", "q"]


def test_timed_calls_of_seconds_each_are_few() -> None:
    called, seconds = run_timed(5 * TURN, 500.0, {"quick": 1.0, "slow": 3.0 / TICK})
    assert (len(seconds["quick"]), len(seconds["slow"])) == (500, FEWEST)
    assert called.count("slow") == 2 + 1 + FEWEST  # to warm up, before the turn, in the turn


@pytest.mark.parametrize("enabled", [True, False])
def test_timed_calls_are_free_of_garbage_collection_which_then_is_as_before(enabled: bool) -> None:
    seen = []
    try:
        if not enabled:
            gc.disable()
        timed({"a": lambda: seen.append(gc.isenabled())}, cast("Hardware", Clock()), least=1, total=0.0)
        assert gc.isenabled() is enabled
    finally:
        gc.enable()
    assert not any(seen[WARM_UP:])


def test_adaptation_is_the_median_over_tasks() -> None:
    experiment = made("strategy=maml")
    tasks = list(tasks_of(experiment.source, "new", 3))
    ticks = iter([0.0, 0.1, 0.1, 0.2, 5.0, 5.5, 6.0, 6.5, 7.0, 7.3, 8.0, 8.3])
    experiment.hardware.now = lambda: next(ticks)  # type: ignore[method-assign]
    # Two steps a task: .1 + .1, .5 + .5 and .3 + .3 seconds
    assert adaptation_ms(experiment.strategy, tasks, 1, experiment.hardware) == pytest.approx(600)


def test_frozen_encoder_is_a_part_of_what_an_answer_costs(
    text_experiment: Callable[..., Any], tiny_bert: Path
) -> None:
    words = ("strategy=nearest_centroid", "model=hf_text_frozen", f"model.path={tiny_bert}")
    made = text_experiment(*words, "evaluation.timed_calls=10", "evaluation.batch_sizes=[1,2]")
    preprocess = preprocess_of(made.config["model"], "model", [])
    task = made.source.tasks("new", [0])[0]
    whole = costs(made.strategy, task, made.evaluation, made.hardware, {1: 2.5}, preprocess)
    alone = costs(made.strategy, task, made.evaluation, made.hardware, {1: 2.5}, Plain())
    read = raw_inputs(preprocess)
    assert read is not None
    inputs, encoder = read
    assert whole.parameters - alone.parameters == parameter_count(encoder) > 1000
    assert whole.flops - alone.flops == flops(partial(encoder, repeated(inputs, 1))) > 0
    assert whole.inference[1].p50_ms > alone.inference[1].p50_ms
    assert encoding_ms(preprocess, 3, made.hardware) > 0
    assert encoding_ms(preprocess, 0, made.hardware) == encoding_ms(Plain(), 3, made.hardware) == 0


def test_predictor_with_its_encoder_answers_raw_inputs_as_alone_features(
    text_experiment: Callable[..., Any], tiny_bert: Path
) -> None:
    made = text_experiment("strategy=nearest_centroid", "model=hf_text_frozen", f"model.path={tiny_bert}")
    preprocess = preprocess_of(made.config["model"], "model", [])
    assert isinstance(preprocess, FrozenText)
    module = next(made.strategy.eval().adapt(made.source.tasks("new", [0])[0].support)).module
    texts = ["w1 w2", "w7"]
    with torch.no_grad():
        found = WithEncoder(preprocess.encoder, module)(preprocess.before.texts(texts))
        torch.testing.assert_close(found, module(preprocess.texts(texts)), rtol=1e-4, atol=1e-4)
