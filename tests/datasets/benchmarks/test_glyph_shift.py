"""A shift of type face: shared labels, other faces, validation within the source family."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from coldstart_cli.datasets.benchmarks.glyph_shift import FACES_OF, glyph_shift
from coldstart_cli.datasets.benchmarks.glyphs import FACES, N_JITTERS
from coldstart_cli.datasets.episodes.episodes import Episodes
from coldstart_cli.errors import RequestError


def made(**changes: Any) -> Episodes:
    values: dict[str, Any] = {
        "bank_seed": 0, "n_way": 5, "k_shot": 1, "n_query": 3, "n_unlabelled": 0,
        "source": "Sans", "new": "Serif",
    }  # fmt: skip
    return glyph_shift(**{**values, **changes})


def faces(source: Episodes, split: str) -> set[int]:
    table = source.splits[split]  # type: ignore[index]
    return {int(i) // N_JITTERS % len(FACES) for i in table.ids}


def test_glyph_shift_families_have_four_faces_each() -> None:
    assert {family: len(numbers) for family, numbers in FACES_OF.items()} == {
        "Sans": 4,
        "Serif": 4,
        "SansMono": 4,
    }


def test_glyph_shift_new_faces_are_seen_by_nothing_else() -> None:
    source = made()
    new = faces(source, "new")
    assert new == set(FACES_OF["Serif"])
    for split in ("train", "validation", "source_test"):
        assert not faces(source, split) & new
    assert not faces(source, "train") & faces(source, "validation")


def test_glyph_shift_says_which_source_classes_a_task_has() -> None:
    source = made(k_shot=2, n_query=2)
    task = source.tasks("new", [0])[0]
    classes = task.support.source_classes
    assert classes is not None
    table, pool = source.splits["new"], source.pool("train")
    assert len(pool.groups) == pool.objective.n_outputs == len(table)
    for place, number in enumerate(classes.tolist()):
        members = source.inputs[torch.from_numpy(table.members(number)).long()]  # type: ignore[index]
        image = task.support.inputs[task.support.targets == place][0]  # type: ignore[index]
        assert (members == image).flatten(1).all(1).any()


def test_glyph_shift_serves_tasks_without_labels() -> None:
    task = made(k_shot=0, n_unlabelled=3).tasks("new", [0])[0]
    assert len(task.support) == 0
    assert len(task.support.unlabelled) == 15  # type: ignore[arg-type]


def test_glyph_shift_to_itself_is_refused() -> None:
    with pytest.raises(RequestError, match=r"^dataset.new: Sans is the source itself; "):
        made(new="Sans")
