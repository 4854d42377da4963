"""A bundle's folder: what may lie in it, what is swept, and what the digests notice."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from coldstart_cli.bundles.bundle import Bundle
from coldstart_cli.bundles.kept.folder import Contents, read, write
from coldstart_cli.cli import main
from coldstart_cli.errors import RequestError
from tests.kit.bundles import as_format_1, weights_of


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle `b` with a base, of which its predictor reads nothing."""
    place = tmp_path_factory.mktemp("made")
    g = np.random.default_rng(0)
    np.savez(place / "points.npz", x=g.normal(size=(8, 4)).astype(np.float32), y=np.repeat(["ant", "bee"], 4))
    small = ("model=mlp", "model.hidden=[4]", "hardware=cpu", "hardware.threads=1", "experiment=smoke")
    data = ("dataset=arrays", f"dataset.root={place / 'points.npz'}", f"bundle={place / 'b'}")
    assert main(["adapt", *small, "strategy=nearest_centroid", "untrained=true", *data]) == 0
    written_with_base(place / "b", base(place / "base"))
    return place / "b"


@pytest.fixture
def bundle(made: Path, tmp_path: Path, torch_settings: None) -> Path:
    """A copy of it to spoil."""
    return Path(shutil.copytree(made, tmp_path / "b"))


def base(folder: Path, text: str = "a b c") -> Path:
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "vocab.txt").write_text(text)
    (folder / "model.bin").write_text("a pickle")
    return folder


def contents_of(folder: Path) -> Contents:
    return read(folder, lambda contents: contents)


def written_with_base(folder: Path, of: Path | None) -> None:
    found = contents_of(folder)
    write(folder, found.card, found.weights, of)


def names(folder: Path) -> list[str]:
    return sorted(p.name.split("-")[0] for p in folder.iterdir())


def test_a_bundle_names_each_file_by_its_content(bundle: Path) -> None:
    found = contents_of(bundle)
    assert found.card.files is not None and found.base is not None
    stored = {str(p.relative_to(bundle)) for p in bundle.rglob("*") if p.is_file()}
    assert stored == {"card.json", *found.card.files}
    assert sorted(p.name for p in found.base.iterdir()) == ["config.json", "vocab.txt"]  # no pickle


def test_another_base_takes_the_place_of_an_older_one(bundle: Path, tmp_path: Path) -> None:
    written_with_base(bundle, base(tmp_path / "other", "d e f"))
    found = contents_of(bundle)
    assert found.base is not None and (found.base / "vocab.txt").read_text() == "d e f"
    assert names(bundle) == ["base", "card.json", "weights"]
    written_with_base(bundle, None)
    assert contents_of(bundle).base is None and names(bundle) == ["card.json", "weights"]


@pytest.mark.parametrize(
    "litter", [".DS_Store", "._card.json", "Thumbs.db", "desktop.ini", ".nfs0000012", ".card.json.77.partial"]
)
def test_litter_is_ignored_and_what_a_killed_writer_left_is_swept(bundle: Path, litter: str) -> None:
    (bundle / litter).write_text("x")
    contents_of(bundle)
    written_with_base(bundle, None)
    assert (bundle / litter).exists() is not litter.endswith(".partial")


@pytest.mark.parametrize("name", ["run.py", "weights.pkl", ".hidden.py", "model.so", "base/tokenizer.py"])
def test_what_could_run_is_refused_wherever_it_lies(bundle: Path, name: str) -> None:
    place = bundle / name.replace("base/", f"{next(bundle.glob('base-*')).name}/")
    place.write_text("import os")
    with pytest.raises(RequestError, match="is not part of a bundle, which holds values only"):
        contents_of(bundle)


def test_a_file_that_was_added_to_the_base_is_refused(bundle: Path) -> None:
    next(bundle.glob("base-*")).joinpath("adapter_config.json").write_text("{}")
    with pytest.raises(RequestError, match=r"adapter_config\.json is not part of the bundle by"):
        contents_of(bundle)


@pytest.mark.parametrize("pattern", ["weights-*", "base-*/vocab.txt"])
def test_a_flipped_bit_is_noticed_in_every_file(bundle: Path, pattern: str) -> None:
    (path,) = bundle.glob(pattern)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(RequestError, match=r"it is not the file that card\.json names; make it again$"):
        contents_of(bundle)


def test_a_card_over_the_weights_of_another_bundle_is_refused(bundle: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(bundle, tmp_path / "other"))
    found = contents_of(other)
    write(other, found.card, found.weights + b" ", None)
    shutil.copy(other / "card.json", bundle / "card.json")
    with pytest.raises(RequestError, match="is damaged"):
        contents_of(bundle)


def test_a_bundle_of_format_1_is_read_and_written_over(bundle: Path) -> None:
    as_format_1(bundle)
    found = contents_of(bundle)
    assert found.base == bundle / "base" and found.card.files is None
    assert Bundle.load(bundle).card.labels == ("ant", "bee")
    written_with_base(bundle, None)
    assert contents_of(bundle).card.files and names(bundle) == ["card.json", "weights"]


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (lambda b: (b / "link").symlink_to("/etc/passwd"), "holds links"),
        (lambda b: (shutil.rmtree(b), b.write_text("mine")), "exists and is not a bundle"),
        (lambda b: ((b / "card.json").unlink(), (b / "mine.txt").touch()), "exists and is not a bundle"),
    ],
)  # fmt: skip
def test_what_is_no_bundle_is_not_written_to(
    bundle: Path, tmp_path: Path, spoil: Callable[[Path], object], line: str
) -> None:
    found = contents_of(bundle)
    spoil(bundle)
    before = sorted(p.name for p in bundle.rglob("*"))
    with pytest.raises(RequestError, match=line):
        write(bundle, found.card, found.weights, None)
    assert sorted(p.name for p in bundle.rglob("*")) == before


def test_a_pipe_in_place_of_the_weights_is_refused_at_once(bundle: Path) -> None:
    path = weights_of(bundle)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(RequestError, match="is damaged"):
        contents_of(bundle)
