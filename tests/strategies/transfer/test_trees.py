"""Trees as tensors against scikit-learn's own predictions."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from coldstart_cli.core.objectives import Classification, Regression
from coldstart_cli.core.strategy import Strategy
from coldstart_cli.core.tasks import Examples, Support
from coldstart_cli.models.mlp import MLP
from coldstart_cli.strategies.transfer import trees
from coldstart_cli.strategies.transfer.trees import BoostedTrees, Forest
from coldstart_cli.training.inner_loop import canonical
from coldstart_cli.training.randomness import step_seed

ensemble = pytest.importorskip("sklearn.ensemble", reason="needs the extra trees")

WIDTH = 7
Array = NDArray[Any]


def encoder() -> MLP:
    return MLP((WIDTH,), hidden=[], activation="relu")


def forest(**values: Any) -> Forest:
    asked = {"bootstrap": False, "n_trees": 20, "max_depth": 12, "max_features": "sqrt", "smoothing": 1e-9}
    return Forest(encoder(), **{**asked, **values})


def boosted(**values: Any) -> BoostedTrees:
    asked = {"n_rounds": 30, "learning_rate": 0.1, "max_depth": 3, "max_features": "sqrt"}
    return BoostedTrees(encoder(), **{**asked, **values})


def support(n_classes: int, n: int = 40, columns: int = 1) -> Support:
    generator = torch.Generator().manual_seed(n_classes)
    x = torch.randn(n, WIDTH, generator=generator).round(decimals=1)  # with ties
    if n_classes:
        targets: Tensor = (torch.arange(n) % n_classes).long()
        x[:, :2] += targets[:, None] / 2
        return Support(x, targets, Classification(n_classes), 3)
    return Support(x, x[:, :columns] * x[:, 1:2] + 1.0, Regression(columns), 3)


def learned(given: Support) -> tuple[Array, Array, int]:
    ordered = canonical(Examples(given.inputs, given.targets))
    assert isinstance(ordered.inputs, Tensor)
    return ordered.inputs.numpy(), ordered.targets.numpy(), step_seed(given.seed, 0) % 2**32


def said(strategy: Strategy, given: Support, x: Tensor) -> Tensor:
    (item,) = strategy.adapt(given)
    with torch.no_grad():
        outputs: Tensor = item.module(x)
    return outputs


QUERY = torch.randn(500, WIDTH, generator=torch.Generator().manual_seed(9)).round(decimals=1)


@pytest.mark.parametrize("n_classes", [2, 3, 10])
@pytest.mark.parametrize("bootstrap", [False, True])
def test_forest_of_classes_equals_scikit_learns(n_classes: int, bootstrap: bool) -> None:
    given = support(n_classes)
    x, y, seed = learned(given)
    model = ensemble.RandomForestClassifier if bootstrap else ensemble.ExtraTreesClassifier
    theirs = model(20, max_depth=12, random_state=seed).fit(x, y).predict_proba(QUERY.numpy())
    ours = said(forest(bootstrap=bootstrap), given, QUERY).softmax(1).numpy()
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    smoothed = said(forest(bootstrap=bootstrap, smoothing=0.2), given, QUERY).exp().numpy()
    np.testing.assert_allclose(smoothed, 0.8 * theirs + 0.2 / n_classes, atol=1e-6)


@pytest.mark.parametrize("n_classes", [2, 3, 10])
def test_boosting_of_classes_equals_scikit_learns(n_classes: int) -> None:
    given = support(n_classes, n=41)  # priors differ
    x, y, seed = learned(given)
    model = ensemble.GradientBoostingClassifier(n_estimators=30, max_features="sqrt", random_state=seed)
    theirs = model.fit(x, y).predict_proba(QUERY.numpy())
    np.testing.assert_allclose(said(boosted(), given, QUERY).softmax(1).numpy(), theirs, atol=1e-6)


@pytest.mark.parametrize("columns", [1, 2])
def test_trees_of_reals_equal_scikit_learns(columns: int) -> None:
    given = support(0, columns=columns)
    x, y, seed = learned(given)
    single = y if columns > 1 else y[:, 0]
    theirs = ensemble.ExtraTreesRegressor(20, max_depth=12, max_features="sqrt", random_state=seed).fit(
        x, single
    )
    ours = said(forest(), given, QUERY).numpy()
    np.testing.assert_allclose(ours, theirs.predict(QUERY.numpy()).reshape(ours.shape), atol=1e-5)
    model = ensemble.GradientBoostingRegressor(n_estimators=30, max_features="sqrt", random_state=seed)
    each = np.stack([model.fit(x, y[:, i]).predict(QUERY.numpy()) for i in range(columns)], 1)
    np.testing.assert_allclose(said(boosted(), given, QUERY).numpy(), each, atol=1e-5)


def test_a_class_without_an_example_is_unlikely_rather_than_an_error() -> None:
    given = support(2)
    wider = Support(given.inputs, given.targets, Classification(4), given.seed)
    for strategy in (forest(smoothing=0.01), boosted()):
        two, four = said(strategy, given, QUERY).softmax(1), said(strategy, wider, QUERY).softmax(1)
        assert four[:, 2:].max() < 0.01
        torch.testing.assert_close(four[:, :2], two, atol=0.02, rtol=0)


def test_thresholds_are_rounded_so_that_every_single_goes_the_same_way() -> None:
    exact = np.array([0.1, 1 / 3, -0.7, 1e-40, 2.0])
    rounded = trees._rounded_down(exact)
    assert rounded.dtype == np.float32
    assert (rounded <= exact).all() and (np.nextafter(rounded, np.float32(np.inf)) > exact).all()


@pytest.mark.parametrize("make", [forest, boosted])
@pytest.mark.parametrize("n_classes", [0, 2, 3])
def test_shapes_of_a_predictor_follow_from_counts_alone(make: Callable[[], Strategy], n_classes: int) -> None:
    """What a bundle rests on, which makes its predictor of zeros before it reads the tensors."""
    given = support(n_classes)
    blank = Support(torch.zeros_like(QUERY[:40]), given.targets, given.objective, 0)
    states = [next(make().adapt(one)).module.state_dict() for one in (given, blank)]
    assert {k: (t.shape, t.dtype) for k, t in states[0].items()} == {
        k: (t.shape, t.dtype) for k, t in states[1].items()
    }
    mean = given.targets.mean(0) if n_classes == 0 else given.targets.bincount() / 40
    answer = said(make(), blank, QUERY[:1])[0]
    torch.testing.assert_close(answer if n_classes == 0 else answer.softmax(0), mean, atol=1e-5, rtol=1e-5)


def test_a_predictor_of_zeros_takes_no_scikit_learn() -> None:
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "import torch\n"
        "from coldstart_cli.core.objectives import Classification\n"
        "from coldstart_cli.core.tasks import Support\n"
        "from coldstart_cli.models.mlp import MLP\n"
        "from coldstart_cli.strategies.transfer.trees import Forest\n"
        "encoder = MLP((2,), hidden=[], activation='relu')\n"
        "made = Forest(encoder, bootstrap=False, n_trees=2, max_depth=2, max_features='all', smoothing=0.1)\n"
        "blank = Support(torch.zeros(4, 2), torch.tensor([0, 0, 1, 1]), Classification(2), 0)\n"
        "print(next(made.adapt(blank)).module(torch.ones(1, 2)).exp().tolist())\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.stdout.strip() == "[[0.5, 0.5]]", ended.stderr


@pytest.mark.parametrize("make", [forest, boosted])
def test_an_export_takes_any_number_of_inputs(make: Callable[[], Strategy]) -> None:
    module = next(make().adapt(support(3))).module.eval()
    program = torch.export.export(module, (QUERY[:4],), dynamic_shapes=({0: torch.export.Dim("n")},)).module()
    with torch.no_grad():
        torch.testing.assert_close(program(QUERY[:7]), module(QUERY[:7]), rtol=0, atol=0)
