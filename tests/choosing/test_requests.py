"""What `choose` is asked for: candidates of the layout, the user's own words, runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from coldstart_cli.bundles.requests import adapt
from coldstart_cli.choosing.requests import choose, outlook
from coldstart_cli.errors import RequestError
from tests.choosing.conftest import QUICK, TABLE


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["strategy=logistic"], r"^strategy: choose compares several; name candidates="),
        (["run=outputs/x"], r"^run: choose compares several; name runs=\[DIR\]"),
        (
            ["candidates=[logistc]"],
            r"^candidates: logistc is not in candidates/vectors; did you mean logistic",
        ),
        (["dataset=glyphs"], r"^dataset: glyphs is not data of your own"),
        (["dataset=text", "time_minute=2"], r"^time_minute: there is no such key; did you mean time_minutes"),
        (["dataset.root=gone.csv"], r"^dataset.root: gone.csv is not there"),
        (["runs=[gone]"], r"^run: gone"),
        (["p95_ms=0.000001"], r"^choose: no candidate is left \(logistic: it takes .* p95_ms allows 1e-06"),
    ],
)
def test_what_cannot_be_chosen_from_is_refused_in_one_line(
    here: Path, words: list[str], message: str
) -> None:
    asked = {word.partition("=")[0]: word for word in (*TABLE, *words)}
    if asked["dataset"] == "dataset=glyphs":
        del asked["dataset.root"]
    with pytest.raises(RequestError, match=message) as refused:
        choose(list(asked.values()), [])
    assert "\n" not in str(refused.value) and not Path("bundle").exists()


def test_a_dry_run_writes_nothing(here: Path) -> None:
    found = outlook([*TABLE, *QUICK, "bundle=b"], [])
    assert set(found.seconds) == {"ridge", "nearest_centroid"}
    assert (found.deal.n_folds, found.deal.n_repeats) == (8, 2) and all(
        s >= 0 for s in found.seconds.values()
    )
    assert not Path("b").exists() and not Path("outputs").exists()


def test_arrays_of_images_have_the_candidates_of_images(here: Path) -> None:
    np.savez("images.npz", x=np.zeros((6, 1, 8, 8), np.float32), y=np.repeat(["a", "b"], 3))
    with pytest.raises(RequestError, match="candidates/image"):
        outlook(["dataset=arrays", "dataset.root=images.npz", "candidates=[gone]"], [])


def test_a_model_that_is_named_is_that_of_all(here: Path) -> None:
    verdict, _ = choose([*TABLE, "candidates=[ridge]", "model=mlp", "untrained=true"], [])
    assert [row.model for row in verdict.rows] == ["mlp"]


def test_arrays_of_vectors_are_standardised_for_linear_models(here: Path) -> None:
    x = np.random.default_rng(0).normal(size=(12, 3)) * np.array([1, 1000, 1])
    np.savez("points.npz", x=x.astype(np.float32), y=np.repeat(["a", "b"], 6))
    words = ["dataset=arrays", "dataset.root=points.npz", "candidates=[ridge]", "hardware=cpu"]
    verdict, bundle = choose([*words, "bundle=b", "time_minutes=1"], [])
    assert bundle.card.build.recipe["standardise"]
    assert verdict.adapt[0] == "strategy=r2d2" and "time_minutes=1" not in verdict.adapt
    again = adapt([*verdict.adapt, "bundle=d"], [], run=None, bundle=None)
    assert again.card.build.recipe == bundle.card.build.recipe
    for name, value in again.module.state_dict().items():
        assert torch.equal(value, bundle.module.state_dict()[name])
    with pytest.warns(RuntimeWarning, match="x is read as it is"):
        _, plain = choose([*words, "bundle=c", "dataset.standardise=false"], [])
    assert not plain.card.build.recipe.get("standardise")
