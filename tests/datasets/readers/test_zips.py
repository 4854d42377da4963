"""Zips of strangers: read member by member within bounds."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from coldstart_cli.datasets.readers import zips


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "a.zip"
    link = zipfile.ZipInfo("link.png")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as written:
        written.writestr("plain.txt", b"what it says")
        written.writestr("dense.bin", b"\0" * 100_000)
        written.writestr(link, b"/etc/passwd")
    return path


def test_a_member_is_read_whole(archive: Path) -> None:
    with zips.opened(archive) as opened:
        assert opened.namelist() == ["plain.txt", "dense.bin", "link.png"]
        assert zips.content(opened, "plain.txt", 12) == b"what it says"


@pytest.mark.parametrize(
    ("name", "largest", "reason"),
    [
        ("plain.txt", 11, "plain.txt has 12 bytes"),
        ("dense.bin", 1 << 20, "dense.bin is packed 1 to "),
        ("link.png", 1 << 20, "link.png is a link or a device"),
    ],
)
def test_members_beyond_the_bounds_are_refused(archive: Path, name: str, largest: int, reason: str) -> None:
    with zips.opened(archive) as opened, pytest.raises(zipfile.BadZipFile, match=reason):
        zips.content(opened, name, largest)


def test_a_list_of_members_may_have_a_certain_length(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zips, "MOST_MEMBERS", 2)
    with pytest.raises(zipfile.BadZipFile, match="it lists more than 2 members"):
        zips.opened(archive)
    monkeypatch.setattr(zips, "LARGEST_DIRECTORY", 100)
    with pytest.raises(zipfile.BadZipFile, match="MiB of members"):
        zips.opened(archive)


def test_what_is_no_zip_is_refused(tmp_path: Path) -> None:
    (tmp_path / "b.zip").write_bytes(b"PK\x05\x06 and no more")
    with pytest.raises(zipfile.BadZipFile):
        zips.opened(tmp_path / "b.zip")
