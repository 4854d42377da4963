"""One set of images, labelled by a rule that differs from task to task: no image tells which.

An image is a character in a type face, in a shade of ink, on a texture. Every task shows five characters,
faces, shades and textures in all mixtures, and names one of these factors: that is its rule. What is to be
known of a task is the rule, and only labelled examples of it can say so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal, final, get_args

import numpy as np
import torch
from annotated_types import Ge, Gt, Len, Lt
from numpy.typing import NDArray
from torch import Tensor

from coldstart_cli.core.objectives import Classification
from coldstart_cli.core.tasks import Examples, Pool, Split, Support, Task, TaskShape, TaskSource
from coldstart_cli.datasets.benchmarks.glyphs import FACES, N_JITTERS, SIZE, rendered
from coldstart_cli.datasets.episodes.counter import Ids, Words, distinct, order, seeds, task_keys, words
from coldstart_cli.datasets.episodes.shapes import no_task, reshaped
from coldstart_cli.digests import digest
from coldstart_cli.errors import RequestError

Factor = Literal["character", "face", "shade", "texture"]
FACTORS: tuple[Factor, ...] = get_args(Factor)
SHADES = np.linspace(0.4, 1.0, 6)
"""Brightness of the ink."""
N_TEXTURES = 8
_BACKGROUND = 60
"""Brightness of a texture's light parts; the darkest ink has 102."""

# Streams of the counter: every kind of choice has its own, so that none moves another.
_RULE, _VALUES, _SUPPORT, _QUERY, _UNLABELLED, _SEED, _POOL = 0, 1, 8, 9, 10, 11, 12  # and from 16 on
_TEXTURES = 8
_BACKGROUND = 60
"""Brightness of a texture's light parts; the darkest ink has 102."""

# Streams of the counter: every kind of choice has its own, so that none moves another.
_RULE, _VALUES, _SUPPORT, _QUERY, _UNLABELLED, _SEED, _POOL = 0, 1, 8, 9, 10, 11, 12  # and from 16 on
_WORDS = 7
"""Random words an example of a pool: one for each factor, its view, two for its texture's place."""
_TEXTURES = 8
"""Between the streams of examples and of their textures' places."""
_MOVES = np.array([[0, 0], [0, 1], [0, -1], [1, 0], [-1, 0], [1, 1], [1, -1], [-1, 1], [-1, -1]])
"""Of an image, in pixels. Tasks have the first, the pool has the diagonal ones: no image is in both."""
_N_MOVES = 5
_DISTORTIONS: dict[Split, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "train": ((0,), (1,)),
    "validation": ((0, 1), (2, 3)),
    "source_test": ((2,), (3,)),
    "new": ((0, 1), (2, 3)),
}
"""Of support and query."""


