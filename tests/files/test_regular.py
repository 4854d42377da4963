"""Files alone are opened: what waits, or never ends, is refused without being read."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

import pytest

from coldstart_cli.files.regular import opened, read_bytes, regular

READERS = (regular, opened, read_bytes)


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("kind", ["FIFO", "socket", "device", "folder"])
def test_readers_refuse_what_is_no_file(tmp_path: Path, kind: str, read: object) -> None:
    place = tmp_path / "x"
    if kind == "FIFO":
        os.mkfifo(place)
    elif kind == "socket":
        with contextlib.chdir(tmp_path), socket.socket(socket.AF_UNIX) as bound:
            bound.bind("x")  # relative: a socket's address has at most 107 bytes
    elif kind == "device":
        place.symlink_to("/dev/zero")
    else:
        place.mkdir()
    with pytest.raises(OSError, match=f"it is a {kind}, not a file"):
        read(place)  # type: ignore[operator]


@pytest.mark.parametrize("read", READERS)
def test_readers_refuse_what_is_not_there(tmp_path: Path, read: object) -> None:
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "x")  # type: ignore[operator]


def test_read_bytes_follows_a_link_to_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content")
    (tmp_path / "b").symlink_to("a")
    assert read_bytes(tmp_path / "b") == b"content"


def test_read_bytes_refuses_a_file_beyond_memory(tmp_path: Path) -> None:
    with (tmp_path / "x").open("wb") as file:
        file.truncate(1 << 42)
    with pytest.raises(OSError, match="larger than this machine's memory"):
        read_bytes(tmp_path / "x")


def test_opened_leaves_no_descriptor_open_where_it_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "x")
    # exchanged between the look and the opening
    monkeypatch.setattr("coldstart_cli.files.regular.regular", lambda path: path)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="it is a FIFO"):
        opened(tmp_path / "x")
    assert len(os.listdir("/proc/self/fd")) == before
