"""A network that no run has trained is said, and refused where nothing would fit its weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from coldstart_cli import api
from coldstart_cli.bundles.adapting.adapting import adapt
from coldstart_cli.bundles.bundle import Bundle
from coldstart_cli.config import composition
from coldstart_cli.errors import RequestError
from tests.bundles.test_bundle import PLAN, points


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torch_settings: None) -> Path:
    monkeypatch.chdir(tmp_path)
    x, y = points()
    np.savez("points.npz", x=x, y=y)
    return tmp_path


def adapted(*overrides: str, untrained: bool = False) -> Bundle:
    """After steps enough that no note on a poor result joins those on the network."""
    common = ("hardware=cpu", "hardware.threads=1", "experiment=smoke", "dataset=arrays", "baseline=null",
              "dataset.root=points.npz")  # fmt: skip
    ((_, config),) = composition.points([*common, *overrides])
    return adapt(config, replace(PLAN, untrained=untrained, steps=20), None)


HEADS = ("protonet", "matching", "nearest_centroid", "logistic", "linear_probe", "anil")


@pytest.mark.parametrize("name", HEADS)
def test_a_head_over_random_weights_is_refused(here: Path, name: str) -> None:
    with pytest.raises(RequestError, match=rf"^strategy: {name} fits no weight of mlp, and no run has"):
        adapted(f"strategy={name}", "model=mlp", "model.hidden=[8]")


def test_it_is_made_where_that_is_asked_for_and_the_card_says_so(here: Path) -> None:
    bundle = adapted("strategy=protonet", "model=mlp", "model.hidden=[8]", untrained=True)
    assert "mlp started from random weights" in bundle.card.said[0]


@pytest.mark.parametrize("name", ["maml", "finetune"])
def test_a_network_that_is_fitted_from_random_weights_is_said(here: Path, name: str) -> None:
    bundle = adapted(f"strategy={name}", "model=mlp", "model.hidden=[8]")
    assert bundle.card.said == ("no run is named: mlp started from random weights, as with strategy=scratch",)


@pytest.mark.parametrize("name", ["scratch", "protonet", "nearest_centroid", "logistic", "finetune"])
def test_given_features_need_no_training(here: Path, name: str) -> None:
    # of length 1 the class in the middle could not be told, and a note would say so
    lengths = ("strategy.normalise=false",) if name == "logistic" else ()
    bundle = adapted(f"strategy={name}", "model=features", *lengths)
    assert bundle.card.said == () and bundle.card.cross_validation is not None
    assert Bundle.load("bundle").predict(points()[0][6:11]).labels == ["bee"] * 5


def test_vectors_are_read_as_features_where_no_model_is_named(here: Path) -> None:
    own = ("strategy=nearest_centroid", "hardware=cpu", "hardware.threads=1", "dataset.root=points.npz")
    bundle = api.adapt(*own, "dataset=arrays", bundle=Path("b"))
    assert bundle.card.model == "features" and bundle.card.build.recipe["standardise"] is True
    assert bundle.card.build.recipe["scale"] is not None
    with pytest.raises(RequestError, match="images"):
        api.adapt(*own, "dataset=arrays", "model=conv4", bundle=Path("c"))