@final
class GlyphRules(TaskSource):
    """Tasks whose classes are the values of one factor, the other factors being random.

    New tasks have characters of other scripts; faces, shades and textures are those of the source, mixed
    anew.

    Args:
        bank_seed: determines the tasks, not the data.
        n_way: values of each factor in a task, and so its classes: at most the values of the poorest factor.
        k_shot: support examples a class.
        n_query: query examples a class.
        n_unlabelled: unlabelled examples, this number times n_way; their factors are all random.
        rules: the factors that tasks are labelled by.
        clean: no shades and textures: white characters on black, and rules of character and face alone.
        split_seed: determines which source characters are for validation.
        validation_share: share of the source characters that is for validation.

    Raises:
        RequestError: where a rule is named twice, or of clean images a factor that they do not have, and
            where a factor has fewer than n_way values.
    """

    def __init__(
        self,
        *,
        bank_seed: Annotated[int, Ge(0)],
        n_way: Annotated[int, Ge(2)],
        k_shot: Annotated[int, Ge(1)],
        n_query: Annotated[int, Ge(1)],
        n_unlabelled: Annotated[int, Ge(0)],
        rules: Annotated[list[Factor], Len(1)],
        clean: bool,
        split_seed: Annotated[int, Ge(0)],
        validation_share: Annotated[float, Gt(0), Lt(1)],
    ) -> None:
        self.factors: tuple[Factor, ...] = FACTORS[:2] if clean else FACTORS
        _check_rules(rules, self.factors)
        self.rules, self.clean, self.bank_seed = list(rules), clean, bank_seed
        kept = rendered()
        self._images, self._textures = kept["images"], textures()
        self.characters = _characters(kept["is_source"], split_seed, validation_share)
        self.shape, self.input_shape = TaskShape(n_way, k_shot, n_query, n_unlabelled), (1, SIZE, SIZE)
        for split in self.characters:
            reason = self.refusal(split, self.shape)
            if reason is not None:
                raise RequestError(f"dataset: {reason}")
        self.fingerprint = digest([repr((rules, clean)), self._images, *self.characters.values()])

    @property
    def objective(self) -> Classification:
        return Classification(int(self.shape.n_way or 0))

    def tasks(self, split: Split, indices: Sequence[int]) -> list[Task]:
        """Tasks number `indices`: support (n_way * k_shot, 1, 28, 28), query (n_way * n_query, 1, 28, 28),
        uint8.

        Targets are 0 0 .. 1 1 ..: class by class. Their names end in the rule.

        Raises:
            ValueError: where the split cannot serve the shape.
        """
        reason = self.refusal(split, self.shape)
        if reason is not None:
            raise ValueError(reason)
        keys = task_keys(self.bank_seed, split, indices)
        chosen = (words(keys, _RULE, 1)[:, 0] % np.uint64(len(self.rules))).astype(np.int64)
        rules = [self.factors.index(self.rules[number]) for number in chosen]
        values = self._values(split, keys)
        known, asked = _DISTORTIONS[split]
        shape, way = self.shape, int(self.shape.n_way or 0)
        support = self._drawn(keys, _SUPPORT, shape.k_shot, known, values, rules)
        query = self._drawn(keys, _QUERY, shape.n_query, asked, values, rules)
        free = self._drawn(keys, _UNLABELLED, shape.n_unlabelled, known, values, None)
        return [
            Task(
                Support(
                    torch.from_numpy(support[i]),
                    torch.arange(way).repeat_interleave(shape.k_shot),
                    self.objective,
                    seed,
                    torch.from_numpy(free[i]) if shape.n_unlabelled else None,
                ),
                Examples(torch.from_numpy(query[i]), torch.arange(way).repeat_interleave(shape.n_query)),
                f"{split}/{index} by {self.factors[rules[i]]}",
            )
            for i, (index, seed) in enumerate(zip(indices, seeds(keys, _SEED), strict=True))
        ]

    def pool(self, split: Split) -> Pool:
        """Images of all factors' values; each is a class, and an image is labelled by one of its factors.

        The groups are the factors, so that a strategy may choose the rule that it has learned.
        """
        numbers = self.n_values(split)
        labels = [(f, value) for f, factor in enumerate(self.factors) if factor in self.rules
                  for value in range(numbers[f])]  # fmt: skip
        return _RulesPool(self, split, labels)

    def refusal(self, split: Split, shape: TaskShape) -> str | None:
        if shape.n_way is None or shape.n_way < 2:
            return "glyph_rules: tasks need two classes or more; set n_way to 2 or more"
        for factor, most in zip(self.factors, self.n_values(split), strict=True):
            if shape.n_way > most:
                wanted = f"{shape.n_way}-way tasks need as many values of {factor}"
                return f"glyph_rules: {wanted}, {split} has {most}; lower n_way"
        known, asked = _DISTORTIONS[split]
        mixtures = _N_MOVES * shape.n_way ** (len(self.factors) - 1)
        rooms = (
            ("k_shot", shape.k_shot, known),
            ("n_query", shape.n_query, asked),
            ("n_unlabelled", shape.n_unlabelled, known),
        )
        for key, number, distortions in rooms:
            if number > len(distortions) * mixtures:
                return (
                    f"glyph_rules: a class of {split} has {len(distortions) * mixtures} images to draw {key} "
                    f"from; lower {key}"
                )
        return no_task("glyph_rules", shape)

    def with_shape(self, shape: TaskShape) -> GlyphRules:
        return reshaped(self, shape)

    def facts(self) -> dict[str, str]:
        def described(split: Split) -> str:
            counts = zip(self.n_values(split), self.factors, strict=True)
            return " x ".join(f"{n} {factor}s" for n, factor in counts) + f", by {' or '.join(self.rules)}"

        return {split: described(split) for split in self.characters}

    def n_values(self, split: Split) -> list[int]:
        every = [len(self.characters[split]), len(FACES), len(SHADES), N_TEXTURES]
        return every[: len(self.factors)]

    def _values(self, split: Split, keys: Words) -> list[Ids]:
        """The values (n_tasks, n_way) of each factor; those of characters are their numbers among all."""
        way = int(self.shape.n_way or 0)
        drawn = [distinct(keys, _VALUES + f, way, n) for f, n in enumerate(self.n_values(split))]
        return [self.characters[split][drawn[0]], *drawn[1:]]

    def _drawn(
        self,
        keys: Words,
        stream: int,
        per_class: int,
        distortions: Sequence[int],
        values: Sequence[Ids],
        rules: Sequence[int] | None,
    ) -> NDArray[np.uint8]:
        """Images (n_tasks, n_way * per_class, 1, 28, 28), class by class; all different.

        Without rules their factors are all random.
        """
        way, n_views = values[0].shape[1], len(distortions) * _N_MOVES
        n_factors = len(values)
        sizes = [way] * (n_factors - 1) + [n_views]
        # Every mixture of the other factors has a number; a random order of them is nested over k.
        shuffled = order(words(keys, stream, way, math.prod(sizes)))[:, :, :per_class]
        others = np.stack(np.unravel_index(shuffled, sizes), axis=-1)
        places = words(keys, stream + _TEXTURES, per_class, way, 2).swapaxes(1, 2)
        found = np.empty((len(keys), way * per_class, 1, SIZE, SIZE), np.uint8)
        for i in range(len(keys)):
            # The free factor of unlabelled examples is the first: their classes are then characters.
            rule = 0 if rules is None else rules[i]
            picked = np.insert(others[i, :, :, :-1], rule, np.arange(way)[:, None], axis=-1)
            picked = picked.reshape(-1, n_factors)
            shown = [of[i][picked[:, f]] for f, of in enumerate(values)]
            which, move = np.divmod(others[i, :, :, -1].reshape(-1), _N_MOVES)
            seen = np.asarray(distortions)[which], _MOVES[move]
            found[i, :, 0] = self.images(shown, *seen, places[i].reshape(-1, 2))
        return found

    def images(self, shown: Sequence[Ids], distortions: Ids, moves: Ids, places: Words) -> NDArray[np.uint8]:
        """(n, 28, 28): the factors' values, (n,) each, distorted and moved, on textures that begin anywhere.

        Args:
            distortions: (n,) of the character; moves: (n, 2) pixels.
            places: (n, 2) random words.
        """
        ids = (shown[0] * len(FACES) + shown[1]) * N_JITTERS + distortions
        ink = _from(self._images[:, 0], ids, moves)
        if self.clean:
            return ink
        texture = _from(self._textures, shown[3], (places % np.uint64(SIZE)).astype(np.int64))
        weight = ink.astype(np.float32) / 255
        shade = (255 * SHADES[shown[2]]).astype(np.float32)
        image = weight * shade[:, None, None] + (1 - weight) * texture
        return np.asarray(image.round().astype(np.uint8))


