from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from coldstart_cli.core.tasks import Inputs
from coldstart_cli.datasets.own import layouts
from coldstart_cli.datasets.own.arrays import arrays
from coldstart_cli.datasets.own.labelled import Labelled
from coldstart_cli.datasets.readers import npz
from coldstart_cli.datasets.readers.problems import Problems
from coldstart_cli.errors import RequestError
from coldstart_cli.models.preprocess import Plain

Read = Callable[..., Labelled]
X = np.arange(60, dtype=np.float64).reshape(20, 3)
Y = np.arange(20) % 2


def tensor(inputs: Inputs) -> torch.Tensor:
    assert isinstance(inputs, torch.Tensor)
    return inputs


@pytest.fixture
def read(settings: Callable[[str], dict[str, Any]], tmp_path: Path) -> Read:
    def call(*, changes: dict[str, Any] | None = None, **content: Any) -> Labelled:
        np.savez(tmp_path / "data.npz", **content)
        return arrays(
            Plain(), **{**settings("arrays"), "root": str(tmp_path / "data.npz"), **(changes or {})}
        ).labelled

    return call


@pytest.mark.parametrize("kind", ["f8", ">f4", "f2", "i4", "u2", "?"])
def test_numbers_become_float32(read: Read, kind: str) -> None:
    labelled = read(x=X.astype(kind), y=Y)
    assert tensor(labelled.inputs).dtype == torch.float32
    assert np.array_equal(tensor(labelled.inputs).numpy(), X.astype(kind).astype(np.float32))
    assert labelled.classes == ("0", "1") and labelled.places[4] == "data.npz row 4"


def test_images_stay_bytes_and_go_through_the_image_preprocess(read: Read) -> None:
    labelled = read(x=np.zeros((20, 3, 8, 8), np.uint8), y=np.array(["b", "a"] * 10))
    assert tensor(labelled.inputs).dtype == torch.uint8 and labelled.recipe["images"]
    assert labelled.classes == ("a", "b") and labelled.targets[0] == 1
    assert not read(x=np.zeros((20, 8, 8), np.uint8), y=Y).recipe["images"]


