"""Training that is stopped and continued, and the choice of the best state."""

from __future__ import annotations

import itertools
import json
import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from coldstart_cli.config import composition
from coldstart_cli.core.tasks import Task, TaskSource
from coldstart_cli.errors import JobError, RequestError
from coldstart_cli.experiment import trainer
from coldstart_cli.experiment.assembly import Experiment, assemble
from coldstart_cli.experiment.trainer import Training
from coldstart_cli.metrics.records import Score
from coldstart_cli.models.mlp import MLP
from coldstart_cli.processes.signals import StopOnSignal, Stopped
from coldstart_cli.runs.run import Run
from coldstart_cli.tracing import compiled
from coldstart_cli.training.optimizers import optimizers

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
    check_stopped(tmp_path, (1, 7, 10, 11, 23), *small, f"strategy={strategy}")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler on the path")
def test_compiled_training_stopped_anywhere_continues_byte_for_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "compiled"))
    monkeypatch.setattr(compiled, "_on", False)  # and off again afterwards
    whole = check_stopped(tmp_path, (1, 10, 11), *SMALL, "strategy=maml", "hardware.compile=true")
    plain = made("strategy=maml")
    written = new_run(tmp_path / "plain", plain)
    fit(plain, written, StopOnSignal())
    ours, theirs = whole.checkpoints.best()["strategy"], written.checkpoints.best()["strategy"]
    for key in theirs:
        torch.testing.assert_close(ours[key], theirs[key], rtol=1e-3, atol=1e-4)


def check_stopped(tmp_path: Path, stops: Sequence[int], *overrides: str) -> Run:
    """Trains at one go, and after each of some steps again; all must be the same. Returns the whole run."""
    ((_, config),) = composition.points(list(overrides))
    experiment = assemble(config)
    whole = new_run(tmp_path / "whole", experiment)
    fit(experiment, whole, StopOnSignal())
    for steps in stops:
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
    return whole


def with_dropout(*overrides: str) -> Experiment:
    small = ("experiment=smoke", "model=mlp", "model.hidden=[8]", "dataset.n_way=3", "hardware=cpu")
    plan = ("training.steps=6", "training.log_every=1", "training.validation.every=6", "baseline=null")
    ((_, config),) = composition.points([*small, *plan, *overrides])
    made = assemble(config)
    encoders = [module for module in made.strategy.modules() if isinstance(module, MLP)]
    for encoder in encoders:
        encoder.layers.append(nn.Dropout(0.5))
    assert encoders
    return made


@pytest.mark.parametrize("strategy", ["maml", "protonet", "finetune"])
def test_training_with_dropout_has_the_same_bits_stopped_on_threads_and_not_vectorised(
    tmp_path: Path, strategy: str
) -> None:
    def trained(name: str, *overrides: str, stopped: int | None = None) -> dict[str, Any]:
        def made() -> Experiment:
            return with_dropout(f"strategy={strategy}", "hardware.threads=1", *overrides)

        run = new_run(tmp_path / name, made())
        if stopped is not None:
            with pytest.raises(Stopped):
                fit(made(), run, StopAfter(stopped))
            torch.rand(7)  # whoever draws in between
        fit(made(), run, StopOnSignal())
        return {"history": (run.path / "history.jsonl").read_text(), **latest(run)["strategy"]}

    whole = trained("whole")
    others = {
        "stopped": trained("stopped", stopped=4),
        "threads": trained("threads", "hardware.threads=2"),
        "looped": trained("looped", "hardware.vectorize=loop"),
        "written": trained("written", "hardware.replay=false"),
    }
    if strategy == "finetune":  # two threads share out its products: the same draws, another rounding
        threads = others.pop("threads")
        del threads["history"]
        torch.testing.assert_close(threads, {name: whole[name] for name in threads})
    for other in others.values():
        assert other.pop("history") == whole["history"]
        assert all(torch.equal(value, whole[name]) for name, value in other.items())
    again = trained("seeded", "seed=1")
    assert again["history"] != whole["history"]


def test_training_has_the_same_bits_replayed_and_as_it_is_written(tmp_path: Path) -> None:
    found = []
    for i, overrides in enumerate([("hardware.replay=true",), ("hardware.replay=false",)]):
        experiment = made("strategy=maml", *overrides)
        run = new_run(tmp_path / str(i), experiment)
        fit(experiment, run, StopOnSignal())
        found.append((run.path / "history.jsonl").read_bytes())
    assert found[0] == found[1]


