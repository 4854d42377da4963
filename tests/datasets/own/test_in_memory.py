"""Raw examples of a caller: rows, texts, images and arrays, each with its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from coldstart_cli.datasets.own import in_memory
from coldstart_cli.datasets.readers.images import ImageFile, Picture
from coldstart_cli.errors import RequestError


class Frame:
    """What a frame of pandas is known by."""

    columns = ("a", "b")
    shape = (1, 2)

    def to_dict(self, orient: str) -> list[dict[str, Any]]:
        assert orient == "records"
        return [{"a": np.float64(1), "b": "x"}]


class Frames:
    """What a frame of polars is known by."""

    shape = (1, 2)

    def __iter__(self) -> Any:
        raise AssertionError("columns are no rows")

    def to_dicts(self) -> list[dict[str, Any]]:
        return [{"a": 1.0, "b": "x"}]


Frame.__iter__ = Frames.__iter__  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "values", [[{"a": 1.0, "b": "x"}], [(1.0, "x")], Frame(), Frames(), np.array([[1.0, "x"]], dtype=object)]
)
def test_rows_of_every_kind_are_the_same(values: object) -> None:
    ((place, row),) = in_memory.rows(values, ["a", "b"])
    assert (place, row) == ("input row 0", {"a": 1.0, "b": "x"})
    assert type(row["a"]) is float


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"a": 1}, "one mapping is not a table"),
        (np.zeros(3), r"has shape \(3,\); give \(n, 2\)"),
        ([[1.0, 2.0], [1.0]], "input row 1: has 1 values for 2 columns; give a, b in this order"),
        ([1.0], "input row 0: 1.0 is not a row"),
        ("a,b", "is not a list of rows"),
    ],
)
def test_what_is_no_table_is_refused(values: object, reason: str) -> None:
    with pytest.raises(RequestError, match=reason):
        list(in_memory.rows(values, ["a", "b"]))


def test_texts_stand_alone_or_in_rows() -> None:
    row = {"text": "so", "id": 7}
    assert list(in_memory.lines(["hi", row, None], "text")) == [
        ("input row 0", "hi", {}),
        ("input row 1", "so", row),
        ("input row 2", None, {}),
    ]
    with pytest.raises(RequestError, match="input row 0: 3 is not a text"):
        list(in_memory.lines([3], "text"))
    with pytest.raises(RequestError, match=r"has no column 'text' \(dataset.text_column\)"):
        list(in_memory.lines([{"txt": "a"}], "text"))


def test_images_are_paths_pictures_and_bytes(tmp_path: Path) -> None:
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    file, picture, array, channel = in_memory.pictures(
        [tmp_path / "a.png", Image.fromarray(grey), grey, torch.from_numpy(grey)[..., None]]
    )
    assert isinstance(file, ImageFile) and file.path == tmp_path / "a.png"
    for found in (picture, array, channel):
        assert isinstance(found, Picture) and np.array_equal(np.asarray(found.image), grey)
    assert [one.name for one in in_memory.pictures(np.stack([grey, grey]))] == ["input row 0", "input row 1"]


@pytest.mark.parametrize("wrong", [np.zeros((3, 4)), np.zeros((3, 4, 2), np.uint8), np.zeros(3, np.uint8), 5])
def test_what_is_no_image_is_refused_by_its_place(wrong: object) -> None:
    with pytest.raises(RequestError, match=r"^input row 0: .* image"):
        list(in_memory.pictures([wrong]))


def test_numbers_come_from_tensors_and_lists_of_one_shape() -> None:
    with_gradient = torch.ones(2, 3, requires_grad=True)
    assert in_memory.array(with_gradient).shape == (2, 3) and in_memory.array([[1, 2]]).tolist() == [[1, 2]]
    with pytest.raises(RequestError, match="input: is not an array of numbers"):
        in_memory.array([[1.0, 2.0], [1.0]])


def test_rows_are_counted_from_the_number_that_is_given() -> None:
    for read in (in_memory.rows([{"a": 1}], ["a"], 1), in_memory.lines(["hi"], "text", 1)):
        assert next(iter(read))[0] == "input row 1"
    assert [one.name for one in in_memory.pictures(np.zeros((1, 4, 4), np.uint8), 1)] == ["input row 1"]
