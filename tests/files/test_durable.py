"""Files that a crash cannot tear: replaced whole or not at all, cut back, read as far as they are whole."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from coldstart_cli.errors import RequestError
from coldstart_cli.files.durable import (
    append_jsonl,
    copy_file,
    finite,
    flat,
    read_json,
    read_jsonl,
    remove,
    replacing,
    truncate,
    umask,
    write_bytes,
    write_json,
)


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_a_file_is_replaced_once_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_bytes(path, b"old")
    with replacing(path, 3) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new" and names(tmp_path) == ["file"]


def test_an_error_while_writing_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_bytes(path, b"old")
    with pytest.raises(KeyError), replacing(path, 3) as file:
        file.write(b"ne")
        raise KeyError("a crash")
    assert path.read_bytes() == b"old" and names(tmp_path) == ["file"]


def test_what_the_system_refuses_is_said_with_path_and_bytes(tmp_path: Path) -> None:
    with pytest.raises(
        RequestError, match=r"none/file: cannot write 3 bytes \(No such file or directory\); make"
    ):
        write_bytes(tmp_path / "none" / "file", b"new")


def test_a_copy_is_the_same_and_replaces(tmp_path: Path) -> None:
    source, path = tmp_path / "source", tmp_path / "copy"
    source.write_bytes(os.urandom(3 << 20))
    path.write_text("old")
    copy_file(source, path)
    assert path.read_bytes() == source.read_bytes() and names(tmp_path) == ["copy", "source"]


def test_half_a_line_of_a_crash_is_passed_over_and_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    first = append_jsonl(path, {"step": 1})
    append_jsonl(path, {"step": 2, "loss": math.inf})
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"step": 3')
    assert read_jsonl(path) == [{"step": 1}, {"step": 2, "loss": None}]
    assert truncate(path, first) == first and read_jsonl(path) == [{"step": 1}]
    path.write_bytes(whole[:-3])
    assert truncate(path, len(whole)) == first  # shorter than the checkpoint knows: the last whole line
    assert read_jsonl(tmp_path / "none") == []


def test_numbers_that_json_does_not_know_are_null(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"x": [1.5, math.nan], 2: {"y": -math.inf}})
    assert read_json(tmp_path / "a.json", "run") == {"x": [1.5, None], "2": {"y": None}}
    assert finite((1, "a", None)) == [1, "a", None]


@pytest.mark.parametrize("content", [b"{", b"[1]", b"\xff", b'{"a": NaN}'])
def test_a_damaged_file_is_named_with_what_to_do(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "card.json"
    path.write_bytes(content)
    with pytest.raises(RequestError, match=r"^bundle: \S+card\.json is damaged; make it again \(E32\)$"):
        read_json(path, "bundle", "make it again")
    with pytest.raises(RequestError, match=r"^run: \S+ is damaged; train again with again=true \(E32\)$"):
        read_json(path, "run")


def test_remove_takes_files_folders_links_and_nothing(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (tmp_path / "folder" / "deep").mkdir(parents=True)
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(kept)
    for name in ("folder", "file", "link", "nothing"):
        remove(tmp_path / name)
    assert names(tmp_path) == ["kept"]


def test_umask_is_read_and_left_as_it_was() -> None:
    before = os.umask(0o027)
    try:
        assert umask() == umask() == 0o027
    finally:
        os.umask(before)


def test_flat_joins_keys_and_keeps_what_is_empty() -> None:
    assert flat({"a": {"b": 1, "c": {"d": 2}}, "e": {}, "f": [3]}) == {
        "a.b": 1,
        "a.c.d": 2,
        "e": {},
        "f": [3],
    }
