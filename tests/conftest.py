"""What all tests share: where data and caches are, and how many threads a worker may take."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


def pytest_configure(config: pytest.Config) -> None:
    """Sets what must be set before torch is imported, and what child processes inherit."""
    # The user's cache, even for tests that change HOME: the built-in glyphs are rendered once.
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "coldstart")
    os.environ.setdefault("COLDSTART_CACHE", str(cache))
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # as the command line does
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if workers > 1:  # else every worker starts as many threads as there are cores
        threads = str(max(1, (os.cpu_count() or 1) // workers))
        os.environ.setdefault("OMP_NUM_THREADS", threads)
        os.environ.setdefault("MKL_NUM_THREADS", threads)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The top of the repository."""
    return REPOSITORY


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real data sets: COLDSTART_DATA, else shared/data beside the repository."""
    asked = os.environ.get("COLDSTART_DATA")
    folder = Path(asked) if asked else REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is not a folder; set COLDSTART_DATA")
    return folder


@pytest.fixture
def torch_settings() -> Iterator[None]:
    """Building hardware sets torch up for it; the next test finds torch as it was."""
    import torch

    threads = torch.get_num_threads()
    yield
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)
