"""npz files whose arrays are looked at before they are unpacked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coldstart_cli.datasets.readers import npz
from coldstart_cli.datasets.readers.npz import Archive
from coldstart_cli.errors import RequestError

X = np.arange(24, dtype=np.int16).reshape(4, 2, 3)
FLOAT = np.dtype(np.float32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    place = tmp_path / "a.npz"
    objects = np.empty(1, dtype=object)
    objects[:] = [{"run": "me"}]
    arrays: dict[str, Any] = {
        "x": X,
        "y": np.array(["a", "b", "a", "b"]),
        "o": objects,
        "f": np.asfortranarray(X),
    }
    np.savez_compressed(place, **arrays)
    return place


def test_headers_tell_shapes_and_arrays_come_as_the_type_asked_for(path: Path) -> None:
    with Archive(path) as archive:
        assert archive.header("x", "x_key") == ((4, 2, 3), np.dtype(np.int16))
        assert archive.small("y", "y_key").tolist() == ["a", "b", "a", "b"]
        read = archive.numbers("x", FLOAT)
    assert read.dtype == FLOAT and np.array_equal(read, X)


def test_an_array_beyond_memory_is_mapped_and_leaves_no_file(
    path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(npz, "IN_MEMORY", 10)
    monkeypatch.setattr(npz, "_CHUNK", 7)  # a value is cut between two reads
    with Archive(path) as archive:
        read = archive.numbers("x", FLOAT)
    assert isinstance(read, np.memmap) and np.array_equal(read, X)
    assert not list(own_cache.glob(".arrays*"))


def test_what_is_not_asked_for_plainly_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Archive(path) as archive:
        with pytest.raises(RequestError, match=r"has no array z \(dataset.x_key\); "):
            archive.header("z", "x_key")
        with pytest.raises(RequestError, match="o holds Python objects, which could run code"):
            archive.small("o", "y_key")
        with pytest.raises(RequestError, match=r"f is in Fortran order; save numpy\.ascontiguousarray"):
            archive.numbers("f", FLOAT)
        monkeypatch.setattr(npz, "_MARKS", 3)
        with pytest.raises(RequestError, match="y has 4 values of <U1; shorten its texts"):
            archive.small("y", "y_key")


def test_files_that_are_no_archive_are_named(tmp_path: Path) -> None:
    for content, reason in ((None, "is not a file"), (b"", "is empty"), (b"text", "is not an npz file")):
        place = tmp_path / "b.npz"
        if content is not None:
            place.write_bytes(content)
        with pytest.raises(RequestError, match=rf"b.npz: {reason}.*; save x and y with numpy.savez"):
            Archive(place)
