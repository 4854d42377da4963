"""Omniglot's files: the packaged lists, and a drawing as an image."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from coldstart_cli.datasets.readers import omniglot as omniglot_files
from coldstart_cli.datasets.readers.omniglot import characters
from coldstart_cli.errors import RequestError


def test_packaged_lists_have_the_published_sizes() -> None:
    known = characters()
    assert Counter(fate.vinyals for fate in known.values()) == {"t": 1028, "v": 172, "n": 423}
    assert Counter(fate.folder for fate in known.values()) == {
        "images_background": 964,
        "images_evaluation": 659,
    }
    alphabets = {
        folder: {a for (a, _), fate in known.items() if fate.folder == folder} for _, folder in known.values()
    }
    assert {len(names) for names in alphabets.values() if names} <= {20, 30}


def test_packaged_lists_are_those_of_the_local_copy(data_root: Path) -> None:
    folder = data_root / "omniglot" / "splits" / "vinyals"
    if not folder.is_dir():
        pytest.skip("no local copy of the lists of Vinyals et al.")
    known = characters()
    for name, letter in (("train", "t"), ("val", "v"), ("test", "n")):
        lines = {tuple(line.split("/")[:2]) for line in (folder / f"{name}.txt").read_text().split()}
        assert lines == {character for character, fate in known.items() if fate.vinyals == letter}


def drawing(size: int = 105) -> bytes:
    """A PNG file as the publisher's: one bit a pixel, ink 0; the left half is ink."""
    paper = np.full((size, size), True)
    paper[:, : size // 2] = False
    out = io.BytesIO()
    Image.fromarray(paper).convert("1").save(out, "PNG")
    return out.getvalue()


def test_a_drawing_is_bright_where_there_is_ink(tmp_path: Path) -> None:
    image = omniglot_files._image(tmp_path, Path("a.png"), drawing())
    assert image.shape == (28, 28) and image.dtype == np.uint8
    assert (image[:, :11] > 240).all() and (image[:, 17:] < 15).all()


@pytest.mark.parametrize("content", [drawing(104), drawing()[:60], b"no image"])
def test_a_drawing_of_another_size_or_a_damaged_one_is_named(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(RequestError, match=r"^dataset.root: a.png of .* is damaged; unpack it anew$"):
        omniglot_files._image(tmp_path, Path("a.png"), content)


def test_a_folder_is_taken_before_a_zip_and_either_is_needed(tmp_path: Path) -> None:
    (tmp_path / "images_background").mkdir()
    (tmp_path / "images_background.zip").touch()
    with pytest.raises(RequestError, match=r"holds neither images_evaluation\.zip nor images_evaluation/"):
        omniglot_files.drawings(str(tmp_path))
    (tmp_path / "images_evaluation.zip").touch()
    assert omniglot_files._found(tmp_path) == {
        "images_background": tmp_path / "images_background",
        "images_evaluation": tmp_path / "images_evaluation.zip",
    }
