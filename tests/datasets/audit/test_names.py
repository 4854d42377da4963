"""Names of classes that stand in their texts are told, and are no leak."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from coldstart_cli.datasets.audit.names import finding_of_names, observation_of_names, told_of_names
from coldstart_cli.datasets.own.labelled import Labelled, marks
from coldstart_cli.datasets.own.names import saying_their_name

TEXTS = ["my card is lost", "the lost card", "a lost_card", "lost", "refund me", "money back"]


def labelled() -> Labelled:
    marked = marks(["lost card"] * 4 + ["refund"] * 2, None, None, [f"row {i}" for i in range(6)])
    made = marked.labelled(torch.zeros(6, 1), None, (), {})
    return replace(made, naming=saying_their_name(TEXTS, marked.targets.numpy(), marked.labels))


def test_classes_are_told_by_the_share_of_their_texts() -> None:
    assert told_of_names(labelled()) == (
        "in 3 of 6 texts (50.0%); the name of class lost card stands in 2 of its 4 texts; the name of class "
        "refund stands in 1 of its 2 texts"
    )
    (found,), (seen,) = finding_of_names(labelled()), observation_of_names(labelled())
    assert found.n_leaks == seen.n_found == 0 and found.checked == "6 texts" and found.note == seen.note


def test_labels_that_say_nothing_are_counted_and_without_texts_nothing_is_told() -> None:
    said = told_of_names(replace(labelled(), nameless=("7",), naming=np.zeros(6, dtype=np.bool_)))
    assert said is not None and said.startswith(
        "in 0 of 6 texts (0.0%); 1 of 2 labels say nothing in words (7)"
    )
    assert finding_of_names(replace(labelled(), naming=None)) == []
