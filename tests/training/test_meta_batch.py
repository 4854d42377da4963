"""Gradients of tasks: recorded, compared, replayed, with the bits of what is written."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from unittest.mock import Mock

import pytest
import torch
from torch import Tensor

from coldstart_cli.core.objectives import Classification, Regression
from coldstart_cli.core.tasks import Examples, Objective, Support, Task
from coldstart_cli.tracing.replays import N_KINDS
from coldstart_cli.training.meta_batch import (
    Each,
    TaskGradients,
    add_gradients,
    in_one_call,
    one_after_another,
)

pytestmark = pytest.mark.usefixtures("torch_settings")


def tasks(n: int, *, growing: int = 0, objective: Objective | None = None) -> list[Task]:
    """Of 6 query points and `growing` more from task to task."""
    found = []
    for i in range(n):
        generator = torch.Generator().manual_seed(i)
        points = torch.randn(9 + growing * i, 4, generator=generator)
        targets = torch.randint(3, (len(points),), generator=generator)
        support = Support(points[:3], targets[:3], objective or Classification(3), i)
        found.append(Task(support, Examples(points[3:], targets[3:]), ""))
    return found


class Loss:
    """A linear classifier's on the query set, after a step on the support set; it counts its calls."""

    def __init__(self) -> None:
        self.called = Mock()  # a number of one's own would be something that changes

    def __call__(
        self, each: Each, weights: Mapping[str, Tensor], objective: Objective, support: Examples,
        query: Examples,
    ) -> dict[str, Tensor]:  # fmt: skip
        self.called()

        def loss(w: Tensor, x: Tensor, y: Tensor) -> Tensor:
            return objective.loss(x @ w, y)

        def score(w: Tensor, x: Tensor, y: Tensor) -> dict[str, Tensor]:
            return {"loss": loss(w, x, y), **objective.metrics((x @ w).detach(), y)}

        w = weights["w"]
        (g,) = torch.autograd.grad(each(loss)(w, support.inputs, support.targets).sum(), w, create_graph=True)
        found: dict[str, Tensor] = each(score)(w - 0.5 * g, query.inputs, query.targets)
        return found


def gradients(loss: object, n: int = 4) -> tuple[TaskGradients, Tensor]:
    w = torch.linspace(-1, 1, 12).view(4, 3).requires_grad_()
    return TaskGradients(loss, {"w": w}, [w], n), w  # type: ignore[arg-type]


def plain(n: int, w: Tensor, drawn: list[Task]) -> Tensor:
    """Autograd's gradient of the mean over n, task after task."""
    w = w.detach().clone().requires_grad_()
    for task in drawn:
        found = Loss()(lambda f: f, {"w": w}, task.support.objective, task.support, task.query)
        (found["loss"] / n).backward()
    assert w.grad is not None
    return w.grad


@pytest.mark.parametrize("computed", [one_after_another, in_one_call])
def test_replayed_gradients_have_the_bits_of_computed_ones_also_after_a_step(computed: object) -> None:
    loss = Loss()
    found, w = gradients(loss)
    for _ in range(4):
        w.grad = None
        drawn = tasks(4)
        metrics = add_gradients(computed(found, drawn), [w], 4)  # type: ignore[operator]
        assert set(metrics) == {"loss", "accuracy"}
        assert w.grad is not None
        if computed is one_after_another:
            assert torch.equal(w.grad, plain(4, w, drawn))
        torch.testing.assert_close(w.grad, plain(4, w, drawn))
        with torch.no_grad():
            w -= 0.3 * w.grad
    # the first is recorded, the second compared, and so is the tenth replay
    assert loss.called.call_count == (3 if computed is one_after_another else 2)


def test_each_shape_has_a_recording_of_its_own() -> None:
    loss = Loss()
    found, w = gradients(loss, 3)
    for _ in range(3):
        w.grad = None
        drawn = tasks(3, growing=1)
        add_gradients(one_after_another(found, drawn), [w], 3)
        assert w.grad is not None
        assert torch.equal(w.grad, plain(3, w, drawn))
    assert loss.called.call_count == 6


