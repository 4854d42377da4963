"""Tasks by a rule: what a label says, and that nothing else says it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from coldstart_cli.core.tasks import TaskShape
from coldstart_cli.datasets.benchmarks.glyph_rules import FACTORS, GlyphRules, textures
from coldstart_cli.errors import RequestError


def made(**changes: Any) -> GlyphRules:
    values: dict[str, Any] = {
        "bank_seed": 0, "n_way": 4, "k_shot": 3, "n_query": 5, "n_unlabelled": 0, "rules": list(FACTORS),
        "clean": False, "split_seed": 0, "validation_share": 0.2,
    }  # fmt: skip
    return GlyphRules(**{**values, **changes})


def brightest(images: torch.Tensor) -> list[int]:
    return images.flatten(1).max(1).values.tolist()


def test_rules_are_all_drawn_and_named() -> None:
    names = {task.name.rpartition(" by ")[2] for task in made().tasks("new", range(40))}
    assert names == set(FACTORS)


def test_a_class_has_one_value_of_its_factor_and_all_of_the_others() -> None:
    task = made(rules=["shade"], n_query=12).tasks("new", [0])[0]
    shades = brightest(task.query.inputs)  # type: ignore[arg-type]
    by_class = [shades[12 * c : 12 * c + 12] for c in range(4)]
    # The brightest pixel of most characters is full ink: one of six shades that lie .12 apart.
    medians = sorted(float(np.median(of)) / 255 for of in by_class)
    assert min(np.diff(medians)) > 0.1
    other = made(rules=["texture"], n_query=12).tasks("new", [0])[0]
    mixed = brightest(other.query.inputs)  # type: ignore[arg-type]
    assert all(np.ptp(mixed[12 * c : 12 * c + 12]) > 0.1 * 255 for c in range(4))


def test_no_image_is_twice_in_a_task_and_supports_are_nested() -> None:
    source = made(clean=True, rules=["character", "face"], k_shot=9, n_query=20)
    for task in source.tasks("new", range(10)):
        both = torch.cat([task.support.inputs, task.query.inputs])  # type: ignore[list-item]
        assert len(both.flatten(1).unique(dim=0)) == len(both)
    few = source.with_shape(TaskShape(4, 2, 20, 0))
    for many, task in zip(source.tasks("new", [0, 1]), few.tasks("new", [0, 1]), strict=True):
        first = many.support.inputs.view(4, 9, -1)[:, :2]  # type: ignore[union-attr]
        assert torch.equal(first, task.support.inputs.view(4, 2, -1))  # type: ignore[union-attr]
        assert torch.equal(many.query.inputs, task.query.inputs)  # type: ignore[arg-type]


def test_textures_are_told_by_their_pattern_alone() -> None:
    patterns = textures()
    assert np.ptp(patterns.mean((1, 2))) == 0
    assert len(np.unique(patterns.reshape(len(patterns), -1), axis=0)) == len(patterns)


def test_the_pool_has_the_values_of_all_factors_in_groups() -> None:
    pool = made().pool("train")
    assert set(pool.groups) == set(FACTORS) and len(pool.groups) == pool.objective.n_outputs
    indices = torch.tensor([0, 1, len(pool) - 1])
    first, again = pool.examples(indices), pool.examples(indices)
    assert torch.equal(first.inputs, again.inputs)  # type: ignore[arg-type]
    assert first.targets.tolist() == [0, 0, pool.objective.n_outputs - 1]
    assert set(made(rules=["face"]).pool("new").groups) == {"face"}


def test_unlabelled_images_are_as_many_as_asked() -> None:
    task = made(n_unlabelled=2).tasks("new", [3])[0]
    assert len(task.support.unlabelled) == 8  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clean": True}, "dataset.rules: clean images have no shade"),
        ({"rules": ["face", "face"]}, "dataset.rules: .* names a factor twice"),
        (
            {"n_way": 7},
            "dataset: glyph_rules: 7-way tasks need .* of shade, train has 6; lower n_way",
        ),
        ({"clean": True, "rules": ["face"], "n_query": 200}, "dataset: glyph_rules: .* lower n_query"),
    ],
)
def test_what_cannot_be_served_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=f"^{message}"):
        made(**changes)
