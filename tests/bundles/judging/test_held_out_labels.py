"""Rehearsals: what a part of the labels says of the rest, and what must stay together."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from coldstart_cli.bundles.judging.held_out_labels import (
    Rehearsal,
    Together,
    Told,
    nearest_centroid,
    takes_steps,
)
from coldstart_cli.core.objectives import Classification
from coldstart_cli.core.strategy import Adapted, Strategy
from coldstart_cli.core.tasks import Examples, Support, TaskSource


class Nearest(nn.Module):
    """The label of the nearest example that was seen."""

    def __init__(self, support: Support) -> None:
        super().__init__()
        self.seen, self.targets, self.n = support.inputs, support.targets, support.objective.n_outputs

    def forward(self, inputs: Tensor) -> Tensor:
        assert isinstance(self.seen, Tensor)
        nearest = torch.cdist(inputs, self.seen).argmin(1)
        return torch.nn.functional.one_hot(self.targets[nearest], self.n).float()


class Memory(Strategy):
    """Remembers every example: whatever repeats in another fold is answered rightly."""

    def __init__(self, n_items: int = 1) -> None:
        super().__init__()
        self.n_items, self.sizes = n_items, list[int]()

    def fit(self, source: TaskSource, start: int = 0) -> Iterator[dict[str, float]]:
        return iter(())

    def adapt(self, support: Support) -> Generator[Adapted, None, None]:
        self.sizes.append(len(support))
        for _ in range(self.n_items):
            yield Adapted(lambda: Nearest(support), {})


def untold(what: str, done: int, total: int) -> None:
    pass


def support_of(inputs: Tensor, targets: list[int] | Tensor) -> Support:
    ids = torch.as_tensor(targets)
    return Support(inputs, ids, Classification(int(ids.max()) + 1), 0)


def rehearsal_of(strategy: Strategy, support: Support, told: Told = untold) -> Rehearsal:
    return Rehearsal(strategy, support, Together.of(np.arange(len(support)), None), told)


def share_right(support: Support, alike: np.ndarray) -> float:
    answers = Rehearsal(Memory(), support, Together.of(alike, None), untold).answers(0, 8, 2)
    assert answers is not None
    return float((answers.outputs.argmax(-1) == answers.targets).float().mean())


def test_random_labels_three_times_each_are_answered_by_chance_once_they_stay_together() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(60, 8, generator=generator).repeat_interleave(3, 0)
    targets = torch.randint(2, (60,), generator=generator).repeat_interleave(3)
    support = support_of(inputs, targets)
    assert share_right(support, np.arange(180)) > 0.9
    assert 0.3 < share_right(support, np.repeat(np.arange(60), 3)) < 0.7


def test_a_class_of_one_example_is_always_seen_and_the_others_are_judged() -> None:
    inputs = torch.randn(9, 3, generator=torch.Generator().manual_seed(0))
    rehearsal = Rehearsal(
        Memory(), support_of(inputs, [0] * 4 + [1] * 4 + [2]), Together.of(np.arange(9), None), untold
    )
    answers = rehearsal.answers(0, 8, 1)
    assert answers is not None and answers.n_folds == 4
    assert sorted(answers.examples.tolist()) == list(range(8)) and 2 not in answers.targets.tolist()
    assert rehearsal.best([0, 1], 10) == 0


def test_many_classes_are_dealt_fewer_times_than_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    support = support_of(torch.randn(40, 3, generator=torch.Generator().manual_seed(0)), [*range(4)] * 10)
    rehearsal = rehearsal_of(Memory(), support)
    monkeypatch.setattr("coldstart_cli.bundles.judging.held_out_labels.MOST_OUTPUTS", 2 * 40 * 4)
    for asked, dealt in ((1, 1), (2, 2), (5, 2)):
        answers = rehearsal.answers(0, 4, asked)
        assert answers is not None and answers.n_repeats == dealt and answers.n_folds == 4
        assert len(answers.examples) == 40 * dealt
    monkeypatch.setattr("coldstart_cli.bundles.judging.held_out_labels.MOST_OUTPUTS", 1)
    assert rehearsal.n_repeats(5) == 1


def test_one_example_a_class_cannot_be_judged() -> None:
    rehearsal = Rehearsal(
        Memory(), support_of(torch.eye(3), [0, 1, 2]), Together.of(np.arange(3), None), untold
    )
    assert rehearsal.answers(0, 8, 2) is None and rehearsal.best([0, 1], 10) is None


def test_progress_is_told_after_each_adaptation_of_those_foreseen() -> None:
    told: list[tuple[str, int, int]] = []
    strategy = Memory(2)
    support = support_of(torch.randn(8, 2, generator=torch.Generator().manual_seed(0)), [0, 1] * 4)
    rehearsal = Rehearsal(
        strategy, support, Together.of(np.arange(8), None), lambda *how_far: told.append(how_far)
    )
    rehearsal.best([0, 1], 10)
    rehearsal.answers(0, 8, 2)
    assert [part[1:] for part in told] == [(i, 8) for i in range(1, 9)] * 2
    assert (rehearsal.n_to_select(10), rehearsal.n_to_estimate(8, 2)) == (8, 8) and len(strategy.sizes) == 16


def test_together_divides_neither_an_origin_nor_what_is_alike() -> None:
    alike, origins = np.array([0, 1, 1, 2, 3]), np.array([0, 0, 1, 2, 2])
    clusters = Together.of(alike, origins).clusters
    assert clusters[0] == clusters[1] == clusters[2] and clusters[3] == clusters[4] != clusters[0]
    assert not Together.of(alike, None).by_origin and Together.of(alike, None).clusters is alike


@pytest.mark.parametrize(("n_items", "steps"), [(1, False), (2, True), (5, True)])
def test_a_closed_form_takes_no_steps(n_items: int, steps: bool) -> None:
    assert takes_steps(Memory(n_items), support_of(torch.eye(2), [0, 1])) is steps


def test_nearest_centroid_by_hand_and_none_of_tokens() -> None:
    seen = Examples(torch.tensor([[0.0], [2.0], [10.0]]), torch.tensor([0, 0, 2]))
    rest = Examples(torch.tensor([[1.5], [7.0], [9.0]]), torch.tensor([0, 0, 2]))
    right = nearest_centroid(seen, rest)
    assert right is not None and right.tolist() == [True, False, True]
    assert nearest_centroid(Examples({"input_ids": seen.inputs}, seen.targets), rest) is None  # type: ignore[dict-item]
