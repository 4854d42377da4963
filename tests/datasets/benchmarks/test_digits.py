"""Digits: draws are pure, nested and disjoint; the query set is fixed; validation sees the source alone."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from coldstart_cli.datasets.benchmarks.digits import Digits
from coldstart_cli.errors import RequestError

VALUES: dict[str, object] = {
    "bank_seed": 0, "source": "MNIST", "new": "USPS", "size": 16, "n_source": 8, "n_validation": 12,
    "split_seed": 0, "k_shot": 2, "n_query": 3, "n_unlabelled": 3,
}  # fmt: skip


def write(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(exist_ok=True)
    header = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    path.write_bytes(gzip.compress(header + values.astype(np.uint8).tobytes()))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty images a digit, every one with a number of its own in its first two pixels."""
    folder = tmp_path_factory.mktemp("digits")
    random = np.random.default_rng(0)
    for number, prefix in enumerate(("MNIST/train-", "MNIST/t10k-", "USPS/usps-train-", "USPS/usps-test-")):
        labels = random.permutation(np.repeat(np.arange(10), 20))
        images = np.zeros((200, 16, 16))
        images[:, 0, 0], images[:, 0, 1], images[:, 1, 0] = np.arange(200), number, labels
        write(folder / f"{prefix}images-idx3-ubyte.gz", images)
        write(folder / f"{prefix}labels-idx1-ubyte.gz", labels)
    return folder


@pytest.fixture
def made(root: Path) -> Callable[..., Digits]:
    return lambda **changes: Digits(**{**VALUES, "root": str(root), **changes})  # type: ignore[arg-type]


def ids(inputs: object) -> list[tuple[int, int]]:
    """(file, number) of every image."""
    assert isinstance(inputs, torch.Tensor)
    return [(int(image[0, 0, 1]), int(image[0, 0, 0])) for image in inputs]


def test_digits_tasks_are_pure_and_balanced(made: Callable[..., Digits]) -> None:
    source = made()
    one, two = source.tasks("new", [3])[0], source.tasks("new", [0, 3])[1]
    assert torch.equal(one.support.inputs, two.support.inputs)  # type: ignore[arg-type]
    assert one.support.targets.tolist() == [c for c in range(10) for _ in range(2)]
    assert [int(image[0, 1, 0]) for image in one.support.inputs] == one.support.targets.tolist()  # type: ignore[union-attr]
    assert one.support.source_classes is not None
    assert one.support.source_classes.tolist() == list(range(10))


def test_digits_support_is_nested_and_disjoint_from_unlabelled(made: Callable[..., Digits]) -> None:
    source = made()
    supports = []
    for k in (0, 1, 2):
        task = source.with_shape(replace(source.shape, k_shot=k)).tasks("new", [0])[0]
        supports.append(set(ids(task.support.inputs)))
        unlabelled = ids(task.support.unlabelled)
        assert len(supports[-1]) == 10 * k
        assert len(set(unlabelled)) == 30
        assert not supports[-1] & set(unlabelled)
    assert supports[0] < supports[1] < supports[2]


def test_digits_query_set_is_the_whole_test_set_of_the_new_domain(made: Callable[..., Digits]) -> None:
    source = made()
    first, second = source.with_shape(replace(source.shape, n_query=1000)).tasks("new", [0, 1])
    assert sorted(ids(first.query.inputs)) == [(3, n) for n in range(200)]
    assert torch.equal(first.query.inputs, second.query.inputs)  # type: ignore[arg-type]
    some = made(n_query=2).tasks("new", [0])[0]
    assert len(some.query) == 20
    assert {file for file, _ in ids(first.support.inputs)} == {2}


def test_digits_validation_has_source_images_that_training_has_not(made: Callable[..., Digits]) -> None:
    source = made(n_query=2)
    pool = source.pool("train")
    trained = set(ids(pool.examples(torch.arange(len(pool))).inputs))
    assert len(trained) == 80
    drawn, queries = source.parts["validation"], source.parts["validation"].queries
    assert queries is not None
    assert {file for file, _ in trained} == {0}
    validation = set(ids(drawn.images)) | set(ids(queries.inputs))
    assert len(validation) == 120
    assert not validation & trained
    task, other = source.tasks("validation", [0, 1])
    assert len(task.query) == 20
    assert torch.equal(task.query.targets, other.query.targets)


def test_digits_pools_name_their_classes_and_fixed_queries(made: Callable[..., Digits]) -> None:
    source = made()
    new = source.pool("new")
    assert source.pool("train").names == new.names == tuple("0123456789")
    assert source.pool("train").queries is None
    assert new.queries is not None
    assert sorted(ids(new.queries.inputs)) == [(3, n) for n in range(200)]


def test_digits_training_tasks_have_disjoint_support_and_query(made: Callable[..., Digits]) -> None:
    task = made(n_query=3).tasks("train", [0])[0]
    assert not set(ids(task.support.inputs)) & set(ids(task.query.inputs))
    assert len(task.query) == 30


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"root": None}, "dataset.root: digits are read from a folder"),
        ({"root": "/nope"}, "dataset.root: /nope is not a folder"),
        ({"new": "MNIST"}, "dataset.new: MNIST is the source itself"),
        ({"n_source": 15}, "dataset.n_source: 15 \\+ 12 for validation is more than the 20 images"),
        (
            {"n_query": 7},
            "dataset: digits: train holds 80 images and a task needs 10 x 9; lower k_shot or n_q",
        ),
        (
            {"n_unlabelled": 19},
            "dataset: digits: new holds 200 images and a task needs 10 x 21; lower k_shot",
        ),
    ],
)
def test_digits_refusals_name_the_key(
    made: Callable[..., Digits], changes: dict[str, object], message: str
) -> None:
    with pytest.raises(RequestError, match=f"^{message}"):
        made(**changes)


def test_digits_refuse_other_ways(made: Callable[..., Digits]) -> None:
    source = made(n_query=3)
    assert "leave out n_way" in str(source.refusal("new", replace(source.shape, n_way=5)))


def test_digits_on_the_real_files(data_root: Path) -> None:
    folder = data_root / "digits"
    if not folder.is_dir():
        pytest.skip(f"no digits in {data_root}")
    source = Digits(**{**VALUES, "root": str(folder), "n_source": 200, "n_validation": 100})  # type: ignore[arg-type]
    assert len(source.pool("train")) == 2000
    assert source.facts()["new"] == "USPS, 7291 images, 2007 fixed queries"
    back = Digits(
        **{**VALUES, "root": str(folder), "n_source": 200, "source": "USPS", "new": "MNIST"}  # type: ignore[arg-type]
    )
    assert back.facts()["new"] == "MNIST, 60000 images, 10000 fixed queries"
    one, other = source.tasks("validation", [0, 1])  # the same images in two styles
    assert not torch.equal(one.query.inputs, other.query.inputs)  # type: ignore[arg-type]
    assert torch.equal(one.query.targets, other.query.targets)
