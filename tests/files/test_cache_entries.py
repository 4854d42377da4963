"""Entries of the cache folder: only ours, each with what lies beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from coldstart_cli.errors import RequestError
from coldstart_cli.files.cache_entries import cache_entries, chosen, remove_entry

OURS = (
    "features-0123456789abcdef.npz",
    "images-00112233.bin",
    "glyphs-00112233.npz",
    "omniglot-images_background.zip",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in (*OURS, "images-00112233.json", "thesis.docx", "features.npz"):
        (tmp_path / name).write_bytes(b"x" * 10)
    for name in ("features-0123456789abcdef.lock", "images-00112233.lock", ".half.partial"):
        (tmp_path / name).touch()
    for name in ("gguf-00112233445566", "baselines"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "part").write_bytes(b"x" * 7)
    (tmp_path / "gguf-ffffffffffffff").symlink_to(tmp_path / "baselines")
    return tmp_path


def test_only_names_of_ours_are_entries_and_the_others_are_counted(folder: Path) -> None:
    entries, others = cache_entries(folder)
    assert [entry.name for entry in entries] == sorted([*OURS, "baselines", "gguf-00112233445566"])
    assert others == 3  # thesis.docx, features.npz, the link
    sizes = {entry.kind: entry.n_bytes for entry in entries}
    assert sizes == {"features": 10, "images": 20, "datasets": 10, "downloads": 10, "gguf": 7, "baselines": 7}


def test_an_entry_goes_with_what_lies_beside_it_and_nothing_else(folder: Path) -> None:
    before = {path.name for path in folder.iterdir()}
    entries, _ = cache_entries(folder)
    for entry in chosen(entries, ["images", "gguf-00112233445566", "features"]):
        remove_entry(entry)
    assert before - {path.name for path in folder.iterdir()} == {
        "features-0123456789abcdef.npz", "features-0123456789abcdef.lock", "gguf-00112233445566",
        "images-00112233.bin", "images-00112233.json", "images-00112233.lock",
    }  # fmt: skip
    assert (folder / "baselines" / "part").exists()


def test_a_word_that_names_no_entry_is_refused(folder: Path) -> None:
    entries, _ = cache_entries(folder)
    assert chosen(entries, []) == entries
    with pytest.raises(RequestError, match=r"^cache: thesis.docx is no entry and no kind of one; known: fea"):
        chosen(entries, ["thesis.docx"])
