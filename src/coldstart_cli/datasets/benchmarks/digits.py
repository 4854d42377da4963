"""Handwritten digits across a shift of domain: MNIST (28x28) and USPS (16x16), ten classes in both.

A new task is a draw of k labelled images a class, and of unlabelled ones, from the other domain's training
set; its query set is that domain's test set, always the same. The protocol of few labelled targets is that
of Motiian et al. (2017, arXiv:1709.10190), section 4.2, with the validation of Hedegaard, Sheikh-Omar and
Iosifidis (2020, arXiv:2004.11262): no test image chooses anything. Here validation sees no image of the new
domain either: its tasks are source images under a distortion drawn for each task.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, final

import numpy as np
import torch
from annotated_types import Ge
from numpy.typing import NDArray
from torch import Tensor

from coldstart_cli.core.objectives import Classification
from coldstart_cli.core.tasks import Examples, Pool, Split, Support, Task, TaskShape, TaskSource
from coldstart_cli.datasets.episodes.counter import Ids, Words, order, seeds, task_keys, uniforms, words
from coldstart_cli.datasets.episodes.shapes import no_task, reshaped
from coldstart_cli.datasets.readers.distortion import distorted, resized
from coldstart_cli.datasets.readers.idx import read_idx
from coldstart_cli.digests import Part, digest
from coldstart_cli.errors import RequestError

N_CLASSES = 10
Domain = Literal["MNIST", "USPS"]
FILES: dict[Domain, tuple[str, str]] = {
    "MNIST": ("MNIST/train-", "MNIST/t10k-"),
    "USPS": ("USPS/usps-train-", "USPS/usps-test-"),
}

# Streams of the counter: every kind of choice has its own, so that none moves another.
_ORDER, _STYLE, _SUPPORT_SEED = range(3)


@dataclass(frozen=True, slots=True)
class _Part:
    """Images (n, 1, size, size) uint8 and labels (n,) that tasks of a split are drawn from.

    `queries` are the split's fixed query set; None: queries are drawn beside the support.
    """

    images: Tensor
    labels: NDArray[np.int64]
    queries: Examples | None

    def take(self, ids: Ids) -> Examples:
        return Examples(self.images[torch.from_numpy(ids)], torch.from_numpy(self.labels[ids]))


@final
class Digits(TaskSource):
    """The ten digits of one domain as the source, of the other as new tasks.

    Args:
        bank_seed: determines the draws, not the data.
        root: folder with MNIST/ and USPS/, gzipped IDX files.
        source: domain of the source.
        new: domain of the new tasks.
        size: height and width that all images are resized to, in pixels.
        n_source: source images a class.
        n_validation: further source images a class, for validation tasks: half to draw from, half queries.
        split_seed: determines which source images these are.
        k_shot: labelled images a class of the new domain.
        n_query: query images a class; on new tasks the first of the test set, and all of it where there
            are not more.
        n_unlabelled: unlabelled images of the new domain for each class, drawn without regard to class.

    Raises:
        RequestError: at missing or damaged files, and where they cannot serve such tasks.
    """

    shares_labels = True

    def __init__(
        self,
        *,
        bank_seed: Annotated[int, Ge(0)],
        root: str | None,
        source: Domain,
        new: Domain,
        size: Annotated[int, Ge(8)],
        n_source: Annotated[int, Ge(1)],
        n_validation: Annotated[int, Ge(2)],
        split_seed: Annotated[int, Ge(0)],
        k_shot: Annotated[int, Ge(0)],
        n_query: Annotated[int, Ge(1)],
        n_unlabelled: Annotated[int, Ge(0)],
    ) -> None:
        if source == new:
            raise RequestError(f"dataset.new: {new} is the source itself; choose the other domain")
        self.bank_seed, self.source, self.new = bank_seed, source, new
        self.shape = TaskShape(N_CLASSES, k_shot, n_query, n_unlabelled)
        self.input_shape = (1, size, size)
        folder = _folder(root)
        (source_train, source_test), (new_train, new_test) = (_read(folder, d, size) for d in (source, new))
        train, validation = _subsets(source_train, n_source, n_validation, split_seed, source)
        self.parts: dict[Split, _Part] = {
            "train": train,
            "validation": validation,
            "source_test": _halved(source_test),
            "new": _Part(new_train.images, new_train.labels, _shuffled(new_test)),
        }
        self.fingerprint = self._fingerprint()
        for split in ("train", "new"):
            reason = self.refusal(split, self.shape)
            if reason is not None:
                raise RequestError(f"dataset: {reason}")

    @property
    def objective(self) -> Classification:
        return Classification(N_CLASSES)

    def tasks(self, split: Split, indices: Sequence[int]) -> list[Task]:
        """Draws number `indices`: support (10 * k_shot, 1, size, size), class by class.

        Unlabelled (10 * n_unlabelled, ...) are drawn from the rest, as often of a class as it occurs; those
        of `train` have none, and queries of their own instead of the split's fixed ones.
        """
        reason = self.refusal(split, self.shape)
        if reason is not None:
            raise ValueError(reason)
        keys = task_keys(self.bank_seed, split, indices)
        drawn = zip(indices, keys, seeds(keys, _SUPPORT_SEED), strict=True)
        return [self._task(split, index, np.atleast_1d(key), seed) for index, key, seed in drawn]

    def pool(self, split: Split) -> Pool:
        part = self.parts[split]
        return _DigitsPool(part, self.new if split == "new" else self.source)

    def refusal(self, split: Split, shape: TaskShape) -> str | None:
        if shape.n_way != N_CLASSES:
            return f"digits: every task has all {N_CLASSES} classes, not {shape.n_way}; leave out n_way"
        reason = no_task("digits", shape)
        if reason is not None:
            return reason
        part = self.parts[split]
        poorest = int(np.bincount(part.labels, minlength=N_CLASSES).min())
        if shape.k_shot > poorest:
            return f"digits: a class of {split} has {poorest} images; lower k_shot from {shape.k_shot}"
        beside = shape.n_query if split == "train" else shape.n_unlabelled
        wanted = shape.k_shot + beside
        if N_CLASSES * wanted > len(part.labels):
            return (
                f"digits: {split} holds {len(part.labels)} images and a task needs {N_CLASSES} x {wanted}; "
                f"lower k_shot or {'n_query' if split == 'train' else 'n_unlabelled, or raise n_validation'}"
            )
        return None

    def with_shape(self, shape: TaskShape) -> Digits:
        return reshaped(self, shape)

    def facts(self) -> dict[str, str]:
        def described(split: Split, part: _Part) -> str:
            queries = "" if part.queries is None else f", {len(part.queries)} fixed queries"
            return f"{self.new if split == 'new' else self.source}, {len(part.labels)} images{queries}"

        return {split: described(split, part) for split, part in self.parts.items()}

    def _task(self, split: Split, index: int, key: Words, seed: int) -> Task:
        part, shape = self.parts[split], self.shape
        shuffled = order(words(key, _ORDER, len(part.labels)))[0]
        labels = part.labels[shuffled]
        support = np.concatenate([shuffled[labels == c][: shape.k_shot] for c in range(N_CLASSES)])
        rest = shuffled[~np.isin(shuffled, support)]
        n_unlabelled, n_query = N_CLASSES * shape.n_unlabelled, N_CLASSES * shape.n_query
        unlabelled, query = part.images[torch.from_numpy(rest[:n_unlabelled])], part.queries
        query = (
            part.take(rest[:n_query]) if query is None else query.take(torch.arange(min(n_query, len(query))))
        )
        examples = part.take(support)
        inputs, queries = examples.inputs, query.inputs
        if split == "validation":
            assert isinstance(inputs, Tensor) and isinstance(queries, Tensor)
            inputs, queries, unlabelled = (
                distorted(x, uniforms(key, _STYLE, 5)[0]) for x in (inputs, queries, unlabelled)
            )
        return Task(
            Support(
                inputs,
                examples.targets,
                self.objective,
                seed,
                unlabelled if n_unlabelled and split != "train" else None,
                torch.arange(N_CLASSES),
            ),
            Examples(queries, query.targets),
            f"{split}/{index}",
        )

    def _fingerprint(self) -> str:
        parts: list[Part] = [f"{self.bank_seed}"]
        for split, part in self.parts.items():
            parts += [split, part.images, part.labels]
            if part.queries is not None:
                parts.append(part.queries.inputs)  # type: ignore[arg-type]
        return digest(parts)


@final
class _DigitsPool(Pool):
    """All images of a split."""

    def __init__(self, part: _Part, domain: Domain) -> None:
        self.objective, self.groups = Classification(N_CLASSES), (domain,) * N_CLASSES
        self.names, self.queries = tuple(str(digit) for digit in range(N_CLASSES)), part.queries
        self._part = part

    def __len__(self) -> int:
        return len(self._part.labels)

    def examples(self, indices: Tensor) -> Examples:
        return self._part.take(indices.cpu().numpy())


def _folder(root: str | None) -> Path:
    if root is None:
        raise RequestError(
            "dataset.root: digits are read from a folder with MNIST/ and USPS/ (gzipped IDX files); "
            "name it with dataset.root=DIR"
        )
    folder = Path(root).expanduser()
    if not folder.is_dir():
        raise RequestError(f"dataset.root: {folder} is not a folder; name one that holds MNIST/ and USPS/")
    return folder


def _read(folder: Path, domain: Domain, size: int) -> tuple[_Part, _Part]:
    """(training, test) images of a domain, resized."""
    parts = []
    for prefix in FILES[domain]:
        images = read_idx(folder / f"{prefix}images-idx3-ubyte.gz")
        labels = read_idx(folder / f"{prefix}labels-idx1-ubyte.gz")
        if images.ndim != 3 or labels.shape != images.shape[:1] or int(labels.max(initial=0)) >= N_CLASSES:
            raise RequestError(
                f"dataset.root: {folder / prefix}*: images and labels do not match; fetch them anew"
            )
        parts.append(_Part(resized(images, size), labels.astype(np.int64), None))
    return parts[0], parts[1]


def _subsets(
    part: _Part, n_source: int, n_validation: int, split_seed: int, domain: Domain
) -> tuple[_Part, _Part]:
    """`n_source` images a class, and of `n_validation` others half to draw tasks from, half as queries."""
    least = int(np.bincount(part.labels, minlength=N_CLASSES).min())
    if n_source + n_validation > least:
        raise RequestError(
            f"dataset.n_source: {n_source} + {n_validation} for validation is more than the {least} images "
            f"of a digit in {domain}; lower n_source or n_validation"
        )
    shuffled = np.random.default_rng(split_seed).permutation(len(part.labels))
    by_class = [shuffled[part.labels[shuffled] == c] for c in range(N_CLASSES)]
    middle, end = n_source + n_validation // 2, n_source + n_validation
    chosen = [
        np.sort(np.concatenate([ids[start:stop] for ids in by_class]))
        for start, stop in ((0, n_source), (n_source, middle), (middle, end))
    ]
    train, drawn, queries = (part.take(ids) for ids in chosen)
    return _part_of(train, None), _part_of(drawn, _shuffled(_part_of(queries, None)))


def _part_of(examples: Examples, queries: Examples | None) -> _Part:
    assert isinstance(examples.inputs, Tensor)
    return _Part(examples.inputs, examples.targets.numpy(), queries)


def _halved(part: _Part) -> _Part:
    """Tasks are drawn from one half, and judged by the other."""
    examples, half = _shuffled(part), len(part.labels) // 2
    drawn, queries = examples.take(torch.arange(half)), examples.take(torch.arange(half, len(examples)))
    return _part_of(drawn, queries)


def _shuffled(part: _Part) -> Examples:
    """All examples in one fixed random order, so that the first n are a fair sample."""
    return part.take(np.random.default_rng(0).permutation(len(part.labels)))
