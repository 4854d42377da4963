"""A cache of the test session's own, the local data, and the settings of conf/dataset."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

from coldstart_cli.core.tasks import Inputs
from coldstart_cli.models.preprocess import Preprocess
from tests.kit.places import REPOSITORY


@pytest.fixture(scope="session", autouse=True)
def session_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Renders into a folder that all workers of the session share, unless one is named."""
    if os.environ.get("COLDSTART_CACHE"):
        yield
        return
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLDSTART_CACHE", str(shared / "cache"))
        yield


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Folder with real data sets, each in a folder of its own."""
    root = Path(os.environ.get("COLDSTART_DATA", REPOSITORY.parent / "shared" / "data"))
    if not root.is_dir():
        pytest.skip("no local data; set COLDSTART_DATA to a folder that holds omniglot/")
    return root


@pytest.fixture(scope="session")
def settings() -> Callable[[str], dict[str, Any]]:
    """The values of conf/dataset/<name>.yaml and of what it builds on, without the target."""

    def read(name: str) -> dict[str, Any]:
        text = (REPOSITORY / "conf" / "dataset" / f"{name}.yaml").read_text()
        values: dict[str, Any] = yaml.safe_load(text)
        for other in values.pop("defaults", ["_self_"])[:-1]:
            values = {**read(other), **values}
        values.pop("_target_", None)
        return values

    return read


class Bag(Preprocess):
    """Texts to counts of hashed words: what a model of text reads, without one."""

    fingerprint = "bag"
    reads_text = True

    def images(self, images: Tensor) -> Inputs:
        raise ValueError("model: it reads no images")

    def vectors(self, values: Tensor) -> Inputs:
        raise ValueError("model: it reads no numbers")

    def texts(self, texts: Sequence[str]) -> Inputs:
        counts = torch.zeros(len(texts), 32)
        for row, text in zip(counts, texts, strict=True):
            for word in text.lower().split():
                row[hashlib.md5(word.encode()).digest()[0] % 32] += 1
        return {"counts": counts}


@pytest.fixture(scope="session")
def bag() -> Preprocess:
    return Bag()


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache that this test alone fills."""
    monkeypatch.setenv("COLDSTART_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
