from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from requests.exceptions import ConnectionError as NoConnection

from coldstart_cli.core.tasks import TaskShape
from coldstart_cli.datasets.benchmarks import omniglot as splits_module
from coldstart_cli.datasets.benchmarks.omniglot import omniglot
from coldstart_cli.datasets.episodes.episodes import Episodes
from coldstart_cli.datasets.readers import omniglot as omniglot_files
from coldstart_cli.datasets.readers.omniglot import Character, Fate
from coldstart_cli.errors import RequestError

Settings = Callable[[str], dict[str, Any]]
FEW = {
    ("Greekish", "character01"): Fate("images_background", "t"),
    ("Greekish", "character02"): Fate("images_background", "t"),
    ("Latinish", "character01"): Fate("images_background", "t"),
    ("Latinish", "character02"): Fate("images_background", "v"),
    ("Newish", "character01"): Fate("images_evaluation", "n"),
    ("Newish", "character02"): Fate("images_evaluation", "n"),
    ("Twin_(like)", "character01"): Fate("images_background", "v"),
}


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Seven characters in the layout of Omniglot: 1-bit PNG files, ink 0."""
    monkeypatch.setenv("COLDSTART_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(omniglot_files, "characters", lambda: FEW)
    monkeypatch.setattr(splits_module, "characters", lambda: FEW)
    root = tmp_path / "data"
    for number, ((alphabet, character), fate) in enumerate(FEW.items()):
        folder = root / fate.folder / alphabet / character
        folder.mkdir(parents=True)
        for drawing in range(20):
            paper = np.full((105, 105), True)
            paper[10 : 30 + number * 8, 10 : 30 + drawing * 3] = False
            Image.fromarray(paper).convert("1").save(folder / f"{number:04d}_{drawing + 1:02d}.png")
    return root


@pytest.fixture
def tiny(settings: Settings) -> dict[str, Any]:
    changes = {"n_way": 2, "n_query": 3, "validation_alphabets": 1, "known_duplicates": []}
    return {**settings("omniglot"), **changes}


def names(source: Episodes, split: str, known: dict[Character, Fate]) -> set[Character]:
    return {list(known)[int(i) // 20] for i in source.splits[split].ids[source.splits[split].starts]}  # type: ignore[index]


def test_unpacked_and_zipped_files_are_the_same_data(fake: Path, tiny: dict[str, Any]) -> None:
    unpacked = omniglot(**{**tiny, "root": str(fake)})
    zips = fake.parent / "zips"
    for name in ("images_background", "images_evaluation"):
        shutil.make_archive(str(zips / name), "zip", fake, name)
    zipped = omniglot(**{**tiny, "root": str(zips)})
    assert unpacked.fingerprint == zipped.fingerprint
    assert isinstance(unpacked.inputs, torch.Tensor) and unpacked.inputs.shape == (140, 1, 28, 28)
    assert unpacked.inputs[0, 0, 4, 4] > 200 and unpacked.inputs[0, 0, -1, -1] == 0
    areas = unpacked.inputs.view(7, 20, -1).float().mean(-1)
    assert (areas.diff(dim=1) > 0).all() and (areas[:, 0].diff() > 0).all()
    assert len(list((fake.parent / "cache").glob("*.npz"))) == 2


def test_second_load_reads_the_cache(
    fake: Path, tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = omniglot(**{**tiny, "root": str(fake)})
    monkeypatch.setattr(omniglot_files, "_decoded", None)
    assert omniglot(**{**tiny, "root": str(fake)}).fingerprint == first.fingerprint


def test_splits_of_the_fake_follow_the_settings(fake: Path, tiny: dict[str, Any]) -> None:
    tiny["root"] = str(fake)
    background = omniglot(**tiny)
    trained, validated = names(background, "train", FEW), names(background, "validation", FEW)
    assert names(background, "new", FEW) == {("Newish", "character01"), ("Newish", "character02")}
    assert not {a for a, _ in trained} & {a for a, _ in validated} and len({a for a, _ in validated}) == 1
    vinyals = omniglot(**{**tiny, "split": "vinyals"})
    assert names(vinyals, "train", FEW) == {name for name, fate in FEW.items() if fate.vinyals == "t"}
    kept = omniglot(**{**tiny, "split": "vinyals", "known_duplicates": ["Greekish/character02"]})
    assert len(kept.splits["train"]) == 2
    with pytest.raises(
        RequestError, match=r"dataset.known_duplicates: Greekisch/character02 is not a character"
    ):
        omniglot(**{**tiny, "known_duplicates": ["Greekisch/character02"]})


def test_rotations_are_classes_of_their_own(fake: Path, tiny: dict[str, Any]) -> None:
    upright = omniglot(**{**tiny, "root": str(fake), "split": "vinyals"})
    turned = omniglot(**{**tiny, "root": str(fake), "split": "vinyals", "rotations": True})
    assert (
        len(turned.splits["train"])
        == 4 * len(upright.splits["train"])
        == turned.pool("train").objective.n_outputs
    )
    assert isinstance(turned.inputs, torch.Tensor) and len(turned.inputs) == 140
    one, quarter = (turned.pool("train").examples(torch.tensor([i])) for i in (0, 3 * 16))
    assert isinstance(one.inputs, torch.Tensor) and isinstance(quarter.inputs, torch.Tensor)
    assert torch.equal(one.inputs.rot90(1, (-2, -1)), quarter.inputs)
    assert (int(one.targets), int(quarter.targets)) == (0, 3)


def test_classes_have_names_that_every_split_uses(fake: Path, tiny: dict[str, Any]) -> None:
    source = omniglot(**{**tiny, "root": str(fake), "split": "vinyals"})
    assert source.pool("train").names == source.pool("source_test").names
    assert source.pool("new").names == ("Newish/character01", "Newish/character02")
    turned = omniglot(**{**tiny, "root": str(fake), "split": "vinyals", "rotations": True}).pool("new")
    assert len({*turned.names}) == turned.objective.n_outputs == 8
    assert turned.names[2] == "Newish/character01/rot090"


def test_held_out_drawings_are_kept_from_training(fake: Path, tiny: dict[str, Any]) -> None:
    source = omniglot(**{**tiny, "root": str(fake)})
    train, test = (set(source.splits[split].ids.tolist()) for split in ("train", "source_test"))
    assert not train & test and len(source.pool("source_test")) == 4 * len(source.splits["train"])
    everything = omniglot(**{**tiny, "root": str(fake), "held_out": 0})
    assert everything.splits["train"].sizes.tolist() == [20] * len(everything.splits["train"])
    assert "held out" in str(everything.refusal("source_test", everything.shape))


@pytest.mark.parametrize("damage", ["no folder", "half", "no drawing", "alien", "png", "zip"])
def test_bad_files_are_refused_in_one_line(fake: Path, tiny: dict[str, Any], damage: str) -> None:
    drawing = fake / "images_background" / "Greekish" / "character01" / "0000_07.png"
    root, reason = fake, ""
    if damage == "no folder":
        root, reason = fake / "nowhere", "nowhere is not a folder; name the folder"
    elif damage == "half":
        shutil.rmtree(fake / "images_evaluation")
        reason = "holds neither images_evaluation.zip nor images_evaluation/; name"
    elif damage == "no drawing":
        drawing.unlink()
        reason = "drawings of 1 of 7 characters are missing, first Greekish/character01; unpack"
    elif damage == "alien":
        shutil.copytree(drawing.parent, drawing.parent.parent / "character09")
        reason = "no drawing of Omniglot; unpack it anew"
    elif damage == "png":
        drawing.write_bytes(drawing.read_bytes()[:60])
        reason = "0000_07.png of .* is damaged; unpack"
    else:
        shutil.rmtree(fake / "images_evaluation")
        (fake / "images_evaluation.zip").write_bytes(b"PK not a zip")
        reason = "images_evaluation.zip is a damaged zip .*; fetch it anew"
    with pytest.raises(RequestError, match=f"^dataset.root: .*{reason}[^\n]*$"):
        omniglot(**{**tiny, "root": str(root)})


def test_download_that_fails_says_what_to_do(
    fake: Path, tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*_: object, **__: object) -> str:
        raise NoConnection("no network")

    monkeypatch.setattr("pooch.HTTPDownloader.__call__", offline)
    monkeypatch.setattr("pooch.core.time.sleep", lambda seconds: None)  # between two attempts
    with pytest.raises(
        RequestError, match=r"^dataset.root: https://github.com/.* set dataset.root to the folder"
    ):
        omniglot(**{**tiny, "root": None})


@pytest.fixture(scope="module")
def real(data_root: Path, settings: Settings) -> dict[str, Any]:
    if not (data_root / "omniglot").is_dir():
        pytest.skip("no local Omniglot; set COLDSTART_DATA to a folder that holds omniglot/")
    return {**settings("omniglot"), "root": str(data_root / "omniglot")}


def test_real_splits_have_the_sizes_of_the_papers(real: dict[str, Any]) -> None:
    background = omniglot(**real)
    assert len(background.splits["train"]) + len(background.splits["validation"]) == 963
    assert len(background.splits["new"]) == 659
    whole = {**real, "known_duplicates": [], "held_out": 0}
    for split, sizes in (("vinyals", [1028, 172, 423]), ("random", [1100, 100, 423])):
        source = omniglot(**{**whole, "split": split})
        assert [len(source.splits[part]) for part in ("train", "validation", "new")] == sizes
        assert source.with_shape(TaskShape(20, 5, 15, 0)).tasks("new", [0])[0].query.targets.shape == (300,)


def test_real_drawings_are_distinct_once_the_known_duplicate_is_left_out(real: dict[str, Any]) -> None:
    source = omniglot(**real)
    assert isinstance(source.inputs, torch.Tensor)
    images = [image.tobytes() for image in source.inputs.numpy()]
    for split in ("train", "validation", "source_test", "new"):
        for number in range(len(source.splits[split])):
            row = source.splits[split].members(number)
            assert len({images[i] for i in row}) == len(row)
    assert 10 < source.inputs.float().mean() < 60