def test_best_state_is_the_best_by_validation(tmp_path: Path) -> None:
    experiment = made("strategy=maml", "training.validation.every=6")
    run = new_run(tmp_path / "run", experiment)
    training = fit(experiment, run, StopOnSignal())
    rows = [json.loads(line) for line in (run.path / "history.jsonl").read_text().splitlines()]
    values = {row["step"]: row["validation_mse"] for row in rows if "validation_mse" in row}
    assert sorted(values) == [0, 6, 12, 18, 24]
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


@pytest.mark.parametrize(("values", "best"), [([0.5, 1.0, 2.0], 0), ([math.inf, 2.0, 1.0], 24)])
def test_the_untrained_state_is_a_candidate_unless_it_diverges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: list[float], best: int
) -> None:
    scored, left = trainer.scored_together, iter(values)

    def validated(*given: Any, **more: Any) -> Iterator[list[Score]]:
        value = next(left)
        for scores in scored(*given, **more):
            yield [replace(score, value=value) for score in scores]

    monkeypatch.setattr(trainer, "scored_together", validated)
    experiment = made("strategy=maml", "training.validation.every=12")
    before = {name: value.clone() for name, value in experiment.strategy.state_dict().items()}
    training = fit(experiment, run := new_run(tmp_path / "run", experiment), StopOnSignal())
    rows = [json.loads(line) for line in (run.path / "history.jsonl").read_text().splitlines()]
    found = [row["validation_mse"] for row in rows if "validation_mse" in row]
    assert found == [value if math.isfinite(value) else None for value in values]
    kept = run.checkpoints.best()
    assert training.best_step == kept["step"] == best
    same = [torch.equal(kept["strategy"][name], value) for name, value in before.items()]
    assert all(same) if best == 0 else not all(same)


def test_a_strategy_that_learns_nothing_has_a_validation_value(tmp_path: Path) -> None:
    small = [o for o in SMALL if "meta_batch_size" not in o]
    ((_, config),) = composition.points([*small, "strategy=scratch"])
    experiment = assemble(config)
    run = new_run(tmp_path / "run", experiment)
    training = fit(experiment, run, StopOnSignal())
    (row,) = [json.loads(line) for line in (run.path / "history.jsonl").read_text().splitlines()]
    assert row["step"] == training.step == 0 and math.isfinite(row["validation_mse"])
    assert run.checkpoints.best()["step"] == 0


def broken_loss(experiment: Experiment, value: float) -> None:
    fit = experiment.strategy.fit

    def broken(source: TaskSource, start: int = 0) -> Iterator[dict[str, float]]:
        for step, values in enumerate(fit(source, start), start + 1):
            yield {name: value if step == BROKEN else v for name, v in values.items()}

    experiment.strategy.fit = broken  # type: ignore[method-assign]


def broken_gradient(experiment: Experiment, value: float) -> None:
    steps, broken = itertools.count(1), list(experiment.strategy.parameters())[2]

    def hook(optimizer: torch.optim.Optimizer, args: object, kwargs: object) -> None:
        if next(steps) == BROKEN and broken.grad is not None:
            broken.grad.fill_(value)

    for _, optimizer in optimizers(experiment.strategy):
        handle = optimizer.register_step_pre_hook(hook)
        optimizer._optimizer_step_pre_hooks.move_to_end(handle.id, last=False)  # before it is clipped


def broken_weight(experiment: Experiment, value: float) -> None:
    steps = itertools.count(1)

    def hook(optimizer: torch.optim.Optimizer, args: object, kwargs: object) -> None:
        if next(steps) == BROKEN:
            list(experiment.strategy.parameters())[1].data[0] = value

    for _, optimizer in optimizers(experiment.strategy):
        optimizer.register_step_post_hook(hook)


def broken_data(experiment: Experiment, value: float, split: str = "train", of: str = "support") -> None:
    """One number of one task: of the step that is to stop, or of the validation after it."""
    tasks = type(experiment.source).tasks
    first = 2 * (BROKEN - 1) if split == "train" else 0  # of the step's two tasks

    def broken(self: TaskSource, asked: str, indices: Sequence[int]) -> list[Task]:
        drawn = tasks(self, asked, indices)  # type: ignore[arg-type]
        if asked == split and first in indices:
            getattr(drawn[list(indices).index(first)], of).targets[0] = value
        return drawn

    type(experiment.source).tasks = broken  # type: ignore[method-assign]


BROKEN = 7
"""The step that goes wrong; validation and a checkpoint come after every sixth."""


