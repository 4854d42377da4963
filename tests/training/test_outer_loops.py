"""The outer loops: restarts, one task after another or all at once, what is counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from coldstart_cli.config import composition
from coldstart_cli.core.objectives import Classification
from coldstart_cli.core.tasks import Examples, Objective, Pool, Task
from coldstart_cli.datasets.benchmarks.synthetic import Sinusoid
from coldstart_cli.experiment.assembly import assemble
from coldstart_cli.testing.trial import IMAGES, SMALL
from coldstart_cli.training.augmentation import Augmentation
from coldstart_cli.training.meta_batch import Each
from coldstart_cli.training.outer_loops import augmenting, counting, episodic, supervised
from tests.kit.plain_optimizers import plain_adam, plain_sgd


@pytest.fixture(scope="module")
def source() -> Sinusoid:
    return Sinusoid(
        bank_seed=0, k_shot=3, n_query=4, n_unlabelled=0, amplitude=[0.1, 2.0], phase=[0.0, 3.0],
        frequency=[1.0, 1.0], x_range=[-2.0, 2.0], noise=0.0, relative_noise=0.0,
        n_functions=None, pool_tasks=5, pool_points=6,
    )  # fmt: skip


def pooled(
    source: Sinusoid, module: nn.Linear, optimizer: torch.optim.Optimizer, start: int, seed: int = 0
) -> Iterator[dict[str, float]]:
    def batch_loss(objective: Objective, examples: Examples) -> dict[str, Tensor]:
        assert isinstance(examples.inputs, Tensor)
        return {"loss": objective.loss(module(examples.inputs), examples.targets)}

    return supervised(
        batch_loss, source.pool("train"), optimizer, batch_size=4, seed=seed, device=torch.device("cpu"),
        start=start,
    )  # fmt: skip


def test_supervised_restarted_equals_going_on(source: Sinusoid) -> None:
    results = []
    for stops in ([6], [1, 5], [3, 3]):
        torch.manual_seed(0)
        module = nn.Linear(1, 1)
        optimizer = plain_adam(n_steps=6)(module.parameters())
        metrics: list[dict[str, float]] = []
        for length in stops:
            metrics += islice(pooled(source, module, optimizer, len(metrics)), length)
        results.append((metrics, module.weight.item(), module.bias.item()))
    assert results[0] == results[1] == results[2]
    assert len(results[0][0]) == 6


def losses(source: Sinusoid, seed: int, n: int) -> list[float]:
    torch.manual_seed(0)
    module = nn.Linear(1, 1)
    steps = pooled(source, module, plain_sgd()(module.parameters()), 0, seed)
    return [step["loss"] for step in islice(steps, n)]


def test_supervised_learns(source: Sinusoid) -> None:
    falling = losses(source, 0, 200)
    assert sum(falling[-50:]) < sum(falling[:50])


def test_supervised_draws_depend_on_the_seed(source: Sinusoid) -> None:
    assert losses(source, 0, 3) == losses(source, 0, 3)
    assert losses(source, 0, 3) != losses(source, 1, 3)


def shifted_line(
    each: Each, weights: Mapping[str, Tensor], objective: Objective, support: Examples, query: Examples
) -> dict[str, Tensor]:
    """A line through the origin, moved by the mean residual of the support set."""

    def score(w: Tensor, x: Tensor, y: Tensor, query_x: Tensor, query_y: Tensor) -> dict[str, Tensor]:
        shift = (y - x.double() * w).mean()
        outputs = query_x.double() * w + shift
        loss = objective.loss(outputs, query_y.double())
        return {"loss": loss, "shift": shift.detach()}

    scores: dict[str, Tensor] = each(score)(
        weights["w"], support.inputs, support.targets.double(), query.inputs, query.targets
    )
    return scores


def trained(
    source: Sinusoid, vectorize: bool, stops: list[int], **changes: Any
) -> tuple[list[dict[str, float]], float]:
    w = nn.Parameter(torch.tensor([0.3], dtype=torch.float64))
    optimizer = plain_sgd(lr=0.05, momentum=0.9, **changes)([w])
    metrics: list[dict[str, float]] = []
    for length in stops:
        steps: Iterator[dict[str, float]] = episodic(
            shifted_line,
            {"w": w},
            source,
            optimizer,
            meta_batch_size=3,
            vectorize=vectorize,
            start=len(metrics),
        )
        metrics += islice(steps, length)
    return metrics, w.item()


def test_episodic_vectorised_equals_looped(source: Sinusoid) -> None:
    looped, w_looped = trained(source, False, [8])
    vectorised, w_vectorised = trained(source, True, [8])
    assert [list(m) for m in looped] == [["loss", "shift"]] * 8
    for one, other in zip(looped, vectorised, strict=True):
        assert one == pytest.approx(other, rel=1e-10, abs=1e-12)
    assert w_looped == pytest.approx(w_vectorised, rel=1e-10)
    assert w_looped != 0.3


@pytest.mark.parametrize("vectorize", [True, False])
def test_episodic_restarted_equals_going_on(source: Sinusoid, vectorize: bool) -> None:
    assert trained(source, vectorize, [6]) == trained(source, vectorize, [2, 3, 1])


def test_episodic_first_metrics_are_the_mean_over_the_first_tasks(source: Sinusoid) -> None:
    losses = []
    for task in source.tasks("train", range(3)):
        x, y = task.support.inputs, task.support.targets
        assert isinstance(x, Tensor)
        assert isinstance(task.query.inputs, Tensor)
        shift = (y.double() - 0.3 * x.double()).mean()
        error = 0.3 * task.query.inputs.double() + shift - task.query.targets.double()
        losses.append((error**2).mean().item())
    metrics, _ = trained(source, False, [1])
    assert metrics[0]["loss"] == pytest.approx(sum(losses) / 3, rel=1e-9)


@pytest.mark.parametrize("vectorize", [True, False])
def test_counting_hears_of_support_and_query_of_every_task(source: Sinusoid, vectorize: bool) -> None:
    counted: list[int] = []
    with counting(counted.append):
        trained(source, vectorize, [4])
    assert counted == [3 * (3 + 4)] * 4  # meta_batch_size x (k_shot + n_query)


def test_counting_hears_of_every_mini_batch_while_it_lasts(source: Sinusoid) -> None:
    module = nn.Linear(1, 1)
    steps = pooled(source, module, plain_sgd()(module.parameters()), 0)
    renamed = ({f"teacher_{name}": value for name, value in step.items()} for step in steps)
    outer: list[int] = []
    inner: list[int] = []
    next(renamed)
    with counting(outer.append):
        next(renamed)
        with counting(inner.append):
            next(renamed)
        next(renamed)
    next(renamed)
    assert (outer, inner) == ([4, 4], [4])


@pytest.mark.parametrize("make", [plain_sgd, plain_adam])
def test_nothing_to_learn_ends_both_loops_at_once(source: Sinusoid, make: Callable[..., Any]) -> None:
    frozen = nn.Linear(1, 1).requires_grad_(False)
    nothing: list[nn.Parameter] = []
    for parameters in (nothing, frozen.parameters()):
        optimizer = make()(parameters)
        assert optimizer.state_dict()["param_groups"][0]["params"] == []
        steps = supervised(
            lambda objective, batch: pytest.fail("a step was taken"),
            source.pool("train"),
            optimizer,
            batch_size=2,
            seed=0,
            device=torch.device("cpu"),
            start=0,
        )
        assert list(steps) == []
        tasks = episodic(
            lambda *args: pytest.fail("a step was taken"),
            {},
            source,
            optimizer,
            meta_batch_size=1,
            vectorize=False,
            start=0,
        )
        assert list(tasks) == []


SHIFT = Augmentation(shift=0.2, rotation=0.0, scale=0.0)


def image_tasks(augmentation: Augmentation | None, start: int, n: int) -> list[Task]:
    """The tasks that `n` outer steps from `start` on read."""
    ((_, config),) = composition.points([*SMALL, *IMAGES])
    made, seen = assemble(config), list[Task]()

    def prepare(task: Task) -> Task:
        seen.append(task)
        return task

    weights = {"w": torch.zeros(1, requires_grad=True)}

    def task_loss(
        each: Each, weights: Mapping[str, Tensor], objective: Objective, support: Examples, query: Examples
    ) -> dict[str, Tensor]:
        return {"loss": weights["w"].sum() * 0}

    steps = episodic(
        task_loss, weights, made.source, plain_sgd()([nn.Parameter(weights["w"])]), meta_batch_size=1,
        vectorize=False, start=start, prepare=prepare,
    )  # fmt: skip
    for step in range(start, start + n):
        torch.manual_seed(100 + step)  # as the trainer does
        with augmenting(augmentation):
            next(steps)
    return seen


@pytest.mark.usefixtures("torch_settings")
def test_tasks_are_moved_by_seed_and_step_alone() -> None:
    plain, moved, resumed = image_tasks(None, 0, 2), image_tasks(SHIFT, 0, 2), image_tasks(SHIFT, 1, 1)
    for before, after in zip(plain, moved, strict=True):
        for one, other in ((before.support, after.support), (before.query, after.query)):
            assert torch.equal(one.targets, other.targets) and not torch.equal(one.inputs, other.inputs)  # type: ignore[arg-type]
    assert torch.equal(moved[1].query.inputs, resumed[0].query.inputs)  # type: ignore[arg-type]


class OneImage(Pool):
    """One image, however often it is drawn."""

    objective = Classification(2)

    def __len__(self) -> int:
        return 1

    def examples(self, indices: Tensor) -> Examples:
        image = torch.arange(36.0).view(1, 1, 6, 6)
        return Examples(image.repeat(len(indices), 1, 1, 1), torch.zeros(len(indices), dtype=torch.int64))


def test_pooled_images_are_moved_anew_in_every_step_and_alike_after_a_restart() -> None:
    def drawn(start: int, n: int) -> list[Tensor]:
        module, seen = nn.Linear(36, 2), list[Tensor]()

        def batch_loss(objective: Objective, examples: Examples) -> dict[str, Tensor]:
            assert isinstance(examples.inputs, Tensor)
            seen.append(examples.inputs)
            return {"loss": objective.loss(module(examples.inputs.flatten(1)), examples.targets)}

        optimizer = plain_sgd()(module.parameters())
        steps = supervised(
            batch_loss, OneImage(), optimizer, batch_size=3, seed=0, device=torch.device("cpu"), start=start
        )
        with augmenting(SHIFT):
            list(islice(steps, n))
        return seen

    first, second = drawn(0, 2)
    assert not torch.equal(first, second) and not torch.equal(first[0], first[1])
    assert torch.equal(second, drawn(1, 1)[0])
