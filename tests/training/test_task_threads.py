"""Tasks on threads: the bits of the plain loop, a task's own error, nothing left behind."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import islice
from unittest.mock import Mock

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from coldstart_cli.core.objectives import Classification
from coldstart_cli.core.tasks import Examples, Objective, Support, Task
from coldstart_cli.training.meta_batch import Each, TaskGradients
from coldstart_cli.training.outer_loops import episodic
from coldstart_cli.training.task_threads import TINY, TaskThreads, tiny

N_TASKS, CLASSES = 5, Classification(3)
pytestmark = pytest.mark.usefixtures("torch_settings")


class Tasks:
    """Tasks of images whose query sets may grow from task to task."""

    def __init__(self, growing: bool = False) -> None:
        self.objective, self.growing = CLASSES, growing

    def tasks(self, split: str, indices: range) -> list[Task]:
        return [self._task(i) for i in indices]

    def _task(self, index: int) -> Task:
        generator = torch.Generator().manual_seed(index)
        n = 6 + 3 * self.growing * (index % N_TASKS)
        images = torch.randn(3 + n, 2, 8, 8, generator=generator)
        targets = torch.arange(3).repeat(1 + n // 3)
        return Task(
            Support(images[:3], targets[:3], self.objective, index), Examples(images[3:], targets[3:]), ""
        )


class Learner(nn.Module):
    """One inner step of all weights, and a scale that is a parameter but none of `weights`."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Conv2d(2, 4, 3), *layers, nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
        self.scale = nn.Parameter(torch.tensor(0.3))
        self.optimizer = torch.optim.SGD(self.parameters(), 0.1, momentum=0.9)
        self.called = Mock()  # a number of one's own would be something that changes
        self.dtype = torch.float32

    def loss(
        self, each: Each, weights: Mapping[str, Tensor], objective: Objective, support: Examples,
        query: Examples,
    ) -> dict[str, Tensor]:  # fmt: skip
        self.called()

        def score(weights: Mapping[str, Tensor], x: Tensor, y: Tensor, qx: Tensor, qy: Tensor) -> Tensor:
            loss = objective.loss(functional_call(self.network, dict(weights), (x,)), y)
            grads = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
            moved = {n: w - self.scale * g for (n, w), g in zip(weights.items(), grads, strict=True)}
            outputs = functional_call(self.network, moved, (qx,))
            if outputs.dtype != self.dtype:
                raise TypeError(str(outputs.dtype))
            return objective.loss(outputs, qy)

        return {"loss": each(score)(weights, support.inputs, support.targets, query.inputs, query.targets)}

    def fit(self, source: Tasks, start: int = 0) -> Iterator[dict[str, float]]:
        return episodic(
            self.loss, dict(self.network.named_parameters()), source, self.optimizer,  # type: ignore[arg-type]
            meta_batch_size=N_TASKS, vectorize=False, start=start,
        )  # fmt: skip

    def gradients(self) -> TaskGradients:
        weights = dict(self.network.named_parameters())
        return TaskGradients(self.loss, weights, list(self.parameters()), N_TASKS)


def task_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("task")]


@pytest.mark.parametrize("growing", [False, True])
def test_step_has_the_same_bits_for_any_number_of_threads(growing: bool) -> None:
    results = []
    for n in (1, 2, 3, 5):
        torch.set_num_threads(n)
        learner = Learner()
        metrics = list(islice(learner.fit(Tasks(growing)), 4))
        results.append((metrics, [p.detach().clone() for p in learner.parameters()]))
        assert torch.get_num_threads() == n
    for metrics, weights in results[1:]:
        assert metrics == results[0][0]
        assert all(torch.equal(a, b) for a, b in zip(weights, results[0][1], strict=True))
    assert results[0][1][0].item() != 0.3


def test_step_uses_threads_of_its_own_and_ends_them() -> None:
    torch.set_num_threads(2)
    learner = Learner()
    steps = learner.fit(Tasks())
    next(steps)
    assert len(task_threads()) == 2
    called = learner.called.call_count
    next(steps)
    assert learner.called.call_count == called == 2, "all but the first two tasks are replayed"
    steps.close()  # type: ignore[attr-defined]
    assert not task_threads()
    assert all(module.grad is not None for module in learner.parameters())


class BrokenObjective(Classification):
    """Its third loss fails."""

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        if len(targets) == 6 + 3 * 2:
            raise ZeroDivisionError("the third task")
        return super().loss(outputs, targets)


def test_failing_task_raises_its_own_error_and_leaves_no_thread() -> None:
    torch.set_num_threads(2)
    learner, source = Learner(), Tasks(growing=True)
    source.objective = BrokenObjective(3)
    before = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError, match="the third task"):
        next(learner.fit(source))
    assert not task_threads()
    assert torch.get_num_threads() == before
    source.objective = CLASSES
    learner.optimizer.zero_grad()
    fresh = Learner()
    assert next(learner.fit(source)) == next(fresh.fit(source))


def test_task_that_fails_on_its_thread_raises_there_and_the_others_are_not_begun() -> None:
    learner = Learner()
    gradients, threads = learner.gradients(), TaskThreads(2, N_TASKS)
    tasks = Tasks().tasks("", range(N_TASKS))
    list(threads(gradients, tasks))
    broken = next(iter(gradients.replays._recordings.values()))
    broken._replay = lambda *inputs: 1 / 0  # type: ignore[assignment, return-value]
    with pytest.raises(ZeroDivisionError):
        list(threads(gradients, tasks))
    threads.close()
    assert not task_threads()


def test_threads_compute_in_the_precision_of_their_caller() -> None:
    torch.set_num_threads(2)
    learner = Learner()
    learner.dtype = torch.bfloat16
    found: list[list[dict[str, float]]] = []
    for n in (1, 2):
        torch.set_num_threads(n)
        again = Learner()
        again.dtype = torch.bfloat16
        steps = again.fit(Tasks())
        found.append([])
        for _ in range(3):
            with torch.autocast("cpu", torch.bfloat16):  # which keeps casts of weights as long as it lasts
                found[-1].append(next(steps))
    assert found[0] == found[1]
    with pytest.raises(TypeError, match="float32"):
        next(learner.fit(Tasks()))


class Linear(Learner):
    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Flatten(), nn.Linear(128, 3))


@pytest.mark.parametrize("made", [partial(Learner, nn.Dropout(0.5)), Linear])
def test_what_cannot_be_recorded_or_does_not_convolve_has_all_threads(made: Callable[[], Learner]) -> None:
    learner = made()
    torch.set_num_threads(3)
    gradients, threads = learner.gradients(), TaskThreads(3, N_TASKS)
    seen = []
    for _ in threads(gradients, Tasks().tasks("", range(N_TASKS))):
        seen.append(torch.get_num_threads())
    threads.close()
    assert gradients.replays.recordable == isinstance(learner, Linear)
    assert seen == [3] * N_TASKS


def test_tiny_counts_the_weights_of_all_tasks() -> None:
    weights = {"w": torch.zeros(TINY // 8)}
    assert tiny(weights, 7)
    assert not tiny(weights, 8)