@pytest.mark.fault("R7")
@pytest.mark.parametrize(
    ("strategy", "fault", "said"),
    [
        ("maml", lambda e: broken_loss(e, math.nan), "loss is nan at step 7"),
        ("maml", lambda e: broken_loss(e, math.inf), "loss is inf at step 7"),
        ("finetune", lambda e: broken_loss(e, -math.inf), "loss is -inf at step 7"),
        ("maml", lambda e: broken_gradient(e, math.nan), r"the gradient of \S*weight is nan at step 7"),
        ("maml", lambda e: broken_gradient(e, math.inf), r"the gradient of \S*weight is inf at step 7"),
        ("finetune", lambda e: broken_gradient(e, -math.inf), r"the gradient of \S*weight is -inf at step 7"),
        (
            "maml optimizer.clip_norm=1",
            lambda e: broken_gradient(e, math.nan),
            r"the gradient of .* at step 7",
        ),
        ("finetune optimizer=sgd", lambda e: broken_gradient(e, math.nan), r"the gradient of .* at step 7"),
        ("maml", lambda e: broken_weight(e, math.inf), r"\S*bias is inf at step 7"),
        ("maml", lambda e: broken_data(e, math.nan), "loss is nan at step 7"),
        ("maml", lambda e: broken_data(e, math.inf, of="query"), "loss is inf at step 7"),
        ("maml", lambda e: broken_data(e, math.nan, "validation"), "validation_mse is nan at step 6"),
    ],
)
def test_training_that_is_not_finite_stops_within_a_step(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    strategy: str,
    fault: Callable[[Experiment], None],
    said: str,
) -> None:
    small = [o for o in SMALL if "finetune" not in strategy or "meta_batch_size" not in o]
    overrides = ["training.validation.every=6", "training.checkpoint_seconds=1e-9"]
    ((_, config),) = composition.points([*small, *overrides, *f"strategy={strategy}".split()])
    experiment = assemble(config)
    source = type(experiment.source)
    monkeypatch.setattr(source, "tasks", source.tasks)  # whatever the fault puts there is undone
    run = new_run(tmp_path / "run", experiment)
    fault(experiment)
    with pytest.raises(
        JobError, match=rf"^training: {said}; lower optimizer\.lr .* step \d+ is kept\) \(E35\)$"
    ):
        fit(experiment, run, StopOnSignal())
    state = latest(run)
    assert state["step"] == int(said.split()[-1]) - 1
    assert all(bool(tensor.isfinite().all()) for tensor in state["strategy"].values())


@pytest.mark.fault("R7")
def test_gradient_that_is_not_finite_reaches_a_checkpoint_where_weights_are_not_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = made("strategy=maml", "training.checkpoint_seconds=1e-9")
    run = new_run(tmp_path / "run", experiment)
    broken_gradient(experiment, math.nan)
    monkeypatch.setattr(type(experiment.strategy), "named_parameters", lambda self: iter(()))
    with pytest.raises(JobError, match="at step 8"):
        fit(experiment, run, StopOnSignal())
    assert not all(bool(tensor.isfinite().all()) for tensor in latest(run)["strategy"].values())


def test_best_state_survives_the_loss_of_its_file(tmp_path: Path) -> None:
    experiment = made("strategy=maml", "training.validation.every=6")
    run = new_run(tmp_path / "run", experiment)
    fit(experiment, run, StopOnSignal())
    best = run.checkpoints.best()
    (run.path / "checkpoints" / "best.ckpt").write_bytes(b"torn")
    with pytest.warns(RuntimeWarning, match="best.ckpt: damaged"):
        again = run.checkpoints.best()
    assert again["step"] == best["step"]
    assert all(torch.equal(again["strategy"][name], tensor) for name, tensor in best["strategy"].items())


def test_history_that_was_lost_costs_a_warning_and_not_the_training(tmp_path: Path) -> None:
    experiment = made("strategy=maml")
    run = new_run(tmp_path / "run", experiment)
    with pytest.raises(Stopped):
        fit(experiment, run, StopAfter(12))
    (run.path / "history.jsonl").unlink()
    with pytest.warns(RuntimeWarning, match=r"history\.jsonl: has lost lines"):
        fit(made("strategy=maml"), run, StopOnSignal())
    rows = [json.loads(line) for line in (run.path / "history.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "loss" in row] == list(range(7, 25))


def test_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    experiment = made("strategy=maml")
    run = new_run(tmp_path / "run", experiment)
    with pytest.raises(Stopped):
        fit(experiment, run, StopAfter(3))
    with pytest.raises(RequestError, match=r"^run: .* has checkpoints of another training; start anew"):
        fit(made("strategy=maml", "model.hidden=[9]"), run, StopOnSignal())


@pytest.mark.fault("R14")
def test_other_thread_count_on_resume_warns(tmp_path: Path) -> None:
    experiment = made("strategy=maml")
    run = new_run(tmp_path / "run", experiment)
    with pytest.raises(Stopped):
        fit(experiment, run, StopAfter(3))
    other = made("strategy=maml", "hardware.threads=2")
    with pytest.warns(RuntimeWarning, match=r"was trained on 1 threads and continues with 2"):
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
