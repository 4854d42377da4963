from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from coldstart_cli.core.tasks import TaskShape
from coldstart_cli.datasets.benchmarks import glyphs as module
from coldstart_cli.datasets.benchmarks.glyphs import FACES, LOOK_ALIKE, N_JITTERS, glyphs
from coldstart_cli.datasets.episodes.episodes import Episodes
from coldstart_cli.datasets.readers.cache import load_or_make
from coldstart_cli.errors import RequestError

Settings = Callable[[str], dict[str, Any]]
PER_CLASS = len(FACES) * N_JITTERS


@pytest.fixture(scope="module")
def source(settings: Settings) -> Episodes:
    return glyphs(**settings("glyphs"))


def test_glyphs_has_about_470_classes_of_48_images(source: Episodes) -> None:
    sizes = {split: len(table) for split, table in source.splits.items()}
    assert 440 <= sizes["train"] + sizes["validation"] + sizes["new"] <= 500
    assert sizes["source_test"] == sizes["train"]
    assert isinstance(source.inputs, torch.Tensor)
    assert source.inputs.dtype == torch.uint8 and source.input_shape == (1, 28, 28)
    assert len(source.inputs) == PER_CLASS * (sizes["train"] + sizes["validation"] + sizes["new"])
    assert source.facts()["train"] == f"{sizes['train']} classes x 32 examples"


def test_splits_share_no_class_and_source_test_no_face(source: Episodes) -> None:
    tables = source.splits
    classes = {split: set((table.ids // PER_CLASS).tolist()) for split, table in tables.items()}
    assert classes["train"] == classes["source_test"]
    assert not classes["train"] & classes["validation"]
    assert not (classes["train"] | classes["validation"]) & classes["new"]
    faces = {split: set((t.ids % PER_CLASS // N_JITTERS).tolist()) for split, t in tables.items()}
    assert not faces["train"] & faces["source_test"]
    assert [len(faces[split]) for split in ("train", "source_test", "new")] == [8, 4, 12]


def test_classes_are_named_by_their_code_point(source: Episodes) -> None:
    train, new = (source.pool(split) for split in ("train", "new"))  # type: ignore[arg-type]
    assert "U+0041 LATIN CAPITAL LETTER A" in train.names + source.pool("validation").names
    assert all(name.split()[1] == group for name, group in zip(new.names, new.groups, strict=True))
    assert source.pool("source_test").names == train.names


def test_scripts_are_apart_and_no_two_classes_look_alike() -> None:
    kept = load_or_make(f"glyphs-{module._recipe_digest()}", module._render_all)
    scripts = [module.script(int(code_point)) for code_point in kept["code_points"]]
    assert {s for s, is_source in zip(scripts, kept["is_source"], strict=True) if is_source} == {
        "LATIN", "GREEK", "DIGIT",
    }  # fmt: skip
    fonts = module._fonts()
    cosines = np.zeros((len(scripts), len(scripts)))
    for font in fonts:
        drawn = np.array(
            [np.asarray(module._upright(font, chr(c)).reduce(2)).ravel() for c in kept["code_points"]], float
        )
        drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
        cosines += drawn @ drawn.T / len(fonts)
    np.fill_diagonal(cosines, 0)
    assert cosines.max() <= LOOK_ALIKE + 1e-6


def test_images_are_white_on_black_and_differ_within_a_class(source: Episodes) -> None:
    assert isinstance(source.inputs, torch.Tensor)
    images = source.inputs.view(-1, PER_CLASS, 28 * 28)
    assert images.amax(dim=-1).min() > 100  # hair lines of bold accents included
    assert 15 < images.float().mean() < 100
    corners = source.inputs[:, 0][:, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert (corners == 0).float().mean() > 0.99
    assert all(len(torch.unique(class_images, dim=0)) == PER_CLASS for class_images in images[::40])


def test_support_and_query_share_no_face(source: Episodes) -> None:
    assert isinstance(source.inputs, torch.Tensor)
    face_of = {image.numpy().tobytes(): i % PER_CLASS // N_JITTERS for i, image in enumerate(source.inputs)}
    shape = TaskShape(5, 3, 8, 2)
    for split in ("train", "validation", "source_test", "new"):
        for task in source.with_shape(shape).tasks(split, range(8)):
            support, queries = task.support.inputs, task.query.inputs
            assert isinstance(support, torch.Tensor) and isinstance(queries, torch.Tensor)
            assert isinstance(task.support.unlabelled, torch.Tensor)
            taught = {face_of[i.numpy().tobytes()] for i in torch.cat([support, task.support.unlabelled])}
            assert not taught & {face_of[i.numpy().tobytes()] for i in queries}


def test_queries_on_source_test_do_not_depend_on_k_shot(source: Episodes) -> None:
    one, five = (
        source.with_shape(TaskShape(5, k, 15, 0)).tasks("source_test", [0])[0].query.inputs for k in (1, 5)
    )
    assert isinstance(one, torch.Tensor) and isinstance(five, torch.Tensor)
    assert torch.equal(one, five) and len(one) == 5 * 8


def test_another_split_seed_moves_validation_alone(source: Episodes, settings: Settings) -> None:
    other = glyphs(**{**settings("glyphs"), "split_seed": 1})
    assert np.array_equal(other.splits["new"].ids, source.splits["new"].ids)
    assert not np.array_equal(other.splits["validation"].ids, source.splits["validation"].ids)
    assert other.fingerprint != source.fingerprint


def test_no_held_out_faces_means_no_source_test(settings: Settings) -> None:
    source = glyphs(**{**settings("glyphs"), "held_out_faces": []})
    assert source.facts()["train"].endswith("x 48 examples")
    assert source.refusal("source_test", source.shape) is not None


@pytest.mark.parametrize(
    ("faces", "reason"),
    [
        (["DejaVuSanss"], "dataset.held_out_faces: DejaVuSanss is not .*; did you mean DejaVuSans[?]"),
        (["DejaVuSans"], "two faces or more"),
        (list(FACES[:11]), "two faces or more"),
    ],
)
def test_impossible_held_out_faces_are_refused(settings: Settings, faces: list[str], reason: str) -> None:
    with pytest.raises(RequestError, match=reason):
        glyphs(**{**settings("glyphs"), "held_out_faces": faces})


def test_too_many_queries_are_refused_in_one_line(settings: Settings) -> None:
    with pytest.raises(
        RequestError, match=r"^dataset: glyphs: 5-way tasks need 1 \+ 40 .* lower k_shot or n_query$"
    ):
        glyphs(**{**settings("glyphs"), "n_query": 40})