def test_reals_are_a_regression_and_tasks_are_named(read: Read) -> None:
    one = read(x=X, y=Y + 0.5, k=np.repeat([3, 1], 10), changes={"task_key": "k"})
    assert one.targets.shape == (20, 1) and one.classes == () and one.tasks == ("1", "3")
    assert read(x=X, y=X[:, :2]).targets.shape == (20, 2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": X, "y": Y}, r"data.npz: has no array x \(dataset.x_key\)"),
        ({"x": X, "labels": Y}, r"has no array y \(dataset.y_key\)"),
        ({"x": X, "y": Y[:7]}, r"y has shape \(7,\) beside 20 rows of x"),
        ({"x": X[:, 0], "y": Y}, r"x is float64 of shape \(20,\); give numbers of shape"),
        ({"x": X.astype(complex), "y": Y}, "x is complex128"),
        ({"x": X.astype(str), "y": Y}, "x is <U"),
        ({"x": X, "y": np.stack([Y, Y], 1)}, r"y is int64 of shape \(20, 2\)"),
        ({"x": np.where(X == 7, np.nan, X), "y": Y}, "data.npz row 2: x is not finite; repair it"),
        ({"x": X, "y": np.where(Y == 1, np.inf, 0.5)}, "data.npz row 1: y is not finite"),
        ({"x": X[:0], "y": Y[:0]}, "holds no example"),
        ({"x": np.asfortranarray(X), "y": Y}, "x is in Fortran order"),
    ],
)
def test_bad_arrays_are_one_line(read: Read, content: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        read(**content)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["x", "y"])
def test_objects_are_refused_and_never_unpickled(tmp_path: Path, read: Read, name: str) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (pytest.fail, ("it was unpickled",))

    trapped = np.empty((20, 1), dtype=object)
    trapped[:] = Trap()
    with pytest.raises(RequestError, match=f"{name} holds Python objects, which could run code"):
        read(**{**{"x": X, "y": Y}, name: trapped})


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "flip", "huge"])
def test_damaged_files_are_refused(read: Read, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "data.npz"
    np.savez(path, x=X, y=Y)
    content = path.read_bytes()
    if damage == "huge":  # a header that promises more than there is
        with zipfile.ZipFile(path, "w") as archive:
            header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (100, 1000000000000), }"
            archive.writestr("x.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
            archive.writestr("y.npy", b"")
    else:
        flipped = bytearray(content)
        flipped[200] ^= 255
        path.write_bytes({"empty": b"", "text": b"hi", "cut": content[:300], "flip": bytes(flipped)}[damage])
    settings = {"x_key": "x", "y_key": "y", "task_key": None, "split_key": None}
    recipe = {"layout": "arrays", **settings, "example_shape": None, "images": False}
    with pytest.raises(RequestError, match=r"empty|no npz file|damaged|name a folder with room"):
        layouts.read_labelled(recipe, Plain(), str(path), unlabelled=None, on_bad="stop")


def test_rows_that_are_not_finite_are_skipped(read: Read) -> None:
    with pytest.warns(RuntimeWarning, match="1 could not be read and left out: data.npz row 2"):
        labelled = read(x=np.where(X == 7, np.nan, X), y=Y, changes={"on_bad": "skip"})
    assert len(labelled) == 19 and tensor(labelled.inputs)[2, 0] == 9


def test_large_arrays_are_mapped_from_disk(
    read: Read, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = read(x=X, y=Y)
    monkeypatch.setattr(npz, "IN_MEMORY", 100)
    monkeypatch.setattr(npz, "_CHUNK", 70)  # values are cut between reads
    mapped = read(x=X, y=Y)
    assert mapped.fingerprint == before.fingerprint
    assert not list(own_cache.glob(".arrays*"))  # gone with its process
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("", (), {"free": 10}))
    with pytest.raises(RequestError, match=r"COLDSTART_CACHE: .* name a folder with room"):
        read(x=X, y=Y)


def test_raw_arrays_have_the_shape_of_the_source(read: Read, tmp_path: Path) -> None:
    labelled = read(x=X, y=Y)
    np.savez(tmp_path / "new.npz", x=X[:5])
    chunks = list(
        layouts.read_raw(
            labelled.recipe, Plain(), str(tmp_path / "new.npz"), problems=Problems("stop"), chunk=3
        )
    )
    assert [len(c) for c in chunks] == [3, 2] and chunks[1].places[0] == "new.npz row 3"
    np.savez(tmp_path / "new.npz", x=X[:5, :2])
    with pytest.raises(RequestError, match=r"have shape \(2,\), the model reads \(3,\)"):
        list(
            layouts.read_raw(
                labelled.recipe, Plain(), str(tmp_path / "new.npz"), problems=Problems("stop"), chunk=3
            )
        )


def test_channels_last_are_asked_about_and_read_as_said(read: Read) -> None:
    x = np.random.default_rng(0).integers(0, 255, (20, 9, 8, 3)).astype(np.uint8)
    with pytest.raises(RequestError, match=r"x has shape \(20, 9, 8, 3\), channels last as it seems"):
        read(x=x, y=Y)
    last = read(x=x, y=Y, changes={"channel_axis": "last"})
    assert last.recipe["images"] and np.array_equal(tensor(last.inputs).numpy(), x.transpose(0, 3, 1, 2))
    first = read(x=x, y=Y, changes={"channel_axis": "first"})
    assert not first.recipe["images"] and tensor(first.inputs).shape == (20, 9, 8, 3)
    (raw,) = layouts.raw_values(last.recipe, Plain(), x[:5], chunk=9)
    assert torch.equal(tensor(raw.inputs), tensor(last.inputs)[:5])


def test_a_recipe_of_before_reads_channels_first_without_a_question(read: Read, tmp_path: Path) -> None:
    x = np.zeros((20, 9, 8, 3), np.float32)
    recipe = dict(read(x=x, y=Y, changes={"channel_axis": "first"}).recipe)
    for key in ("channel_axis", "standardise", "scale"):
        del recipe[key]
    again = layouts.read_labelled(recipe, Plain(), str(tmp_path / "data.npz"), unlabelled=None, on_bad="stop")
    assert tensor(again.inputs).shape == (20, 9, 8, 3)


@pytest.mark.parametrize("shape", [(20, 3), (20, 3, 5)])
def test_standardised_numbers_have_mean_0_and_deviation_1_and_so_have_further_ones(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    x = np.random.default_rng(0).normal(1e4, 7, shape)
    x[:, 2] = 0.1  # constant: its deviation of rounding must not be divided by
    np.savez(tmp_path / "one.npz", x=x, y=Y)
    node = {"x_key": "x", "y_key": "y", "task_key": None, "split_key": None, "channel_axis": None}
    recipe = layouts.fresh_recipe("arrays", {**node, "standardise": True})
    found = layouts.read_labelled(recipe, Plain(), str(tmp_path / "one.npz"), unlabelled=None, on_bad="stop")
    values = tensor(found.inputs).transpose(0, 1).flatten(1)
    torch.testing.assert_close(values.mean(1), torch.zeros(3), atol=1e-3, rtol=0)
    torch.testing.assert_close(values.std(1, correction=0)[:2], torch.ones(2), atol=1e-3, rtol=0)
    (raw,) = layouts.raw_values(found.recipe, Plain(), x[:4], chunk=9)
    torch.testing.assert_close(tensor(raw.inputs), tensor(found.inputs)[:4])


def test_features_of_very_different_scales_deserve_a_word(read: Read) -> None:
    x = np.random.default_rng(0).normal(0, 1, (20, 3)) * [1, 1, 1000]
    with pytest.warns(RuntimeWarning, match=r"x is read as it is, with deviations from .*standardise=true"):
        read(x=x, y=Y)