@final
class _RulesPool(Pool):
    """Images of each value of each rule, the other factors mixed, as many as there are and `MOST` at most.

    They are made when they are asked for. No image is in two classes: each factor has moves of its own.
    """

    MOST = 240

    def __init__(self, source: GlyphRules, split: Split, labels: Sequence[tuple[int, int]]) -> None:
        self.objective = Classification(len(labels))
        self.groups = tuple(source.factors[f] for f, _ in labels)
        self._source, self._split, self._labels = source, split, np.asarray(labels)
        self._distortions = np.array(sorted({d for side in _DISTORTIONS[split] for d in side}))
        counts = np.asarray(source.n_values(split))
        self._moves = _MOVES[_N_MOVES:].reshape(len(counts), -1, 2)  # of each factor
        views = [len(self._distortions), self._moves.shape[1]]
        self._sizes = [[*np.delete(counts, f).tolist(), *views] for f in range(len(counts))]
        own = [min(self.MOST, math.prod(self._sizes[f])) for f, _ in labels]
        self._starts = np.cumsum([0, *own])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def examples(self, indices: Tensor) -> Examples:
        numbers = indices.cpu().numpy()
        labels = np.searchsorted(self._starts, numbers, side="right") - 1
        factors, values = self._labels[labels].T
        shown = np.zeros((len(numbers), len(self._sizes)), dtype=np.int64)
        distortions, moves = (
            np.zeros(len(numbers), dtype=np.int64),
            np.zeros((len(numbers), 2), dtype=np.int64),
        )
        for f, sizes in enumerate(self._sizes):
            of = factors == f
            mixed = _scattered(numbers[of] - self._starts[labels[of]], values[of], math.prod(sizes))
            *others, which, move = np.unravel_index(mixed, sizes)
            shown[of] = np.insert(np.stack(others, axis=1), f, values[of], axis=1)
            distortions[of], moves[of] = self._distortions[which], self._moves[f][move]
        shown[:, 0] = self._source.characters[self._split][shown[:, 0]]
        places = words(task_keys(self._source.bank_seed, self._split, numbers.tolist()), _POOL, 2)
        images = self._source.images(list(shown.T), distortions, moves, places)
        return Examples(torch.from_numpy(images).unsqueeze(1), torch.from_numpy(labels).long())


