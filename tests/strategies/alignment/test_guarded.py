"""The guard: that it falls back where transfer does harm, and only there."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from dataclasses import replace
from functools import partial
from itertools import islice

import pytest
import torch
from torch import Tensor, nn

from coldstart_cli.core.objectives import Classification, Regression
from coldstart_cli.core.strategy import Adapted
from coldstart_cli.core.tasks import Support
from coldstart_cli.errors import RequestError
from coldstart_cli.experiment.assembly import Experiment
from coldstart_cli.strategies.alignment.guarded import Guarded, _folds
from coldstart_cli.strategies.transfer.fine_tune import FineTune
from coldstart_cli.training.optimizers import optimizers

Make = Callable[..., Experiment]


def guarded(experiment: Make, *overrides: str) -> tuple[Guarded, Experiment]:
    made = experiment("strategy=guarded", *overrides)
    strategy = made.strategy.eval()
    assert isinstance(strategy, Guarded)
    return strategy, made


def trained(experiment: Make) -> tuple[Guarded, Experiment]:
    """Its transfer has learned enough to beat the fallback."""
    strategy, made = guarded(
        experiment,
        "dataset.k_shot=4",
        "training.steps=150",
        "optimizer.lr=0.01",
        "strategy.n_tasks=5",
        "model=mlp",
        "model.hidden=[16]",
        "strategy.fallback_search.lr=[0.05]",
        "strategy.fallback_steps=null",  # so little training beats scratch at as few steps alone
    )
    list(islice(strategy.train().fit(made.source), 150))
    return strategy.eval(), made


class Negated(nn.Module):
    """The opposite of what a predictor says."""

    def __init__(self, predictor: nn.Module) -> None:
        super().__init__()
        self.predictor = predictor

    def forward(self, inputs: Tensor) -> Tensor:
        return -self.predictor(inputs)  # type: ignore[no-any-return]


def sabotage(strategy: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = strategy.transfer.adapt

    def adapt(support: Support) -> Generator[Adapted, None, None]:
        for adapted in honest(support):
            yield replace(adapted, build=partial(_negated, adapted))

    monkeypatch.setattr(strategy.transfer, "adapt", adapt)


def _negated(adapted: Adapted) -> nn.Module:
    return Negated(adapted.module)


def outputs(adapted: Adapted, inputs: object) -> Tensor:
    with torch.no_grad():
        return adapted.module(inputs)  # type: ignore[no-any-return]


def test_folds_are_stratified_disjoint_and_independent_of_order() -> None:
    inputs = torch.arange(11.0).unsqueeze(1)
    targets = torch.tensor([0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0])
    support = Support(inputs, targets, Classification(2), 5)
    folds = _folds(support, 4)
    assert len(folds) == 4
    held_out = [int(x) for _, fold in folds for x in fold.inputs.flatten().tolist()]  # type: ignore[union-attr]
    assert sorted(held_out) == list(range(11))
    for seen, fold in folds:
        assert len(seen) + len(fold) == 11
        assert not set(seen.inputs.flatten().tolist()) & set(fold.inputs.flatten().tolist())  # type: ignore[union-attr]
        assert set(fold.targets.tolist()) == set(seen.targets.tolist()) == {0, 1}
        assert (seen.objective, seen.seed) == (support.objective, 5)
    order = torch.randperm(11, generator=torch.Generator().manual_seed(0))
    again = _folds(replace(support, inputs=inputs[order], targets=targets[order]), 4)
    assert all(torch.equal(a[1].targets, b[1].targets) for a, b in zip(folds, again, strict=True))
    assert all(torch.equal(a[1].inputs, b[1].inputs) for a, b in zip(folds, again, strict=True))  # type: ignore[arg-type]


def test_folds_are_as_many_as_the_rarest_class_allows() -> None:
    def made(targets: list[int], n_way: int) -> int:
        support = Support(
            torch.rand(len(targets), 2), torch.tensor(targets, dtype=torch.int64), Classification(n_way), 0
        )
        return len(_folds(support, 5))

    assert made([0, 0, 0, 1, 1], 2) == 2
    assert made([0, 0, 0, 1], 2) == 0
    assert made([0, 0, 1, 1], 3) == 0  # a class without labels
    assert made([], 2) == 0
    points = Support(torch.rand(6, 1), torch.rand(6, 1), Regression(1), 0)
    assert [len(_folds(points, n)) for n in (2, 5, 9)] == [2, 5, 6]


def test_guard_falls_back_where_transfer_is_sabotaged(
    experiment: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    strategy, made = trained(experiment)
    helps = strategy._gain_on_validation(made.source)
    sabotage(strategy, monkeypatch)
    assert strategy._gain_on_validation(made.source) < 0 < helps
    task = made.source.tasks("new", [0])[0]
    items = list(islice(strategy.adapt(task.support), 4))
    alone = list(islice(strategy.fallback.adapt(task.support), 4))
    assert items[0].notes == {}
    for item, fallback in zip(items[1:], alone[1:], strict=True):
        assert item.notes["guard"] == 1.0
        assert item.notes["guard gain"] < 0
        torch.testing.assert_close(outputs(item, task.query.inputs), outputs(fallback, task.query.inputs))


def test_fallback_s_rate_is_the_best_on_validation_tasks_of_one_label(experiment: Make) -> None:
    strategy, made = guarded(
        experiment,
        "dataset.k_shot=2", "strategy.n_tasks=3", "strategy.fallback_steps=4", "training.steps=1",
        "strategy.fallback_search.lr=[0.00001,0.2,0.1]",
    )  # fmt: skip
    assert int(strategy.chosen) == 0
    next(strategy.train().fit(made.source))
    tasks = made.source.with_shape(replace(made.source.shape, k_shot=1)).tasks("validation", range(3))
    means = []
    for lr in (0.00001, 0.2, 0.1):
        strategy.fallback.tuning = {**strategy.fallback.tuning, "lr": lr}  # type: ignore[dict-item]
        right = 0
        for task in tasks:
            item = list(islice(strategy.fallback.adapt(task.support), 5))[4]
            right += int((outputs(item, task.query.inputs).argmax(-1) == task.query.targets).sum())
        means.append(right)
    assert int(strategy.chosen) == max(range(3), key=means.__getitem__)
    assert strategy._searched(1).tuning["lr"] == 0.2  # type: ignore[index]
    assert "chosen" in strategy.state_dict()  # a run directory adapts without the source


def test_each_item_of_a_fallback_takes_its_share_of_the_fallback_s_steps(experiment: Make) -> None:
    strategy, made = guarded(experiment, "strategy.steps=2", "strategy.fallback_steps=5")
    support, inputs = made.source.tasks("new", [0])[0].support, made.source.tasks("new", [0])[0].query.inputs
    items = list(islice(strategy._fallback_after(support), 4))
    own = list(islice(strategy._searched(0).adapt(support), 8))
    for item, taken in zip(items, (0, 2, 5, 7), strict=True):
        torch.testing.assert_close(outputs(item, inputs), outputs(own[taken], inputs))


def test_fallback_without_the_searched_value_is_refused(experiment: Make) -> None:
    with pytest.raises(
        RequestError, match=r"the fallback has no depth; search .*lr.*~strategy.fallback_search"
    ):
        experiment("strategy=guarded", "+strategy.fallback_search.depth=[1.0]")


def test_guard_keeps_a_transfer_that_helps(experiment: Make) -> None:
    strategy, made = trained(experiment)
    kept = 0
    for task in made.source.tasks("new", range(5)):
        items = list(islice(strategy.adapt(task.support), 3))
        if items[1].notes["guard"] == 0.0:
            kept += 1
            alone = list(islice(strategy.transfer.adapt(task.support), 3))
            torch.testing.assert_close(
                outputs(items[2], task.query.inputs), outputs(alone[2], task.query.inputs)
            )
    assert kept >= 3


def test_gain_is_the_paired_difference_of_cross_validation(experiment: Make) -> None:
    strategy, made = guarded(
        experiment, "dataset.k_shot=2", "strategy.steps=2", "strategy.fallback_steps=null"
    )
    support = made.source.tasks("new", [1])[0].support
    correct = {"transfer": 0, "fallback": 0}
    for seen, held_out in _folds(support, 2):
        for name in correct:
            item = list(islice(getattr(strategy, name).adapt(seen), 3))[2]
            correct[name] += int((outputs(item, held_out.inputs).argmax(-1) == held_out.targets).sum())
    expected = (correct["transfer"] - correct["fallback"]) / len(support)
    assert strategy.expected_gain(support) == pytest.approx(expected)


@pytest.mark.parametrize(("gain", "guard"), [(-0.1, 1.0), (0.1, 0.0), (math.inf, 0.0)])
def test_one_label_is_decided_by_the_validation_gain(experiment: Make, gain: float, guard: float) -> None:
    strategy, made = guarded(experiment)
    strategy.validation_gain.fill_(gain)
    _, second = islice(strategy.adapt(made.source.tasks("new", [0])[0].support), 2)
    assert second.notes["guard"] == guard
    assert ("guard gain" in second.notes) == math.isfinite(gain)


def test_validation_gain_is_measured_at_its_steps(experiment: Make) -> None:
    strategy, made = guarded(
        experiment, "strategy.check_every=2", "strategy.n_tasks=6", "training.steps=3", "dataset.k_shot=3"
    )
    assert float(strategy.validation_gain) == math.inf
    found = []
    for _ in islice(strategy.train().fit(made.source), 3):
        found.append(float(strategy.validation_gain))
        assert strategy.training
    assert found[0] == math.inf
    tasks = made.source.with_shape(replace(made.source.shape, k_shot=1)).tasks("validation", range(6))
    by_hand = 0
    for task in tasks:
        for sign, of, n in ((1, strategy.transfer, 5), (-1, strategy._searched(strategy._setting()), 30)):
            item = list(islice(of.adapt(task.support), n + 1))[n]
            by_hand += sign * int((outputs(item, task.query.inputs).argmax(-1) == task.query.targets).sum())
    assert found[2] == pytest.approx(by_hand / 6 / len(tasks[0].query), abs=1e-6)


def test_fallback_has_weights_of_its_own_that_no_step_moves(experiment: Make) -> None:
    strategy, made = guarded(experiment, "training.steps=3")
    ours = {p.data_ptr() for p in strategy.transfer.parameters()}
    assert not ours & {p.data_ptr() for p in strategy.fallback.parameters()}
    before = {n: p.clone() for n, p in strategy.fallback.named_parameters()}
    list(islice(strategy.train().fit(made.source), 3))
    assert all(torch.equal(p, before[n]) for n, p in strategy.fallback.named_parameters())
    followed = dict(optimizers(strategy))["fallback.optimizer"]
    held = {id(p) for group in followed.param_groups for p in group["params"]}
    assert held == {id(p) for p in strategy.fallback.parameters()}


def test_guard_serves_a_transfer_that_yields_once(experiment: Make) -> None:
    strategy, made = guarded(experiment, "strategy@strategy.transfer=protonet", "dataset.k_shot=2")
    for task in made.source.tasks("new", range(3)):
        items = list(islice(strategy.adapt(task.support), 4))
        assert "guard" not in items[0].notes
        assert "guard" in items[1].notes
        if items[1].notes["guard"] == 0.0:
            assert len(items) == 2
            torch.testing.assert_close(
                outputs(items[0], task.query.inputs), outputs(items[1], task.query.inputs)
            )


def test_guard_of_a_regression_falls_back_by_error(experiment: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    strategy, made = guarded(
        experiment, "dataset=sinusoid", "model=mlp",
        "strategy.fallback_steps=null", "strategy.fallback_search.lr=[0.05]",
    )  # fmt: skip
    support = made.source.tasks("new", [0])[0].support
    monkeypatch.setattr(strategy.fallback, "adapt", strategy.transfer.adapt)
    assert strategy.expected_gain(support) == 0.0  # of equals nothing is gained
    sabotage(strategy, monkeypatch)
    constant = replace(support, targets=torch.full_like(support.targets, 3.0))
    monkeypatch.setattr(strategy.fallback, "adapt", FineTune.adapt.__get__(strategy.fallback))
    assert strategy.expected_gain(constant) < 0  # minus three is worse than nearly three


def test_fallback_that_learns_is_refused(experiment: Make) -> None:
    with pytest.raises(RequestError, match=r"^strategy.fallback: it learns from the source"):
        experiment("strategy=guarded", "strategy@strategy.fallback=protonet")
