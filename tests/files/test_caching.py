"""The cache folder's bounds, and signatures of files that are not read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from coldstart_cli.files.caching import cache_folder, keep_newest, signature


def test_keep_newest_removes_what_was_used_longest_ago(tmp_path: Path) -> None:
    for age, name in enumerate(("new", "middle", "old")):
        (tmp_path / f"{name}.json").write_bytes(b"x" * 10)
        os.utime(tmp_path / f"{name}.json", (1000 - age, 1000 - age))
    (tmp_path / "other.txt").write_bytes(b"x" * 100)
    keep_newest(tmp_path, "*.json", 20)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["middle.json", "new.json", "other.txt"]


def test_keep_newest_removes_what_a_killed_process_left_a_day_ago(tmp_path: Path) -> None:
    old, new = tmp_path / ".a.json.7.partial", tmp_path / ".b.json.8.partial"
    for path in (old, new):
        path.write_text("half")
    os.utime(old, (1000, 1000))
    keep_newest(tmp_path, "*.json", 20)
    assert not old.exists() and new.exists()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data" / "below").mkdir(parents=True)
    (tmp_path / "data" / "one.py").write_text("1")
    (tmp_path / "data" / "below" / "two.py").write_text("2")
    return tmp_path / "data"


def same_times(path: Path, text: str) -> None:
    before = path.stat()
    path.write_text(text)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize(
    "change",
    [
        lambda f: (f / "three.py").write_text("3"),
        lambda f: (f / "below" / "two.py").unlink(),
        lambda f: (f / "one.py").rename(f / "other.py"),
        lambda f: same_times(f / "one.py", "9"),  # equal size and mtime: ctime tells
    ],
    ids=["added", "removed", "renamed", "rewritten in place"],
)
def test_signature_sees_every_change(folder: Path, change: object) -> None:
    before = signature([folder])
    assert before == signature([folder])
    change(folder)  # type: ignore[operator]
    assert signature([folder]) != before


def test_signature_reads_only_the_suffixes_asked_for(folder: Path) -> None:
    before = signature([folder], (".py",))
    (folder / "notes.txt").write_text("no code")
    assert signature([folder], (".py",)) == before != signature([folder])


def test_signature_is_unknown_of_too_many_files_or_one_that_is_missing(folder: Path) -> None:
    assert signature([folder], most=2) is None
    assert signature([folder / "nothing"]) is None


def test_a_cache_that_is_named_is_made_for_all_whom_the_umask_lets_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLDSTART_CACHE", str(tmp_path / "shared"))
    before = os.umask(0o022)
    try:
        assert cache_folder().stat().st_mode & 0o777 == 0o755
        monkeypatch.delenv("COLDSTART_CACHE")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own"))
        assert cache_folder().stat().st_mode & 0o777 == 0o700
    finally:
        os.umask(before)
