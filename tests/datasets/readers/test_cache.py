from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coldstart_cli.datasets.readers.cache import Arrays, load_or_make
from coldstart_cli.errors import RequestError
from coldstart_cli.files.caching import cache_folder

PROGRAM = """
import time, numpy as np
from coldstart_cli.datasets.readers.cache import load_or_make
def make():
    print("made"); time.sleep(.5)
    return {"numbers": np.arange(1000)}
assert load_or_make("numbers", make)["numbers"].sum() == 499500
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COLDSTART_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def make() -> Arrays:
    return {"images": np.arange(5000, dtype=np.uint8), "names": np.array(["a", "bc"])}


def refuse() -> Arrays:
    raise AssertionError("the kept file should have been read")


def test_arrays_are_made_once(folder: Path) -> None:
    made, kept = load_or_make("things", make), load_or_make("things", refuse)
    assert all(np.array_equal(made[name], kept[name]) for name in made)
    assert sorted(path.name for path in folder.iterdir()) == ["things.lock", "things.npz"]


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "text", "other"])
def test_damaged_file_is_made_again_with_one_warning(
    folder: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    load_or_make("things", make)
    path = folder / "things.npz"
    content = bytearray(path.read_bytes())
    if damage == "other":
        np.savez(path, images=np.zeros(3), sha256=np.array("0" * 64))
    else:
        content[900] ^= 1
        path.write_bytes(
            {"flipped": bytes(content), "cut": bytes(content[:700]), "empty": b"", "text": b"hello"}[damage]
        )
    with caplog.at_level(logging.WARNING):
        again = load_or_make("things", make)
    assert np.array_equal(again["images"], make()["images"])
    assert len([r for r in caplog.records if "it is made again" in r.getMessage()]) == 1
    load_or_make("things", refuse)


def test_two_processes_at_once_both_succeed_and_one_makes(folder: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    both = [
        subprocess.Popen([sys.executable, "-c", PROGRAM], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    answers = [process.communicate(timeout=60)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert "".join(answers).count("made") == 1
    assert not list(folder.glob(".*"))


def test_folder_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLDSTART_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "coldstart"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "coldstart"
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert cache_folder().parent == tmp_path


def test_unusable_home_falls_back_to_temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    monkeypatch.delenv("COLDSTART_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(blocked))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert cache_folder().parent == tmp_path


@pytest.mark.fault("R13")
def test_a_read_only_folder_serves_what_it_holds_and_what_is_made_is_not_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    load_or_make("things", make)
    read_only = lambda path, mode: not mode & os.W_OK  # noqa: E731
    monkeypatch.setattr("os.access", read_only)
    load_or_make("things", refuse)

    def no_file(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("coldstart_cli.files.durable.open", no_file, raising=False)
    with caplog.at_level(logging.WARNING):
        assert load_or_make("other", make)["names"].tolist() == ["a", "bc"]
    (said,) = caplog.records
    assert "other.npz cannot be written (Read-only file system); what" in said.getMessage()


def test_what_is_kept_can_be_read_by_others_as_the_umask_says(folder: Path) -> None:
    before = os.umask(0o022)
    try:
        load_or_make("things", make)
    finally:
        os.umask(before)
    assert (folder / "things.npz").stat().st_mode & 0o777 == 0o644


def test_what_cannot_be_read_is_said_and_made_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    load_or_make("things", make)
    path, opened = folder / "things.npz", Path.open

    def another_users(self: Path, mode: str = "r", *rest: Any, **options: Any) -> Any:
        if self == path and "r" in mode:
            raise PermissionError(13, "Permission denied")
        return opened(self, mode, *rest, **options)

    monkeypatch.setattr(Path, "open", another_users)
    with caplog.at_level(logging.WARNING):
        assert load_or_make("things", make)["names"].tolist() == ["a", "bc"]
    assert "it cannot be read (PermissionError); it is made again" in caplog.text


def test_what_a_killed_process_left_is_swept(folder: Path) -> None:
    folder.mkdir()
    (folder / ".things.npz.77.partial").write_text("half")
    load_or_make("things", make)
    assert not list(folder.glob(".*"))


def test_unusable_named_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("COLDSTART_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(RequestError, match=r"COLDSTART_CACHE: .* cannot be written; name"):
        cache_folder()


def anonymous() -> int:
    """KiB that this process shares with no file."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="/proc is Linux's")
def test_large_arrays_are_mapped_and_nobody_has_a_copy(folder: Path) -> None:
    made = {"images": np.random.default_rng(0).integers(0, 256, (64, 1 << 19), dtype=np.uint8)}
    load_or_make("large", lambda: made)
    before = anonymous()
    again = load_or_make("large", refuse)
    assert np.array_equal(again["images"].sum(axis=1), made["images"].sum(axis=1))
    assert anonymous() - before < 8 << 10  # of 32 MiB that were all read
    again["images"][0, 0] += 1  # whoever writes has a page of its own
    assert np.array_equal(load_or_make("large", refuse)["images"], made["images"])


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.dtype("<U3"), np.bool_])
def test_arrays_of_every_kind_come_back(folder: Path, dtype: Any) -> None:
    for shape in ((3, 5), (0, 2), (), (700, 700)):
        made = {
            "a": np.ones(shape, dtype),
            "odd": np.ones((1 << 20) + 3, np.uint8),
            "b": np.ones(shape, dtype),
        }
        name = f"kind-{np.dtype(dtype).num}-{len(shape)}-{sum(shape)}"
        first, again = load_or_make(name, lambda made=made: made), load_or_make(name, refuse)  # type: ignore[misc]
        for key, array in made.items():
            assert again[key].dtype == array.dtype and again[key].shape == array.shape
            assert np.array_equal(again[key], array) and np.array_equal(first[key], array)