def _scattered(numbers: Ids, values: Ids, n: int) -> Ids:
    """Different numbers of range(n) for different numbers of it, far from one another."""
    stride = next(s for s in range(round(0.618 * n) + 1, 2 * n + 2) if math.gcd(s, n) == 1)
    return np.asarray((numbers * stride + values * 7919) % n)


def _from(pictures: NDArray[Any], ids: Ids, moves: Ids) -> NDArray[Any]:
    """(n, 28, 28) of `pictures` (m, 28, 28), each moved down and right by `moves` (n, 2), with wrapping."""
    rows, columns = ((np.arange(SIZE) - moves[:, [axis]]) % SIZE for axis in range(2))
    return np.asarray(pictures[ids[:, None, None], rows[:, :, None], columns[:, None, :]])


def _check_rules(rules: Sequence[str], factors: Sequence[str]) -> None:
    if len(set(rules)) < len(rules):
        raise RequestError(f"dataset.rules: {list(rules)} names a factor twice; name each once")
    for rule in rules:
        if rule not in factors:
            have = " and ".join(factors)
            raise RequestError(
                f"dataset.rules: clean images have no {rule}; choose of {have}, or clean=false"
            )


def _characters(is_source: NDArray[np.bool_], seed: int, validation_share: float) -> dict[Split, Ids]:
    """The characters of each split, as numbers among all."""
    shuffled = np.random.default_rng(seed).permutation(np.flatnonzero(is_source))
    n_validation = max(2, round(validation_share * len(shuffled)))
    train, new = np.sort(shuffled[n_validation:]), np.flatnonzero(~is_source)
    return {
        "train": train,
        "validation": np.sort(shuffled[:n_validation]),
        "source_test": train,
        "new": new,
    }


def textures() -> NDArray[np.float32]:
    """(N_TEXTURES, 28, 28), each with one mean: no texture is told by its brightness alone."""
    y, x = np.mgrid[:SIZE, :SIZE]
    diagonal, other = x + y, x - y
    light = [y % 4 < 2, x % 4 < 2, diagonal % 4 < 2, other % 4 < 2]  # fine stripes
    light += [y % 14 < 7, x % 14 < 7, (x // 2 + y // 2) % 2 < 1, (x // 7 + y // 7) % 2 < 1]
    return np.stack([_BACKGROUND * pattern for pattern in light]).astype(np.float32)
