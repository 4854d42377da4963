"""`coldstart cache` as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.kit.small_runs import Cli


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "cache"
    place.mkdir()
    for name in ("features-0123456789ab", "features-aaaaaaaaaaaa", "glyphs-0123456789ab"):
        (place / f"{name}.npz").write_bytes(b"x" * 2048)
    (place / "mine.txt").write_text("mine")
    monkeypatch.setenv("COLDSTART_CACHE", str(place))
    return place


def test_cache_lists_kinds_or_the_entries_of_some(folder: Path, cli: Cli) -> None:
    code, out, err = cli("cache")
    assert (code, err) == (0, "") and out.splitlines()[0].split()[:4] == ["features", "2", "4.0", "KiB"]
    assert out.endswith(f"{folder}: 3 entries, 6.0 KiB; 1 more there of others\n")
    _, out, _ = cli("cache", "features")
    assert out.splitlines()[0].startswith("features-0123456789ab.npz    2.0 KiB  ") and "glyphs" not in out
    _, out, _ = cli("cache", "glyphs-0123456789ab.npz", "--json")
    (row,) = json.loads(out)
    assert row["kind"] == "datasets" and row["bytes"] == 2048


def test_cache_removes_what_is_named_and_says_what_was_freed(folder: Path, cli: Cli) -> None:
    code, _, err = cli("cache", "--remove", "features")
    assert code == 2 and err.startswith("cache: would remove 2 entries of ") and "--yes does it" in err
    assert len(list(folder.iterdir())) == 4
    code, out, _ = cli("cache", "--remove", "features", "--yes")
    assert (code, out) == (0, "removed 2 entries, freed 4.0 KiB\n")
    assert sorted(path.name for path in folder.iterdir()) == ["glyphs-0123456789ab.npz", "mine.txt"]
    assert cli("cache", "--remove", "features", "--yes")[1] == "nothing to remove\n"


@pytest.mark.parametrize(
    ("words", "line"),
    [(("--remove",), "cache: --remove takes what to remove"), (("mine.txt",), "cache: mine.txt is no entry")],
)
def test_cache_refuses_what_it_does_not_know(
    folder: Path, cli: Cli, words: tuple[str, ...], line: str
) -> None:
    code, out, err = cli("cache", *words)
    assert (code, out) == (2, "") and err.startswith(line) and err.count("\n") == 1