def test_objectives_that_differ_have_recordings_that_differ() -> None:
    found, w = gradients(Loss(), 1)
    losses = []
    for deviation in (1.0, 1.0, 1.0, 2.0):
        (task,) = tasks(1, objective=Regression(3, deviation=deviation))
        reals = Task(
            Support(task.support.inputs, torch.ones(3, 3), task.support.objective, 0),
            Examples(task.query.inputs, torch.ones(6, 3)),
            "",
        )
        losses.append(add_gradients(one_after_another(found, [reals]), [w], 1)["mse"])
    assert losses[3] == pytest.approx(4 * losses[2])


def test_shapes_beyond_a_number_are_computed_as_they_are_written() -> None:
    loss = Loss()
    found, _w = gradients(loss)
    drawn = tasks(N_KINDS + 1, growing=1)
    for _ in range(3):
        list(one_after_another(found, drawn))
    assert loss.called.call_count == 2 * N_KINDS + 3
    assert found.replays.recordable


def test_loss_that_is_no_function_of_its_task_is_found_out_and_computed_as_it_is_written() -> None:
    ticks = count(1)

    def impure(*arguments: object) -> dict[str, Tensor]:
        return {"loss": next(ticks) * Loss()(*arguments)["loss"]}  # type: ignore[arg-type]

    found, _w = gradients(impure)
    (task,) = tasks(1)
    with pytest.warns(RuntimeWarning, match="depends on more than the task"):
        losses = [float(found([task]).metrics["loss"]) for _ in range(5)]
    assert losses == pytest.approx([losses[0] * i for i in range(1, 6)])
    assert not found.replays.recordable


def test_loss_that_draws_random_numbers_is_never_recorded() -> None:
    def random(*arguments: object) -> dict[str, Tensor]:
        return {"loss": torch.rand(()) * Loss()(*arguments)["loss"]}  # type: ignore[arg-type]

    found, _ = gradients(random)
    drawn = tasks(5)
    once = [float(found([task]).metrics["loss"]) for task in drawn]
    assert len(set(once)) == 5
    assert not found.replays.recordable
    before = torch.get_rng_state()
    assert [float(found([task]).metrics["loss"]) for task in reversed(drawn)] == once[::-1], (
        "of the task alone"
    )
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(torch.initial_seed() + 1)
    assert float(found([drawn[0]]).metrics["loss"]) != once[0], "of the step as well"


def test_parameter_beside_the_loss_has_no_gradient() -> None:
    found, w = gradients(Loss())
    beside = torch.ones(2, requires_grad=True)
    found.parameters.append(beside)
    for _ in range(3):
        w.grad = None
        add_gradients(one_after_another(found, tasks(2)), found.parameters, 2)
        assert w.grad is not None
        assert beside.grad is None


def test_gradients_lie_in_memory_of_their_own() -> None:
    """Clipping and summing change them in place."""

    def summed(*arguments: object) -> dict[str, Tensor]:
        weights = arguments[1]
        return {"loss": (weights["a"] + weights["b"]).sum()}  # type: ignore[index]

    a, b = torch.ones(3, requires_grad=True), torch.ones(3, requires_grad=True)
    found = TaskGradients(summed, {"a": a, "b": b}, [a, b], 1)  # type: ignore[arg-type]
    for _ in range(4):
        a.grad = b.grad = None
        add_gradients(one_after_another(found, tasks(1)), [a, b], 1)
        assert a.grad is not None
        assert b.grad is not None
        a.grad.mul_(2)
        assert b.grad.tolist() == [1, 1, 1]


def test_tasks_of_unequal_shape_take_the_loop() -> None:
    results = []
    for computed in (in_one_call, one_after_another):
        found, w = gradients(Loss(), 3)
        results.append((add_gradients(computed(found, tasks(3, growing=1)), [w], 3), w.grad))
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=0)
