"""Tasks on threads: the bits of the plain loop, a task's own error, nothing left behind."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import islice

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from coldstart_cli.core import Examples, Objective, Support, Task
from coldstart_cli.meta_steps import looped_step, vectorized_step
from coldstart_cli.objectives import Classification
from coldstart_cli.task_threads import TaskThreads, one_thread_each
from coldstart_cli.training import Each, episodic

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
        self.names: set[str] = set()
        self.dtype = torch.float32

    def loss(
        self, each: Each, weights: Mapping[str, Tensor], objective: Objective, support: Examples,
        query: Examples,
    ) -> dict[str, Tensor]:  # fmt: skip
        self.names.add(threading.current_thread().name)

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
    seen: list[str] = []
    steps = learner.fit(Tasks())
    next(steps)
    seen = task_threads()
    assert len(seen) == 2
    steps.close()  # type: ignore[attr-defined]
    assert not task_threads()
    assert not learner.names, "the originals' tree is not the threads'"
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


def test_threads_compute_in_the_precision_of_their_caller() -> None:
    torch.set_num_threads(2)
    learner = Learner()
    learner.dtype = torch.bfloat16
    with torch.autocast("cpu", torch.bfloat16):
        next(learner.fit(Tasks()))
    with pytest.raises(TypeError, match="float32"):
        next(learner.fit(Tasks()))


@pytest.mark.parametrize(
    ("layers", "n_threads", "n_tasks", "expected"),
    [
        ((), 2, 4, True),
        ((), 1, 4, False),
        ((), 2, 1, False),
        ((nn.Dropout(0.5),), 2, 4, False),
        ((nn.Dropout(0.0),), 2, 4, True),
    ],
)
def test_one_thread_each_asks_for_convolutions_without_chance(
    layers: tuple[nn.Module, ...], n_threads: int, n_tasks: int, expected: bool
) -> None:
    torch.set_num_threads(n_threads)
    learner = Learner(*layers)
    weights = dict(learner.network.named_parameters())
    assert one_thread_each(partial(learner.loss), weights, n_tasks) == expected
    linear = nn.Linear(1, 1)
    assert not one_thread_each(partial(linear.forward), dict(linear.named_parameters()), 4)  # type: ignore[arg-type]


def test_threads_share_what_they_do_not_learn() -> None:
    learner = Learner()
    learner.register_buffer("constants", torch.zeros(3))
    learner.network[0].bias.requires_grad_(False)
    threads = TaskThreads(learner.loss, dict(learner.network.named_parameters()), 2, 4)
    replica = threads.replicas.get()
    threads.close()
    copied = replica.task_loss.__self__  # type: ignore[attr-defined]
    assert copied.constants is learner.constants
    assert copied.optimizer is learner.optimizer
    assert copied.network[0].bias is learner.network[0].bias
    assert copied.network[0].weight is not learner.network[0].weight
    assert copied.network[0].weight.data_ptr() == learner.network[0].weight.data_ptr()
    assert replica.weights["0.weight"] is copied.network[0].weight


def test_tasks_of_unequal_shape_take_the_loop() -> None:
    def score(
        each: Callable[..., Callable[..., Tensor]], weights: Mapping[str, Tensor], objective: Objective,
        support: Examples, query: Examples,
    ) -> dict[str, Tensor]:  # fmt: skip
        def loss(w: Tensor, x: Tensor, y: Tensor) -> Tensor:
            return objective.loss(x.flatten(1) @ w, y)

        return {"loss": each(loss)(weights["w"], query.inputs, query.targets)}

    found = []
    for step in (vectorized_step, looped_step):
        w = torch.ones(128, 3, requires_grad=True)
        found.append((step(score, {"w": w}, Tasks(growing=True).tasks("", range(3)), 3), w.grad))
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)
