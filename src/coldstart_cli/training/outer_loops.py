"""The only outer loops, and the optimizers they step.

`episodic` learns from batches of tasks, `supervised` from batches of the pooled source examples; `scored`
tries values on tasks. All are generators that yield the metrics of each outer step; a step's data, and what
a loss draws at random, such as dropout, are a function of (seed, step), so a loop that starts at step n
continues one that was stopped there.
"""

from __future__ import annotations

import contextlib
import itertools
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import replace

import torch
from torch import Tensor

from coldstart_cli.core.tasks import Examples, Objective, Pool, Task, TaskSource
from coldstart_cli.processes import batch_parts, ranks
from coldstart_cli.tracing import compiled
from coldstart_cli.training.augmentation import Augmentation
from coldstart_cli.training.meta_batch import (
    TaskGradients,
    TaskLoss,
    add_gradients,
    in_one_call,
    one_after_another,
)
from coldstart_cli.training.randomness import seeded, step_seed
from coldstart_cli.training.task_threads import TaskThreads, in_one_call_on_one_thread, tiny

_drawn: ContextVar[Callable[[int], None]] = ContextVar("_drawn", default=lambda n: None)
_augmentation: ContextVar[Augmentation | None] = ContextVar("_augmentation", default=None)


@contextlib.contextmanager
def counting(count: Callable[[int], None]) -> Iterator[None]:
    """Calls `count` with the number of labelled source examples that each step of an outer loop draws.

    Support and query of every task, or the mini-batch; an example counts each time it is drawn. The count
    does not pass through the metrics, so it arrives whatever a strategy wraps around the loops.
    """
    token = _drawn.set(count)
    try:
        yield
    finally:
        _drawn.reset(token)


@contextlib.contextmanager
def augmenting(augmentation: Augmentation | None) -> Iterator[None]:
    """Moves the images that the steps of an outer loop draw inside, by (seed, step) alone.

    What a strategy reads of the source beside the loops, such as class means, stays as it is.
    """
    token = _augmentation.set(augmentation)
    try:
        yield
    finally:
        _augmentation.reset(token)


def episodic(
    task_loss: TaskLoss,
    weights: Mapping[str, Tensor],
    source: TaskSource,
    optimizer: torch.optim.Optimizer,
    *,
    meta_batch_size: int,
    vectorize: bool,
    start: int,
    prepare: Callable[[Task], Task] = lambda task: task,
) -> Iterator[dict[str, float]]:
    """Optimizer steps without end, each on the mean loss of `meta_batch_size` training tasks.

    There are none where the optimizer has nothing to move.

    Args:
        prepare: is applied to each task before it is stacked with others: its own seed is still known
            there, so random choices can differ between tasks that are computed in one call.
        vectorize: all tasks in one call under vmap (best for small networks and for GPUs); otherwise
            one task after another with a backward pass each, which keeps memory flat; convolutions on a
            CPU then run on several threads, a task on each. Tasks of unequal shape are never stacked.
    """
    if not learns(optimizer):
        return
    device = next(iter(weights.values())).device
    n_mine = len(range(meta_batch_size)[ranks.mine()])
    # Ranks average their gradients afterwards: sum over mine / (all / world), averaged, is the mean over
    # all.
    n = meta_batch_size / ranks.world()
    # The optimizer's: what a strategy froze before it made the optimizer is not among them.
    parameters = [w for group in optimizer.param_groups for w in group["params"] if w.requires_grad]
    gradients = TaskGradients(task_loss, weights, parameters, n)
    with contextlib.ExitStack() as stack:
        computed = in_one_call if vectorize else one_after_another
        if vectorize and device.type == "cpu" and tiny(weights, n_mine):
            computed = in_one_call_on_one_thread
        if not vectorize and device.type == "cpu" and min(n_mine, torch.get_num_threads()) > 1:
            computed = stack.enter_context(contextlib.closing(TaskThreads(torch.get_num_threads(), n_mine)))
        for step in itertools.count(start):
            # A function of the step alone, so that a resumed run and any number of ranks see the same
            # tasks.
            indices = range(step * meta_batch_size, (step + 1) * meta_batch_size)
            drawn = source.tasks("train", indices[ranks.mine()])
            tasks = [prepare(_augmented(task)) for task in drawn]
            if device.type != "cpu":  # even a copy to the same place costs a tenth of a tiny network's step
                tasks = [task.to(device) for task in tasks]
            optimizer.zero_grad(set_to_none=True)
            # Gradients were set to None: the optimizer skips a parameter that no task reaches, its decay as
            # well.
            metrics = add_gradients(computed(gradients, tasks), parameters, n)
            # Ranks exchange how their tasks moved batch norm's running statistics, and all make the same
            # moves.
            batch_parts.settle(len(tasks), meta_batch_size)
            optimizer.step()
            yield _told(metrics, sum(len(task.support) + len(task.query) for task in drawn))


