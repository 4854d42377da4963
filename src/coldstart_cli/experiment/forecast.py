"""`--dry-run`: what a run would cost, from a few real steps."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Mapping

from torch import Tensor

from coldstart_cli.core.tasks import Task
from coldstart_cli.evaluation.adaptations import Adaptations
from coldstart_cli.evaluation.costs import costs
from coldstart_cli.evaluation.loop import shape_of, tasks_of
from coldstart_cli.evaluation.scoring import scored
from coldstart_cli.experiment import sharding
from coldstart_cli.experiment.assembly import Experiment
from coldstart_cli.experiment.parts import preprocess_of
from coldstart_cli.models.language.causal_lm import watching_keys_and_values
from coldstart_cli.processes import ranks, shards
from coldstart_cli.runs.run import Run
from coldstart_cli.safe_text import printable
from coldstart_cli.training.optimizers import optimizers
from coldstart_cli.training.task_threads import tiny


def forecast(experiment: Experiment, run: Run) -> str:
    """Prints what the run would cost, on the first of its processes; writes nothing.

    Returns:
        One line for a sweep's table.
    """
    strategy, plan = experiment.strategy, experiment.training
    size = _bytes(strategy.state_dict().values())
    kept = KeysAndValues()
    held = sharding.held(strategy, experiment.hardware)
    with watching_keys_and_values(kept.see):
        training, first = _training_seconds(experiment)
        parts = {**_parts(experiment), **held.beside()}
        held.end()
        evaluating, task = _evaluation_seconds(experiment)
    preprocess = preprocess_of(experiment.config["model"], "model", experiment.config["trust"])
    cost = costs(strategy, task, experiment.evaluation, experiment.hardware, {}, preprocess)
    line = f"about {training + evaluating:.0f} s"
    if not ranks.first():
        return line
    state = "finished" if run.finished else "started" if run.exists else "new"
    print(f"run        {run.path} ({state})")
    for split, fact in experiment.source.facts().items():
        print(printable(f"{split:<10} {fact}"))
    for k, reason in experiment.left_out.items():
        print(printable(f"left out   k={k}: {reason}"))
    print(f"parameters {cost.parameters:,}")
    print(f"FLOPs      {cost.flops:,} for one input (a multiply-add is 2)")
    print(f"seconds    about {training:.0f} of training ({plan.steps} steps), {evaluating:.0f} of evaluation")
    if (said := _compiling(experiment, training, first)) is not None:
        print(f"compile    {said}")
    print(f"memory     {_memory(experiment, {**parts, **kept.part})}")
    print(f"disk       about {max(1, round(7 * size / 2**20))} MiB of checkpoints")
    return line


class KeysAndValues:
    """The most tokens that a call of a language model had behind it, and the bytes that it keeps of them."""

    def __init__(self) -> None:
        self.n_tokens, self.size = 0, 0

    def see(self, n_tokens: int, size: int) -> None:
        self.n_tokens, self.size = max((self.n_tokens, self.size), (n_tokens, size))

    @property
    def part(self) -> dict[str, int]:
        """Bytes by what they are of; none where no language model was called."""
        return {f"keys and values of {self.n_tokens:,} tokens": self.size} if self.n_tokens else {}


def _parts(experiment: Experiment) -> dict[str, int]:
    """Bytes of what this process holds while it trains, as far as they are known exactly."""
    strategy = experiment.strategy
    tensors = {id(t): t for t in (*strategy.parameters(), *strategy.buffers())}.values()
    moved = [p for p in strategy.parameters() if p.requires_grad]
    states = [s for _, o in optimizers(strategy) for state in o.state.values() for s in state.values()]
    return {
        "weights": _bytes(tensors),
        "gradients": _bytes(moved) if experiment.training.steps else 0,
        "optimizer": _bytes(s for s in states if isinstance(s, Tensor)),
    }


def _memory(experiment: Experiment, parts: Mapping[str, int]) -> str:
    """What the few real steps took, divided into what is known exactly and all the rest."""
    hardware = experiment.hardware
    peak = hardware.peak_memory()
    of = "the device" if hardware.device.type == "cuda" else "the process"
    if hardware.shard:
        of = f"each of {hardware.processes} {'devices' if hardware.device.type == 'cuda' else 'processes'}"
    known = ", ".join(f"{name} {size / 2**20:,.1f}" for name, size in parts.items())
    rest = max(0, peak - sum(parts.values())) / 2**20
    return (
        f"about {peak / 2**20:,.0f} MiB of {of} at its peak: {known}; activations, data and libraries "
        f"{rest:,.0f}"
    )


def _bytes(tensors: Iterable[Tensor]) -> int:
    """Of what this process holds of them."""
    held = map(shards.own, tensors)
    return sum(tensor.numel() * tensor.element_size() for tensor in held)


def _training_seconds(experiment: Experiment) -> tuple[float, float]:
    """All outer steps, at the median time of steps two to six; and the first one."""
    hardware, seconds = experiment.hardware, []
    # The first step pays for imports, allocations, compilation and kernels that are chosen once.
    steps = experiment.strategy.train().fit(experiment.source)
    for _ in range(6):
        before = hardware.now()
        if next(steps, None) is None:
            break
        seconds.append(hardware.now() - before)
    if not seconds:
        return 0.0, 0.0
    return statistics.median(seconds[1:] or [0.0]) * experiment.training.steps, seconds[0]


WORTH_COMPILING = 60
"""Seconds of training from which halving it is worth the seconds that compiling takes."""


def _compiling(experiment: Experiment, training: float, first: float) -> str | None:
    """What compiling takes, or that it may pay; None where it would not."""
    hardware = experiment.hardware
    if hardware.compile:
        return f"the first step takes {first:.0f} s, in which it is compiled, beside those of training"
    strategy = experiment.strategy
    small = experiment.vectorize and hardware.device.type == "cpu" and training >= WORTH_COMPILING
    if not small or not tiny(dict(strategy.named_parameters()), 1):
        return None
    return "hardware.compile=true may train so small a network in half the time; --dry-run says how long then"


def _evaluation_seconds(experiment: Experiment) -> tuple[float, Task]:
    """Seconds for all tasks, from the time of one for each k and role; and one of the tasks."""
    plan, seconds = experiment.evaluation, 0.0
    task: Task | None = None
    for k in plan.k_shots:
        source = experiment.source.with_shape(shape_of(experiment.source, plan, k))
        task = next(tasks_of(source, "new", 1))
        for role, variants in experiment.contestants.items():
            if role == "baseline" and k == 0:
                continue
            steps = plan.steps if role == "strategy" else plan.baseline_steps
            before = time.perf_counter()
            strategy = next(iter(variants.values()))
            scored(strategy, task, Adaptations(steps, experiment.hardware, beside=role == "strategy"))
            # The strategy is scored on new and on held-out source tasks; each variant on the validation
            # tasks.
            n = plan.n_tasks + len(variants) * plan.n_selection_tasks
            n += plan.of_source if role == "strategy" else 0
            seconds += (time.perf_counter() - before) * n
    assert task is not None  # k_shots is never empty
    return seconds, task
