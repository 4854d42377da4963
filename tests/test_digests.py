"""Hashes that name runs, tasks and caches: what they were when the first of these was written."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from coldstart_cli.config import composition
from coldstart_cli.core.contents import content_hash
from coldstart_cli.core.objectives import Classification
from coldstart_cli.core.tasks import Examples, Support, Task
from coldstart_cli.datasets.benchmarks.digits import Digits
from coldstart_cli.datasets.readers import omniglot
from coldstart_cli.datasets.readers.cache import load_or_make
from coldstart_cli.digests import (
    Part,
    digest,
    file_digest,
    json_digest,
    row_hashes,
    tensor_parts,
    whole_digest,
)
from coldstart_cli.experiment.parts import source_of
from coldstart_cli.metrics.measures import bank_digest
from coldstart_cli.models.pretrained.features import WORTH_KEEPING
from coldstart_cli.models.pretrained.hf import content_digest
from coldstart_cli.models.pretrained.text import FrozenText, HFText
from coldstart_cli.models.pretrained.vision import FrozenImage
from coldstart_cli.runs.run import read_config, run_name
from coldstart_cli.training.randomness import step_seed
from tests.kit.places import REPOSITORY
from tests.kit.small_sources import episodes

EARLIER = REPOSITORY / "tests" / "data" / "flat_layout"


def task(inputs: Tensor | dict[str, Tensor]) -> Task:
    targets = torch.tensor([0, 1])
    return Task(Support(inputs, targets, Classification(2), 7), Examples(inputs, targets), "new/0")


def test_hash_of_a_task_is_the_stored_one() -> None:
    images = torch.arange(24).reshape(2, 1, 3, 4).to(torch.uint8)
    tokens = {
        "input_ids": torch.arange(6).reshape(2, 3),
        "attention_mask": torch.ones(2, 3, dtype=torch.bool),
    }
    found = [content_hash(task(inputs)) for inputs in (images, images.float() / 7, images.mT, tokens)]
    assert found == ["2b5f576d", "1603922b", "7cc05a7d", "a851e284"]


SOURCES = {
    "c2f113f7a566cfdd": ("dataset=sinusoid",),
    "510029ffb5087526": ("dataset=glyphs",),
    "e8cbf46053fda66e": ("dataset=glyph_shift",),
    "49daefbaa7256f88": ("dataset=tabular", "dataset.root=table.csv", "dataset.n_way=2", "dataset.n_query=1"),
    "12a3715b650c12d6": ("dataset=tabular", "dataset.root=few.csv", "dataset.n_query=1"),
    "f1e0716ae4057037": ("dataset=arrays", "dataset.root=data.npz", "dataset.n_way=2", "dataset.n_query=1"),
}


@pytest.mark.parametrize("stored", SOURCES)
def test_fingerprint_of_a_source_is_the_stored_one(
    stored: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [f"{(i * 37) % 11},{'red' if i % 3 else 'blue'},c{i % 8}" for i in range(80)]
    Path("table.csv").write_text("\n".join(["age,colour,label", *rows, ""]))
    Path("few.csv").write_text("age,colour,label\n10,red,a\n20,blue,a\n,red,b\n30,,b\n")
    np.savez("data.npz", x=np.arange(240, dtype=np.float64).reshape(80, 3), y=np.arange(80) % 8)
    ((_, config),) = composition.points(["strategy=protonet", *SOURCES[stored]])
    assert source_of(config).fingerprint == stored


def test_fingerprint_of_episodes_is_the_stored_one() -> None:
    assert episodes().fingerprint == "fc053545309abb1f"


@pytest.mark.parametrize("path", sorted(EARLIER.glob("*-s0-*")), ids=lambda path: path.name)
def test_name_of_an_earlier_run_is_the_stored_one(path: Path) -> None:
    environment = json.loads((path / "environment.json").read_text())
    assert run_name(read_config(path / "config.yaml"), environment["fingerprint"]) == path.name


def test_hashes_of_settings_steps_and_banks_are_the_stored_ones() -> None:
    assert step_seed(3, 17) == 2624069201
    assert json_digest({"b": [1, 2.5, None], "a": "ä"}) == "4b12564b"
    assert bank_digest(["0a", "1b"]) == "84756bb880b6c2bf"


def test_digest_of_a_model_folder_is_the_stored_one(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "w.safetensors").write_bytes(bytes(100))
    assert content_digest(tmp_path, ("*.safetensors", "config.json")) == "8d88cfad0f6787ff"


def test_kept_array_is_checked_by_the_stored_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLDSTART_CACHE", str(tmp_path))
    names = np.array(["a", "bc"])
    load_or_make("thing", lambda: {"x": np.arange(6.0).reshape(2, 3).T, "names": names, "n": np.array(3)})
    with np.load(tmp_path / "thing.npz") as kept:
        assert kept["sha256"].item() == "5f1add35e7cf8be60c64f6052c370b7403f2069056ff264b77e721ff54633741"


def test_features_are_kept_under_the_stored_names() -> None:
    names: list[str] = []

    def cached(name: str, make: Any) -> dict[str, Any]:
        names.append(name)
        return {"features": np.zeros((1, 1), dtype=np.float32)}

    texts, images = object.__new__(FrozenText), object.__new__(FrozenImage)
    texts.cached = images.cached = cached
    texts.fingerprint = images.fingerprint = "features-f"
    texts.texts([f"{i} \ud800" for i in range(WORTH_KEEPING)])
    images.images(torch.arange(WORTH_KEEPING * 8).reshape(-1, 2, 2, 2).to(torch.uint8))
    assert names == ["features-c9a2887054b0a44932f2cafc", "features-2de3d7b18e1a60fe6a148d9e"]


def test_fingerprint_of_digits_is_the_stored_one() -> None:
    digits = object.__new__(Digits)
    images, labels = torch.arange(8).reshape(2, 1, 2, 2).to(torch.uint8), np.array([1, 0])
    queries = Examples(images + 1, torch.tensor([1, 0]))
    parts: Any = {
        "train": SimpleNamespace(images=images, labels=labels, queries=None),
        "new": SimpleNamespace(images=images, labels=labels, queries=queries),
    }
    digits.bank_seed, digits.parts = 3, parts
    assert digits._fingerprint() == "ec858529e8a4b158"


def test_digest_of_an_archive_of_characters_is_the_stored_one(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(bytes(range(200)))
    assert omniglot._digest({"images_background": tmp_path / "a.zip"}) == "071f69d79ddfb0d5"


def test_digest_of_frozen_weights_is_the_stored_one() -> None:
    encoder: Any = HFText.__new__(HFText)
    nn.Module.__init__(encoder)
    encoder.body = nn.Linear(2, 1)
    with torch.no_grad():
        encoder.body.weight.copy_(torch.tensor([[1.0, 2.0]]))
        encoder.body.bias.fill_(3)
    encoder.freeze()
    stored = "8e628779e6a74ee0b36991c10158f63cafec7d340ad4e075592502c8708524dd"
    assert bytes(encoder.digest.tolist()).hex() == stored


def test_digest_is_the_sha256_of_its_parts_one_after_the_other(tmp_path: Path) -> None:
    numbers = np.arange(6, dtype=np.int32).reshape(2, 3)
    whole = hashlib.sha256("ä".encode() + b"b" + numbers.tobytes() * 2 + b"c")
    parts: list[Part] = ["ä", b"b", numbers, torch.from_numpy(numbers), memoryview(b"c")]
    assert digest(parts, 64) == whole_digest(parts).hex() == whole.hexdigest()
    assert digest(iter(parts)) == whole.hexdigest()[:16]
    (tmp_path / "a").write_bytes(b"abc")
    assert file_digest(tmp_path / "a") == digest(["abc"], 64)
    assert file_digest(tmp_path / "a", "md5") == hashlib.md5(b"abc").hexdigest()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.uint8, torch.complex64])
def test_digest_reads_tensors_of_every_type_in_the_order_of_their_places(dtype: torch.dtype) -> None:
    tensor = torch.tensor([[0, 1, 2], [3, 4, 0]]).to(dtype)
    assert digest([tensor.T]) == digest([tensor.T.contiguous()]) != digest([tensor])
    assert digest([tensor.clone().requires_grad_(tensor.is_floating_point())]) == digest([tensor])
    assert digest([torch.tensor(1).to(dtype)]) == digest([torch.ones(1, dtype=dtype)])
    assert digest([tensor[:0], "a"]) == digest(["a"])


def test_task_of_bfloat16_has_a_hash() -> None:
    inputs = torch.randn(2, 3, generator=torch.Generator().manual_seed(0)).bfloat16()
    assert content_hash(task(inputs)) == content_hash(task(inputs.clone()))
    assert content_hash(task(inputs)) != content_hash(task(inputs.float()))


def test_parts_of_tensors_tell_names_types_and_shapes_apart() -> None:
    zeros = torch.zeros(2, 3)
    given: list[Any] = [zeros, {"a": zeros}, {"b": zeros}, zeros.T, zeros.int(), {"a": zeros, "b": zeros}]
    assert len({digest(tensor_parts(inputs)) for inputs in given}) == len(given)
    either, other = {"a": zeros, "b": zeros + 1}, {"b": zeros + 1, "a": zeros}
    assert digest(tensor_parts(either)) == digest(tensor_parts(other))


def test_row_hashes_are_equal_for_equal_rows_alone() -> None:
    a, b, c = row_hashes(np.array([[1, 2], [2, 1], [1, 2]], dtype=np.uint8)).tolist()
    assert a == c != b
