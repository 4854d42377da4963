"""Folders of images: every kind that Pillow reads, and a word on all that is no example."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from coldstart_cli.datasets.own.folders import below, seen_in
from coldstart_cli.datasets.own.image_folder import image_folder
from coldstart_cli.errors import RequestError
from coldstart_cli.models.preprocess import Plain

Draw = Callable[..., None]


@pytest.fixture
def draw(tmp_path: Path) -> Draw:
    def call(*files: str) -> None:
        for file in files:
            path = tmp_path / file
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix in (".heic", ".txt"):
                path.write_bytes(b"no image")
            else:
                Image.new("L", (9, 9), 5).save(path, format="JPEG" if path.suffix == ".jfif" else None)

    return call


def test_every_usual_kind_is_an_image(tmp_path: Path, draw: Draw) -> None:
    draw(*(f"{s}/a.{s}" for s in ("bmp", "tif", "tiff", "gif", "jfif", "png", "jpg", "webp")))
    seen = seen_in(tmp_path, [], split_folders=False)
    assert len(seen.images) == 8 and not seen.left_out and not seen.classes_without_images


def test_a_class_of_files_that_cannot_be_read_is_named_with_their_number(tmp_path: Path, draw: Draw) -> None:
    draw("cat/0.png", "dog/0.heic", "dog/1.heic")
    (tmp_path / "eel").mkdir()
    seen = seen_in(tmp_path, [], split_folders=False)
    assert seen.classes_without_images == [
        (str(tmp_path / "dog"), "the class holds no image that can be read (2 .heic)"),
        (str(tmp_path / "eel"), "the class holds no image"),
    ]
    assert seen.left_out == ["2 .heic"]


def test_images_beside_and_far_below_the_folders_of_classes_are_counted(tmp_path: Path, draw: Draw) -> None:
    draw("cat/0.png", "dog/0.png", "sheet.png", "cat/x/y/0.png", "cat/x/y/1.png", "dog/notes.txt")
    seen = seen_in(tmp_path, [], split_folders=False)
    assert len(seen.images) == 2
    assert seen.left_out == [
        "1 .txt",
        "1 images beside the folders of classes (sheet.png)",
        "2 images deeper than <task>/<class> (cat/x/y/0.png)",
    ]


def test_images_that_all_lie_too_deep_are_refused_by_an_example(tmp_path: Path, draw: Draw) -> None:
    draw("a/b/c/0.png")
    with pytest.raises(RequestError, match=r"\(its images lie as a/b/c/0\.png\); put"):
        seen_in(tmp_path, [], split_folders=False)


def test_folders_are_splits_by_name_only_where_all_are(tmp_path: Path, draw: Draw) -> None:
    draw("train/cat/0.png", "test/cat/0.png")
    assert seen_in(tmp_path, [], split_folders=False).splits == "by name"
    draw("more/cat/0.png")
    assert seen_in(tmp_path, [], split_folders=False).splits is None
    assert seen_in(tmp_path, [], split_folders=True).splits == "asked"


def test_an_empty_class_stops_or_is_skipped_with_a_count(
    tmp_path: Path, draw: Draw, settings: Callable[[str], dict[str, Any]], own_cache: Path
) -> None:
    draw("data/cat/0.png", "data/dog/0.png", "data/eel/0.heic")
    values = {**settings("image_folder"), "root": str(tmp_path / "data"), "size": 8}
    with (
        pytest.warns(RuntimeWarning, match=r"left out, for they are no examples: 1 \.heic"),
        pytest.raises(RequestError, match=r"eel: the class holds no image .*\(1 \.heic\); add some"),
    ):
        image_folder(Plain(), **values)
    with pytest.warns(RuntimeWarning) as said:
        image_folder(Plain(), **{**values, "on_bad": "skip"})
    assert any("1 could not be read and left out" in str(w.message) for w in said)
    with pytest.warns(RuntimeWarning, match=r"1 \.heic"):
        assert image_folder(Plain(), **{**values, "exclude": ["eel"]}).labelled.classes == ("cat", "dog")


def test_images_below_a_folder_are_found_at_any_depth(tmp_path: Path, draw: Draw) -> None:
    draw("a/b/c/d/0.gif")
    assert [file.name for file in below(tmp_path)] == ["a/b/c/d/0.gif"]
