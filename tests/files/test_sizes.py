"""Sizes of places, and how they are written."""

from __future__ import annotations

from pathlib import Path

import pytest

from coldstart_cli.files.sizes import n_bytes, written_size


def test_a_folder_is_as_large_as_its_files_and_links_lead_nowhere(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "deep").mkdir(parents=True)
    (folder / "a").write_bytes(b"x" * 100)
    (folder / "deep" / "b").write_bytes(b"x" * 23)
    assert n_bytes(folder) == 123 and n_bytes(folder / "a") == 100
    (tmp_path / "large").write_bytes(b"x" * 100_000)
    (folder / "link").symlink_to(tmp_path / "large")
    (folder / "loop").symlink_to(folder)
    assert 123 < n_bytes(folder) < 1000
    assert n_bytes(tmp_path / "absent") == 0


@pytest.mark.parametrize(
    ("size", "written"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 KiB"),
        (2**20 - 1, "1.0 MiB"),
        (5 * 2**30, "5.0 GiB"),
        (2**41, "2.0 TiB"),
    ],
)
def test_a_size_is_written_in_the_unit_that_a_person_reads(size: int, written: str) -> None:
    assert written_size(size) == written
