"""Trees on frozen features, grown by scikit-learn and kept as tensors: for tables of few labels.

- Extremely randomised trees: Geurts, Ernst and Wehenkel 2006, doi:10.1007/s10994-006-6226-1.
- Random forests: Breiman 2001, doi:10.1023/A:1010933404324.
- Gradient boosting: Friedman 2001, doi:10.1214/aos/1013203451, algorithms 5 and 6.

Answering needs no scikit-learn: a predictor is the nodes of its trees, as arrays of documented attributes
(`tree_.feature`, `threshold`, `children_left`, `children_right`, `value`).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
import torch
from annotated_types import Ge, Gt, Le
from numpy.typing import NDArray
from torch import Tensor, nn

from coldstart_cli.core.strategy import Adapted, Strategy
from coldstart_cli.core.tasks import Inputs, Support, TaskSource
from coldstart_cli.models.network import Encoder
from coldstart_cli.training.inner_loop import canonical
from coldstart_cli.training.randomness import step_seed

Features = Literal["sqrt", "all"]
"""Of how many features, drawn anew at each node, a split is chosen: of their root, or of all."""
_DRAWN = {"sqrt": "sqrt", "all": None}
_ABSENT = 1e-6
"""What boosting takes the share of a class without an example to be, whose logarithm is its output."""
Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Nodes:
    """Trees of at most m nodes; a leaf is its own child.

    Attributes:
        feature, left, right: (n_trees, m), the feature that a node asks about and its children.
        threshold: (n_trees, m); an input goes left where its feature is no larger.
        value: (n_trees, m, n_outputs).
    """

    feature: Tensor
    threshold: Tensor
    left: Tensor
    right: Tensor
    value: Tensor


class Forest(Strategy):
    """The mean of trees that each were grown at random on all of the support set, or on a bootstrap of it.

    Of classes the outputs are log((1 - smoothing) p + smoothing / n_way), where p is the mean over trees of
    the shares of classes in an input's leaf; of reals, the mean of the leaves' means.

    Args:
        encoder: from the run; it stays as it is.
        bootstrap: a random forest, whose trees see a bootstrap each and split where it is best; otherwise
            extremely randomised trees, which see all and split at random places.
        n_trees: of the forest.
        max_depth: splits above a leaf, at most.
        max_features: see `Features`.
        smoothing: share of the probability that all classes have alike: no class is impossible.
    """

    learns_from_source = False
    starts_from_support = True
    replayable = False  # scikit-learn computes it
    needs_package = ("scikit-learn", "trees")

    def __init__(
        self,
        encoder: Encoder,
        *,
        bootstrap: bool,
        n_trees: Annotated[int, Ge(1)],
        max_depth: Annotated[int, Ge(1), Le(30)],
        max_features: Features,
        smoothing: Annotated[float, Gt(0), Le(1)],
    ) -> None:
        super().__init__()
        self.encoder = encoder.requires_grad_(False)
        self.bootstrap, self.n_trees, self.max_depth = bootstrap, n_trees, max_depth
        self.max_features, self.smoothing = max_features, smoothing

    def fit(self, source: TaskSource, start: int = 0) -> Iterator[dict[str, float]]:
        return iter(())

    def adapt(self, support: Support) -> Generator[Adapted, None, None]:
        """Yields once: trees take no steps."""
        classes = not support.targets.is_floating_point()
        grow = partial(self._grown, classes=classes)
        nodes, base = _learned(self.encoder, support, grow, np.asarray, self.n_trees, self.max_depth)
        smoothing = self.smoothing if classes else None
        build = partial(TreesPredictor, self.encoder, nodes, base, self.max_depth, smoothing)
        yield Adapted(build, {"threshold": nodes.threshold, "value": nodes.value})

    def _grown(
        self, x: Array, y: NDArray[Any], n_outputs: int, seed: int, *, classes: bool
    ) -> tuple[list[Any], Array, Array]:
        from sklearn import ensemble

        kinds = {
            (False, False): ensemble.ExtraTreesRegressor, (False, True): ensemble.ExtraTreesClassifier,
            (True, False): ensemble.RandomForestRegressor, (True, True): ensemble.RandomForestClassifier,
        }  # fmt: skip
        model = kinds[self.bootstrap, classes](
            self.n_trees, max_depth=self.max_depth, max_features=_DRAWN[self.max_features], random_state=seed
        ).fit(x, y if classes or y.shape[1] > 1 else y[:, 0])
        trees = [one.tree_ for one in model.estimators_]
        # (n_trees, n_values, n_outputs): what the values of a leaf add to the outputs
        into = np.eye(n_outputs)[model.classes_ if classes else np.arange(n_outputs)] / self.n_trees
        return trees, np.repeat(into[None], self.n_trees, 0), np.zeros(n_outputs)


class BoostedTrees(Strategy):
    """Shallow trees, each grown on the gradient of the loss that those before it leave (Friedman 2001).

    The outputs are the prior's plus learning_rate times the sum of the trees': of two classes one tree a
    round, whose output is the second class's; of more a tree a round for each.

    Args:
        encoder: from the run; it stays as it is.
        n_rounds: of boosting.
        learning_rate: that each tree's output is multiplied by.
        max_depth: splits above a leaf, at most.
        max_features: see `Features`.
    """

    learns_from_source = False
    starts_from_support = True
    replayable = False
    needs_package = ("scikit-learn", "trees")

    def __init__(
        self,
        encoder: Encoder,
        *,
        n_rounds: Annotated[int, Ge(1)],
        learning_rate: Annotated[float, Gt(0), Le(1)],
        max_depth: Annotated[int, Ge(1), Le(30)],
        max_features: Features,
    ) -> None:
        super().__init__()
        self.encoder = encoder.requires_grad_(False)
        self.n_rounds, self.learning_rate, self.max_depth = n_rounds, learning_rate, max_depth
        self.max_features = max_features

    def fit(self, source: TaskSource, start: int = 0) -> Iterator[dict[str, float]]:
        return iter(())

    def adapt(self, support: Support) -> Generator[Adapted, None, None]:
        """Yields once: the curve over rounds is not drawn."""
        classes, n_outputs = not support.targets.is_floating_point(), support.objective.n_outputs
        a_round = 1 if classes and n_outputs == 2 else n_outputs
        grow = self._of_classes if classes else self._of_reals
        nodes, base = _learned(
            self.encoder, support, grow, _log_shares, self.n_rounds * a_round, self.max_depth
        )
        build = partial(TreesPredictor, self.encoder, nodes, base, self.max_depth, None)
        yield Adapted(build, {"threshold": nodes.threshold, "value": nodes.value})

    def _asked(self, seed: int) -> dict[str, Any]:
        return {
            "n_estimators": self.n_rounds, "learning_rate": self.learning_rate, "max_depth": self.max_depth,
            "max_features": _DRAWN[self.max_features], "random_state": seed,
        }  # fmt: skip

    def _of_classes(
        self, x: Array, y: NDArray[Any], n_outputs: int, seed: int
    ) -> tuple[list[Any], Array, Array]:
        from sklearn.ensemble import GradientBoostingClassifier

        model = GradientBoostingClassifier(**self._asked(seed)).fit(x, y)
        present = model.classes_[1:] if len(model.classes_) == 2 else model.classes_
        trees, into = self._columns(model.estimators_, present, n_outputs)
        base = np.full(n_outputs, np.log(_ABSENT))
        base[model.classes_] = 0.0
        base[present] += model.decision_function(x[:1]).reshape(-1) - _summed(trees, into, x[:1])[0, present]
        return trees, into, base

    def _of_reals(
        self, x: Array, y: NDArray[Any], n_outputs: int, seed: int
    ) -> tuple[list[Any], Array, Array]:
        from sklearn.ensemble import GradientBoostingRegressor

        models = [GradientBoostingRegressor(**self._asked(seed)).fit(x, y[:, i]) for i in range(n_outputs)]
        rounds = np.concatenate([model.estimators_ for model in models], 1)
        trees, into = self._columns(rounds, np.arange(n_outputs), n_outputs)
        said = np.array([model.predict(x[:1])[0] for model in models])
        return trees, into, said - _summed(trees, into, x[:1])[0]

    def _columns(
        self, rounds: NDArray[Any], columns: NDArray[Any], n_outputs: int
    ) -> tuple[list[Any], Array]:
        """The trees of (n_rounds, n_columns), and what output each adds to, (n_trees, 1, n_outputs)."""
        into = np.zeros((rounds.size, 1, n_outputs))
        into[np.arange(rounds.size), 0, np.tile(columns, len(rounds))] = self.learning_rate
        return [one.tree_ for one in rounds.ravel()], into


class TreesPredictor(nn.Module):
    """Inputs (n, ...) -> base + the sum over trees of the value of the leaf that their features fall into.

    Args:
        base: (n_outputs,).
        max_depth: splits above a leaf, at most.
        smoothing: the sum is one of probabilities, whose logarithms are answered; see `Forest`. None: it is
            the answer.
    """

    feature: Tensor
    threshold: Tensor
    left: Tensor
    right: Tensor
    value: Tensor
    base: Tensor

    def __init__(
        self, encoder: nn.Module, nodes: Nodes, base: Tensor, max_depth: int, smoothing: float | None
    ) -> None:
        super().__init__()
        self.encoder, self.max_depth, self.smoothing = encoder, max_depth, smoothing
        for name in ("feature", "threshold", "left", "right", "value"):
            self.register_buffer(name, getattr(nodes, name))
        self.register_buffer("base", base)

    def forward(self, inputs: Inputs) -> Tensor:
        x = self.encoder(inputs).to(torch.float32)  # as scikit-learn compares
        tree = torch.arange(len(self.feature), device=x.device)
        # Not len(x), by which an export would fix the number of inputs
        node = torch.zeros(x.shape[0], len(tree), dtype=torch.int64, device=x.device)
        for _ in range(self.max_depth):
            goes_left = x.gather(1, self.feature[tree, node]) <= self.threshold[tree, node]
            node = torch.where(goes_left, self.left[tree, node], self.right[tree, node])
        summed = self.base + self.value[tree, node].sum(1)
        if self.smoothing is None:
            return summed
        return ((1 - self.smoothing) * summed + self.smoothing / summed.shape[1]).log()


Grow = Callable[[Array, NDArray[Any], int, int], tuple[list[Any], Array, Array]]
"""(x, y, n_outputs, seed) -> trees, what values of their leaves add to outputs, and what is added to all."""

Link = Callable[[Array], Array]
"""Of shares of classes, what the sum over trees stands for."""


def _log_shares(shares: Array) -> Array:
    return np.log(np.maximum(shares, _ABSENT))


def _learned(
    encoder: Encoder, support: Support, grow: Grow, link: Link, n_trees: int, max_depth: int
) -> tuple[Nodes, Tensor]:
    """Nodes and base (n_outputs,) of the trees that a support set grows.

    Where all examples look alike there is nothing to split by, and the mean of their targets is the answer.
    This takes no scikit-learn: so are bundles made again, whose tensors then take the place of these.
    """
    ordered, n_outputs = canonical(support), support.objective.n_outputs
    with torch.no_grad():
        features = encoder(ordered.inputs)
    x = features.float().cpu().double().numpy()
    y = ordered.targets.cpu().numpy()
    reals = ordered.targets.is_floating_point()
    trees: Sequence[Any] = ()
    into = np.zeros((0, 1, n_outputs))
    if (x == x[0]).all() or (not reals and len(np.unique(y)) == 1):
        base = y.mean(0) if reals else link(np.bincount(y, minlength=n_outputs) / len(y))
    else:
        trees, into, base = grow(x, y, n_outputs, step_seed(support.seed, 0) % 2**32)
    nodes = _nodes(trees, into, n_trees, min(2 * len(x) - 1, 2 ** (max_depth + 1) - 1), features)
    return nodes, torch.from_numpy(base).to(features)


def _nodes(trees: Sequence[Any], into: Array, n_trees: int, m: int, like: Tensor) -> Nodes:
    """Trees of scikit-learn in arrays whose shape depends on none of them; what is left over is never met."""
    feature = np.zeros((n_trees, m), np.int64)
    threshold = np.zeros((n_trees, m), np.float32)
    left = np.tile(np.arange(m), (n_trees, 1))
    right, value = left.copy(), np.zeros((n_trees, m, into.shape[2]))
    for i, tree in enumerate(trees):
        inner = np.flatnonzero(tree.children_left >= 0)
        feature[i, inner] = tree.feature[inner]
        threshold[i, inner] = _rounded_down(tree.threshold[inner])
        left[i, inner], right[i, inner] = tree.children_left[inner], tree.children_right[inner]
        value[i, : tree.node_count] = _values(tree, into[i])
    whole = [torch.from_numpy(one).to(like.device) for one in (feature, left, right)]
    limits = torch.from_numpy(threshold).to(like.device)
    return Nodes(whole[0], limits, whole[1], whole[2], torch.from_numpy(value).to(like))


def _rounded_down(threshold: Array) -> NDArray[np.float32]:
    """The largest numbers of single precision that are no larger: by them each input goes the same way."""
    near = threshold.astype(np.float32)
    return np.where(near > threshold, np.nextafter(near, np.float32(-np.inf)), near)


def _values(tree: Any, into: Array) -> Array:
    """What each node of a tree adds to the outputs, (node_count, n_outputs)."""
    # (node_count, 1, n_classes), shares of classes, or (node_count, n_outputs, 1)
    return np.asarray(tree.value.reshape(tree.node_count, -1) @ into)


def _summed(trees: Sequence[Any], into: Array, x: Array) -> Array:
    """The sum of what trees add to the outputs of x, (n, n_outputs)."""
    single = x.astype(np.float32)
    return np.asarray(sum(_values(t, i)[t.apply(single)] for t, i in zip(trees, into, strict=True)))