def supervised(
    batch_loss: Callable[[Objective, Examples], dict[str, Tensor]],
    pool: Pool,
    optimizer: torch.optim.Optimizer,
    *,
    batch_size: int,
    seed: int,
    device: torch.device,
    start: int,
    divisible: bool = True,
) -> Iterator[dict[str, float]]:
    """Optimizer steps without end, each on `batch_size` examples drawn from the pool with replacement.

    There are none where the optimizer has nothing to move.

    Args:
        divisible: the loss of a batch is the mean of its parts' losses. A loss that relates examples to
            each other is not, and every rank then computes the whole batch.
    """
    if not learns(optimizer):
        return
    if compiled.is_on():
        warnings.warn(
            "hardware.compile: batches of pooled examples are computed as they are written, for their steps "
            "are not recorded; only Adam's step is another one (hardware.compile=false is as fast)",
            RuntimeWarning,
            stacklevel=2,
        )
    generator = torch.Generator()
    for step in itertools.count(start):
        # Seeded anew at each step rather than once: a checkpoint then holds no generator.
        generator.manual_seed(step_seed(seed, step))
        indices = torch.randint(len(pool), (batch_size,), generator=generator)
        # All ranks draw all indices and take their slice, so the batch does not depend on their number.
        part = indices[ranks.mine()] if divisible else indices
        share = ranks.weight(len(part), batch_size) if divisible else 1.0
        optimizer.zero_grad(set_to_none=True)
        examples = pool.examples(part)
        if augmentation := _augmentation.get():
            # Drawn for the whole batch, as the indices are.
            draws = augmentation.draws(batch_size, step_seed(step_seed(seed, step), 1))
            examples = augmentation.moved(examples, draws[ranks.mine()] if divisible else draws)
        with seeded(_chance_of(seed, step, divisible), device), _parts(divisible):
            metrics = batch_loss(pool.objective, examples.to(device))
            torch.autograd.backward(metrics["loss"] * share)
        optimizer.step()
        # Weighted by the rank's part of the batch, so that the mean over ranks is the mean over examples.
        values = {name: float(value.detach()) * share for name, value in metrics.items()}
        # A batch that every rank computed whole was drawn once, so only one rank counts it.
        yield _told(values, len(part) if divisible or ranks.first() else 0)


def scored(
    score: Callable[[Task], dict[str, float]], source: TaskSource, *, start: int
) -> Iterator[dict[str, float]]:
    """Steps without end that move nothing by a gradient: each hands one training task to `score`.

    All ranks score the same task, so that what `score` keeps is the same on each.
    """
    for step in itertools.count(start):
        (task,) = source.tasks("train", [step])
        n = len(task.support) + len(task.query)
        yield _told(score(task), n if ranks.first() else 0)


def _augmented(task: Task) -> Task:
    """The task with images moved, other ones at each step: the trainer seeds torch by (seed, step)."""
    augmentation = _augmentation.get()
    if not augmentation:
        return task
    n = len(task.support)
    draws = augmentation.draws(n + len(task.query), step_seed(torch.initial_seed(), task.support.seed))
    support = augmentation.moved(task.support, draws[:n])
    return replace(
        task,
        support=replace(task.support, inputs=support.inputs),
        query=augmentation.moved(task.query, draws[n:]),
    )


def _parts(divisible: bool) -> contextlib.AbstractContextManager[None]:
    return batch_parts.parts_of_a_batch() if divisible else contextlib.nullcontext()


def _chance_of(seed: int, step: int, divisible: bool) -> int:
    """The seed of what a loss draws: a different one for each part of a batch, or all would draw the same."""
    seed, rank = step_seed(seed, step), ranks.place().rank
    return step_seed(seed, rank) if divisible and rank else seed


def _told(metrics: Mapping[str, float], n_examples: int) -> dict[str, float]:
    """Metrics averaged over all ranks; reports how many examples all ranks drew."""
    values, total = ranks.averaged(metrics, n_examples)
    _drawn.get()(total)
    return values


def in_turn(
    phases: Sequence[tuple[int, Callable[[int], Iterator[dict[str, float]]]]], start: int
) -> Iterator[dict[str, float]]:
    """Trainings one after another; the step alone decides which one it belongs to, so a run can resume.

    Args:
        phases: (steps, a function from the phase's first step, 0 for its beginning, to its steps); the
            last has no end, whatever its number says.
        start: steps already taken, of all phases together.
    """
    for n_steps, begin in phases[:-1]:
        if start < n_steps:
            yield from itertools.islice(begin(start), n_steps - start)
        # What remains of `start` belongs to the next phase; 0 begins it.
        start = max(0, start - n_steps)
    yield from phases[-1][1](start)


def learns(optimizer: torch.optim.Optimizer) -> bool:
    """Whether it has a parameter to move: over a frozen encoder there may be none."""
    return any(group["params"] for group in optimizer.param_groups)
