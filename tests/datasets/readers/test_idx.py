"""IDX files: what is read, and what is refused with the file's name."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from coldstart_cli.datasets.readers.idx import read_idx
from coldstart_cli.errors import RequestError


def packed(values: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    return header + values.tobytes()


def test_idx_is_read_as_it_was_written(tmp_path: Path) -> None:
    values = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    (tmp_path / "a.gz").write_bytes(gzip.compress(packed(values)))
    assert np.array_equal(read_idx(tmp_path / "a.gz"), values)


GOOD = packed(np.arange(24, dtype=np.uint8).reshape(2, 3, 4))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "is missing; name the folder"),
        (b"not gzip", "cannot be read"),
        (gzip.compress(GOOD)[:-9], "cannot be read"),
        (gzip.compress(b"\0\0\x0d\x01" + bytes(8)), "is no IDX file of bytes"),
        (gzip.compress(GOOD[:6]), "ends within its header"),
        (gzip.compress(GOOD[:-1]), r"holds 23 bytes, not \(2, 3, 4\)"),
        (gzip.compress(b""), "is no IDX file"),
    ],
    ids=["missing", "no gzip", "cut gzip", "other type", "cut header", "cut values", "empty"],
)
def test_idx_damage_is_named_with_its_file(tmp_path: Path, data: bytes | None, message: str) -> None:
    if data is not None:
        (tmp_path / "a.gz").write_bytes(data)
    with pytest.raises(RequestError, match=rf"^dataset.root: \S+a\.gz {message}"):
        read_idx(tmp_path / "a.gz")
