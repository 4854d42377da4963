"""One task before it is adapted to: repeats, conflicts and small classes, and none where there are none."""

from __future__ import annotations

import numpy as np
import torch

from coldstart_cli.datasets.audit.one_task import observations
from coldstart_cli.datasets.own.labelled import Labelled, marks
from coldstart_cli.datasets.readers.equality import near_equal_groups


def task(texts: list[str], labels: list[str] | torch.Tensor) -> Labelled:
    places = [f"d row {row}" for row in range(len(texts))]
    known = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    inputs = torch.tensor([[float(known[text])] for text in texts])
    return marks(labels, None, None, places).labelled(inputs, None, (), {}, near_equal_groups(texts))


def test_equal_and_nearly_equal_examples_are_counted_apart() -> None:
    equal, nearly, torn, _ = observations(
        task(["a card", "a card", "A card!", "other"], ["x", "x", "x", "y"])
    )
    assert equal.first == ("d row 1 repeats d row 0",) and nearly.first == ("d row 2 repeats d row 0",)
    assert torn.n_found == 0


def test_one_example_under_two_labels_is_a_conflict() -> None:
    _, nearly, torn, _ = observations(task(["a card", "A CARD", "other"], ["x", "y", "y"]))
    assert nearly.n_found == 0 and torn.first == ("d row 0 is x and d row 1 is y",)
    _, _, torn = observations(task(["a", "a", "b"], torch.tensor([[0.5], [1.5], [1.0]])))
    assert torn.n_found == 1


def test_small_classes_and_the_share_of_the_largest_are_told() -> None:
    texts = [f"text {number}" for number in range(10)]
    *_, small = observations(task(texts, ["often"] * 9 + ["once"]))
    assert small.first == ("once has 1 example",) and "always saying often is right for 90.0%" in small.note


def test_examples_of_one_input_are_told_by_their_inputs_alone() -> None:
    labelled = marks(["x", "x"], None, None, ["0", "1"]).labelled(torch.zeros(2, 3), None, (), {})
    assert np.array_equal(labelled.near_equal(), [0, 0]) and observations(labelled)[0].n_found == 1
