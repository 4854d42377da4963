"""Training that is stopped and continued, and the choice of the best state."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from coldstart_cli import composition
from coldstart_cli.assembly import Experiment, assemble
from coldstart_cli.errors import JobError
from coldstart_cli.runner import Training
from coldstart_cli.runs import Run
from coldstart_cli.signals import StopOnSignal, Stopped

SMALL = (
    "experiment=smoke",
    "dataset=sinusoid",
    "model=mlp",
    "model.hidden=[8]",
    "training.steps=24",
    "training.log_every=1",
    "hardware=cpu",
    "hardware.threads=1",
    "baseline=null",
    "strategy.meta_batch_size=2",
)


class StopAfter(StopOnSignal):
    """A signal that comes after so many steps."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.left = steps

    @property
    def requested(self) -> bool:
        self.left -= 1
        if self.left <= 0:
            self._received = 15
        return super().requested


pytestmark = pytest.mark.usefixtures("torch_settings")


def made(*overrides: str) -> Experiment:
    ((_, config),) = composition.points([*SMALL, *overrides])
    return assemble(config)


def fit(experiment: Experiment, run: Run, stop: StopOnSignal) -> Training:
    training = Training(
        experiment.strategy, experiment.source, experiment.training, experiment.hardware, run, seed=0
    )
    training.fit([], stop)
    return training


def new_run(path: Path, experiment: Experiment) -> Run:
    run = Run(path)
    path.mkdir()
    run.create(dict(experiment.config), {})
    return run


def latest(run: Run) -> dict[str, Any]:
    state = run.checkpoints.latest()
    assert state is not None
    return state


@pytest.mark.parametrize("strategy", ["maml", "meta_sgd", "finetune", "born_again"])
def test_training_stopped_anywhere_continues_byte_for_byte(tmp_path: Path, strategy: str) -> None:
    episodic = strategy in ("maml", "meta_sgd")
    small = [o for o in SMALL if episodic or "meta_batch_size" not in o]
    ((_, config),) = composition.points([*small, f"strategy={strategy}"])
    experiment = assemble(config)
    whole = new_run(tmp_path / "whole", experiment)
    fit(experiment, whole, StopOnSignal())
    for steps in (1, 7, 10, 11, 23):
        experiment = assemble(config)
        run = new_run(tmp_path / f"stopped{steps}", experiment)
        with pytest.raises(Stopped):
            fit(experiment, run, StopAfter(steps))
        resumed = assemble(config)
        fit(resumed, run, StopOnSignal())
        history = (run.path / "history.jsonl").read_bytes()
        assert history == (whole.path / "history.jsonl").read_bytes()
        assert latest(run)["examples"] == latest(whole)["examples"] > 0
        ours, theirs = run.checkpoints.best()["strategy"], whole.checkpoints.best()["strategy"]
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_best_state_is_the_best_by_validation(tmp_path: Path) -> None:
    experiment = made("strategy=maml", "training.validation.every=6")
    run = new_run(tmp_path / "run", experiment)
    training = fit(experiment, run, StopOnSignal())
    rows = [json.loads(line) for line in (run.path / "history.jsonl").read_text().splitlines()]
    values = {row["step"]: row["validation_mse"] for row in rows if "validation_mse" in row}
    assert sorted(values) == [6, 12, 18, 24]
    assert training.best_step == min(values, key=lambda step: values[step])
    assert run.checkpoints.best()["step"] == training.best_step


def test_best_state_is_none_of_a_teachers_steps(tmp_path: Path) -> None:
    small = [o for o in SMALL if "meta_batch_size" not in o]
    overrides = ["strategy=distillation", "model@strategy.teacher=mlp", "training.validation.every=4"]
    ((_, config),) = composition.points([*small, *overrides])
    experiment = assemble(config)
    run = new_run(tmp_path / "run", experiment)
    training = fit(experiment, run, StopOnSignal())
    rows = [json.loads(line) for line in (run.path / "history.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "teacher_loss" in row] == list(range(1, 7))
    assert [row["step"] for row in rows if "validation_mse" in row] == [8, 12, 16, 20, 24]
    assert training.best_step > 6


def test_loss_that_is_not_finite_stops_the_job_at_once(tmp_path: Path) -> None:
    experiment = made("strategy=maml")
    run = new_run(tmp_path / "run", experiment)
    training = Training(
        experiment.strategy, experiment.source, experiment.training, experiment.hardware, run, seed=0
    )

    def broken() -> Iterator[dict[str, float]]:
        yield {"loss": 1.0}
        yield {"loss": math.nan}

    experiment.strategy.fit = lambda source, start=0: broken()  # type: ignore[method-assign,assignment]
    with pytest.raises(JobError, match=r"^training: loss is nan at step 2; lower"):
        training.fit([], StopOnSignal())


def test_other_thread_count_on_resume_warns(tmp_path: Path) -> None:
    experiment = made("strategy=maml")
    run = new_run(tmp_path / "run", experiment)
    with pytest.raises(Stopped):
        fit(experiment, run, StopAfter(3))
    other = made("strategy=maml", "hardware.threads=2")
    with pytest.warns(RuntimeWarning, match=r"was trained on 1 threads and goes on with 2"):
        fit(other, run, StopOnSignal())


def test_resumed_training_computes_tasks_as_it_did_whatever_auto_chooses_now(tmp_path: Path) -> None:
    experiment = made("strategy=maml", "hardware.vectorize=vmap")
    run = new_run(tmp_path / "run", experiment)
    with pytest.raises(Stopped):
        fit(experiment, run, StopAfter(3))
    assert latest(run)["vectorize"]
    other = made("strategy=maml", "hardware.vectorize=loop")  # as `auto` on another device
    fit(other, run, StopOnSignal())
    whole = new_run(tmp_path / "whole", experiment := made("strategy=maml", "hardware.vectorize=vmap"))
    fit(experiment, whole, StopOnSignal())
    assert (run.path / "history.jsonl").read_bytes() == (whole.path / "history.jsonl").read_bytes()
    assert other.strategy.vectorize


def test_training_counts_the_examples_that_it_draws(tmp_path: Path) -> None:
    experiment = made("strategy=maml", "dataset.k_shot=3", "dataset.n_query=4")
    training = fit(experiment, new_run(tmp_path / "run", experiment), StopOnSignal())
    assert training.examples == 24 * 2 * (3 + 4)  # steps x meta_batch_size x (k_shot + n_query)
    bare = [o for o in SMALL if "meta_batch_size" not in o]
    ((_, config),) = composition.points([*bare, "strategy=finetune", "strategy.batch_size=5"])
    experiment = assemble(config)
    training = fit(experiment, new_run(tmp_path / "other", experiment), StopOnSignal())
    assert training.examples == 24 * 5


def test_training_of_an_older_checkpoint_does_not_guess_what_came_before(tmp_path: Path) -> None:
    experiment = made("strategy=maml")
    run = new_run(tmp_path / "run", experiment)
    with pytest.raises(Stopped):
        fit(experiment, run, StopAfter(3))
    state = latest(run)
    del state["examples"]
    run.checkpoints.save(state, state["step"])
    assert fit(made("strategy=maml"), run, StopOnSignal()).examples is None
