from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from coldstart_cli.core.tasks import Inputs
from coldstart_cli.datasets.own import layouts
from coldstart_cli.datasets.own.image_folder import image_folder
from coldstart_cli.datasets.readers.problems import Problems
from coldstart_cli.errors import RequestError
from coldstart_cli.models.preprocess import Plain

pytestmark = pytest.mark.usefixtures("own_cache")
Settings = Callable[[str], dict[str, Any]]


@pytest.fixture
def values(settings: Settings, tmp_path: Path) -> dict[str, Any]:
    few = {"n_way": 2, "n_query": 2, "size": 8, "root": str(tmp_path / "data")}
    return {**settings("image_folder"), **few}


@pytest.fixture
def draw(tmp_path: Path) -> Callable[..., None]:
    def call(*folders: str, n: int = 6) -> None:
        for number, folder in enumerate(folders):
            place = tmp_path / "data" / folder
            place.mkdir(parents=True)
            for i in range(n):
                Image.new("L", (9, 9), number * 10 + i).save(place / f"{i}.png")

    return call


def tensor(inputs: Inputs) -> torch.Tensor:
    assert isinstance(inputs, torch.Tensor)
    return inputs


CLASSES = [f"class{i:02d}" for i in range(10)]


def test_class_folders_are_classes(values: dict[str, Any], draw: Callable[..., None]) -> None:
    draw(*CLASSES)
    source = image_folder(Plain(), **values)
    labelled = source.labelled
    assert labelled.classes == tuple(CLASSES) and labelled.tasks == () and len(labelled) == 60
    assert labelled.places[7] == "class01/1.png"
    assert torch.equal(tensor(labelled.inputs)[:, 0, 0, 0] // 10, labelled.targets)
    assert source.input_shape == (1, 8, 8)
    splits = {s: set(t.names) for s, t in source.shares.tables.items()}
    assert {s: len(names) for s, names in splits.items()} == {
        "train": 5,
        "validation": 2,
        "new": 3,
        "source_test": 5,
    }
    assert splits["train"] | splits["validation"] | splits["new"] == set(CLASSES)
    assert image_folder(Plain(), **values).fingerprint == source.fingerprint
    other = image_folder(Plain(), **{**values, "split_seed": 1})
    assert other.fingerprint != source.fingerprint and other.labelled.fingerprint == labelled.fingerprint


def test_task_folders_are_tasks_with_classes_of_their_own(
    values: dict[str, Any], draw: Callable[..., None]
) -> None:
    draw(*(f"t{t}/{c}" for t in range(6) for c in "abc"))
    source = image_folder(Plain(), **{**values, "split_by": "task"})
    assert len(source.labelled.classes) == 18 and source.labelled.tasks == tuple(f"t{t}" for t in range(6))
    for split in ("train", "validation", "new"):
        for task in source.tasks(split, range(20)):  # type: ignore[arg-type]
            numbers = tensor(task.support.inputs)[:, 0, 0, 0] // 10
            assert len(set((numbers // 3).tolist())) == 1 and len(set(numbers.tolist())) == 2


def test_split_folders_stand_before_classes(values: dict[str, Any], draw: Callable[..., None]) -> None:
    draw("train/a", "train/b", "train/c", "val/d", "val/e", "test/f", "test/g")
    source = image_folder(Plain(), **{**values, "split_by": "file", "n_way": None})
    assert {s: t.names for s, t in source.shares.tables.items() if s != "source_test"} == {
        "train": ("a", "b", "c"),
        "validation": ("d", "e"),
        "new": ("f", "g"),
    }
    assert source.shape.n_way == 2
    draw("other/x")
    with pytest.raises(RequestError, match=r"dataset.split_by: 'other' is not a split"):
        image_folder(Plain(), **{**values, "split_by": "file"})


def test_excluded_classes_are_left_out_by_name(values: dict[str, Any], draw: Callable[..., None]) -> None:
    draw("Faces", "Faces_easy", "ant")
    assert image_folder(Plain(), **{**values, "exclude": ["Faces_easy"]}).labelled.classes == ("Faces", "ant")
    with pytest.raises(RequestError, match=r"dataset.exclude: Face is not a class .*did you mean Faces"):
        image_folder(Plain(), **{**values, "exclude": ["Face"]})


def test_bad_layouts_are_refused_in_one_line(
    values: dict[str, Any], draw: Callable[..., None], tmp_path: Path
) -> None:
    with pytest.raises(RequestError, match=r"dataset.root: no folder is named"):
        image_folder(Plain(), **{**values, "root": None})
    with pytest.raises(RequestError, match="is not a folder; name one"):
        image_folder(Plain(), **values)
    (tmp_path / "data" / "empty").mkdir(parents=True)
    with pytest.raises(RequestError, match="holds no images in folders named after their class"):
        image_folder(Plain(), **values)
    draw("a", "t/b")
    (tmp_path / "data" / "empty").rmdir()
    with pytest.raises(RequestError, match=r"holds a/0.png and t/b/0.png, at different depths"):
        image_folder(Plain(), **values)


def test_folders_named_after_splits_are_read_as_these(
    values: dict[str, Any], draw: Callable[..., None]
) -> None:
    draw("train/a", "train/b", "test/a", "test/b")
    labelled = image_folder(Plain(), **values).labelled
    assert labelled.classes == ("a", "b") and labelled.tasks == () and labelled.splits == ("new", "train")
    assert sorted(
        {p.split("/")[0] for p, s in zip(labelled.places, labelled.split_of, strict=True) if s}
    ) == ["train"]


def test_inverted_images_are_black_for_white(values: dict[str, Any], draw: Callable[..., None]) -> None:
    draw(*CLASSES)
    plain, inverted = (image_folder(Plain(), **{**values, "invert": i}).labelled for i in (False, True))
    assert torch.equal(tensor(inverted.inputs), 255 - tensor(plain.inputs))
    (raw, *_) = layouts.read_raw(
        inverted.recipe, Plain(), values["root"], problems=Problems("stop"), chunk=99
    )
    assert torch.equal(tensor(raw.inputs), tensor(inverted.inputs))
    older = {key: value for key, value in plain.recipe.items() if key != "invert"}
    again = layouts.read_labelled(older, Plain(), values["root"], unlabelled=None, on_bad="stop")
    assert torch.equal(tensor(again.inputs), tensor(plain.inputs))


def test_one_class_is_a_support_set_but_no_source(values: dict[str, Any], draw: Callable[..., None]) -> None:
    draw("a")
    source = image_folder(Plain(), **values)
    assert len(source.labelled) == 6
    with pytest.raises(RequestError, match="dataset: image_folder: 1 class, two are needed"):
        source.refusal("new", source.shape)


def test_bad_file_stops_or_is_skipped_with_a_warning(
    values: dict[str, Any], draw: Callable[..., None], tmp_path: Path
) -> None:
    draw(*CLASSES)
    (tmp_path / "data" / "class03" / "2.png").write_bytes(b"")
    with pytest.raises(
        RequestError, match=r"class03/2.png: it is empty \(0 bytes\); repair or remove it, or"
    ):
        image_folder(Plain(), **values)
    with pytest.warns(RuntimeWarning, match=r"1 could not be read and left out: class03/2.png: it is empty"):
        source = image_folder(Plain(), **{**values, "on_bad": "skip"})
    assert len(source.labelled) == 59 and source.labelled.skipped == ("class03/2.png: it is empty (0 bytes)",)
    assert "class03/2.png" in source.facts()["skipped"]


def test_recipe_reads_further_images_as_those(
    values: dict[str, Any], draw: Callable[..., None], tmp_path: Path
) -> None:
    draw(*CLASSES)
    source = image_folder(Plain(), **values)
    recipe = source.labelled.recipe
    assert recipe["channels"] == 1 and recipe["size"] == 8
    again = layouts.read_labelled(recipe, Plain(), values["root"], unlabelled=values["root"], on_bad="stop")
    assert torch.equal(tensor(again.inputs), tensor(source.labelled.inputs))
    assert again.unlabelled is not None and len(tensor(again.unlabelled)) == 60
    colour = tmp_path / "photo.jpg"
    Image.new("RGB", (30, 20), "white").save(colour)
    (raw,) = layouts.read_raw(recipe, Plain(), str(colour), problems=Problems("stop"), chunk=4)
    assert tensor(raw.inputs).shape == (1, 1, 8, 8) and raw.places == ("photo.jpg",)
    chunks = list(layouts.read_raw(recipe, Plain(), values["root"], problems=Problems("stop"), chunk=25))
    assert [len(chunk) for chunk in chunks] == [25, 25, 10]
    assert np.array_equal(torch.cat([tensor(c.inputs) for c in chunks]), tensor(again.inputs))


def test_model_says_size_and_channels(values: dict[str, Any], draw: Callable[..., None]) -> None:
    class Wide(Plain):  # type: ignore[misc]
        image_size, image_channels = 12, 3

    draw(*CLASSES)
    source = image_folder(Wide(), **values)
    assert source.input_shape == (3, 12, 12) and source.labelled.recipe["size"] == 12
