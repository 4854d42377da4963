"""Bundles: the same predictor again, for every strategy, from values alone."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save

from coldstart_cli.bundles.adapting.adapting import adapt
from coldstart_cli.bundles.adapting.own_task import read_task
from coldstart_cli.bundles.adapting.preparing import AdaptPlan
from coldstart_cli.bundles.bundle import Bundle
from coldstart_cli.bundles.exporting.exporting import Probe, export
from coldstart_cli.bundles.kept.card import CLOSED_FORM, Card
from coldstart_cli.config import composition
from coldstart_cli.datasets.own.one_task import SourceClasses
from coldstart_cli.errors import RequestError
from tests.kit.bundles import edit, put_weights, weights_of
from tests.kit.places import STRATEGIES, skip_without_package

PLAN = AdaptPlan(
    precision=None,
    bundle="bundle", steps=1, folds_to_select=5, folds_to_estimate=3, repeats_to_estimate=2,
    tasks_to_calibrate=2, threshold=0.0, copy_base=False, untrained=True, overwrite=True,
    keep_versions=2, licence="CC0",
)  # fmt: skip
Adapt = Callable[..., tuple[Card, np.ndarray]]


def points(n: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Three classes of 8 numbers, n, n - 1 and n - 2 of each, far apart."""
    g = np.random.default_rng(seed)
    y = np.repeat(["ant", "bee", "cat"], [n, n - 1, n - 2])
    centres = {"ant": 0.0, "bee": 3.0, "cat": -3.0}
    x = np.stack([g.normal(centres[name], 0.4, 8) for name in y]).astype(np.float32)
    return x, y


@pytest.fixture
def adapted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torch_settings: None) -> Adapt:
    """Adapts a strategy to the points by their npz; returns the card and the inputs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "coldstart_cli.experiment.parts._sources", {}
    )  # kept by path, and paths are relative here

    def call(*overrides: str, plan: AdaptPlan = PLAN) -> tuple[Card, np.ndarray]:
        x, y = points()
        np.savez("points.npz", x=x, y=y)
        common = ("model=mlp", "model.hidden=[8]", "hardware=cpu", "hardware.threads=1", "experiment=smoke",
                  "dataset=arrays", "dataset.root=points.npz", "baseline=null")  # fmt: skip
        ((_, config),) = composition.points([*common, *overrides])
        if "teacher" in config["strategy"]:
            config["strategy"]["teacher"] = config["model"]
        return adapt(config, plan, None).card, x

    return call


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_bundle_gives_the_same_predictor_again_or_says_why_there_is_none(
    adapted: Adapt, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    skip_without_package(name)
    kept: list[torch.nn.Module] = []
    write = Bundle.save

    def keeping(self: Bundle, path: Path, base: Path | None, **how: Any) -> None:
        kept.append(self.module)
        write(self, path, base, **how)

    monkeypatch.setattr(Bundle, "save", keeping)
    try:
        card, x = adapted(f"strategy={name}", "dataset.unlabelled=points.npz")
    except RequestError as refusal:
        served = "groups|feature maps|running batch statistics|language head|text tower"
        assert re.search(served, str(refusal))
        return
    bundle = Bundle.load("bundle")
    inputs = torch.from_numpy(x)
    with torch.no_grad():
        torch.testing.assert_close(bundle.module(inputs), kept[0](inputs), rtol=0, atol=0)
    assert card.labels == ("ant", "bee", "cat") and card.examples_of == {"ant": 6, "bee": 5, "cat": 4}
    assert card.licence == "CC0" and card.steps == (card.steps_chosen_by != CLOSED_FORM)
    named = {"card.json", weights_of(Path("bundle")).name, *(p.name for p in Path("bundle").glob("rows-*"))}
    assert {p.name for p in Path("bundle").iterdir()} == named and len(named) == 3


def test_a_bundle_predicts_with_calibrated_probabilities_and_abstains(adapted: Adapt) -> None:
    card, x = adapted("strategy=logistic")
    assert card.cross_validation is not None
    assert card.cross_validation.mean == 1.0 and card.cross_validation.folds == 3
    found = Bundle.load("bundle").predict(x)
    assert found.labels == points()[1].tolist()
    assert found.probabilities is not None and found.probabilities.shape == (15, 3)
    torch.testing.assert_close(found.probabilities.sum(-1), torch.ones(15, dtype=torch.float64))
    assert found.classes == ("ant", "bee", "cat")
    middle = Bundle.load("bundle").predict(np.zeros((1, 8)) + 1.5, threshold=1.0)
    assert middle.labels == [None]


def test_a_bundle_holds_no_example(adapted: Adapt) -> None:
    _, x = adapted("strategy=protonet")
    everything = b"".join(p.read_bytes() for p in Path("bundle").iterdir())
    assert not [row for row in x if row.tobytes() in everything]


def test_steps_are_chosen_by_cross_validation_where_there_are_labels_to_hold_out(adapted: Adapt) -> None:
    card, _ = adapted("strategy=finetune", "evaluation.steps=[0,20]", plan=replace(PLAN, steps=None))
    assert (card.steps, card.steps_chosen_by) == (20, "cross-validation on the labels")


def test_one_label_a_class_gives_no_estimate_and_says_so(adapted: Adapt) -> None:
    x, y = points(3)  # 3, 2 and 1
    np.savez("one.npz", x=x[[0, 3, 5]], y=y[[0, 3, 5]])
    card, _ = adapted("strategy=protonet", "dataset.root=one.npz")
    assert card.cross_validation is None and card.temperature == 1.0
    assert card.temperature_from.startswith("none: too few labels, and no trained run")


def test_a_regression_has_values_and_no_labels(tmp_path: Path, adapted: Adapt) -> None:
    x = np.linspace(-1, 1, 12, dtype=np.float32)[:, None]
    np.savez("line.npz", x=x, y=(2 * x).astype(np.float32))
    card, _ = adapted("strategy=r2d2", "dataset.root=line.npz")
    assert card.labels == () and card.cross_validation is not None and card.cross_validation.metric == "mse"
    found = Bundle.load("bundle").predict(x)
    assert found.probabilities is None and found.values is not None and found.values.shape == (12, 1)


def test_a_target_far_from_zero_is_learned_scaled_and_told_in_its_own_unit(
    tmp_path: Path, adapted: Adapt
) -> None:
    x = np.linspace(-1, 1, 12)
    rows = "".join(f"{v:.6f},{1e6 + 5000 * v:.3f}\n" for v in x)
    Path("prices.csv").write_text("x,price\n" + rows)
    table = ("dataset=tabular", "dataset.root=prices.csv", "dataset.label_column=null",
             "dataset.target_column=price", "dataset.keep=[x]",
             "strategy=finetune", "strategy.lr=0.05")  # fmt: skip
    card, _ = adapted(*table, plan=replace(PLAN, steps=200))
    prices = torch.tensor(1e6 + 5000 * x)
    mean, deviation = card.build.recipe["target_scale"]
    assert mean == pytest.approx(1e6) and deviation == pytest.approx(float(prices.std(correction=0)))
    found = Bundle.load("bundle").predict(x[:, None]).values
    assert found is not None and (found[:, 0] - prices).abs().max() < 2000
    assert card.cross_validation is not None
    assert 1 < card.cross_validation.mean**0.5 < 3000  # in the unit of the prices, squared


@pytest.mark.parametrize(
    ("harm", "line"),
    [
        (lambda b: (b / "code.py").write_text("import os"), "code.py is not part of a bundle"),
        (lambda b: (b / "weights.pkl").write_bytes(b"x"), "weights.pkl is not part of a bundle"),
        (lambda b: (b / "base").mkdir() or (b / "base" / "a.py").write_text(""), "a.py is not part"),
        (lambda b: (b / "card.json").write_text("{"), "card.json is damaged"),
        (lambda b: weights_of(b).write_bytes(b"\0" * 40), "is not the file that card.json names"),
        (lambda b: weights_of(b).unlink(), "safetensors is damaged (it is missing"),
        (lambda b: put_weights(b, b"\0" * 40), "the weights of bundle are damaged"),
        (lambda b: put_weights(b, save({"w": torch.zeros(2)})), "do not fit its card"),
        (lambda b: edit(b, files={"../weights.safetensors": "0"}), "card.json is damaged"),
        (lambda b: edit(b, files={}), "card.json is damaged"),
        (lambda b: edit(b, format=99), "format 99, this coldstart reads up to 4"),
        (lambda b: edit(b, temperature=0), "card.json is damaged"),
        (lambda b: edit(b, build={"strategy": {"_target_": "os.system"}}), "is not trusted"),
        (lambda b: shutil.rmtree(b), "is not a bundle"),
    ],
)  # fmt: skip
def test_what_is_no_bundle_is_refused_in_one_line(
    adapted: Adapt, harm: Callable[[Path], object], line: str
) -> None:
    adapted("strategy=protonet")
    harm(Path("bundle"))
    with pytest.raises(RequestError) as caught:
        Bundle.load("bundle")
    assert line in str(caught.value) and "\n" not in str(caught.value)


def test_a_folder_that_is_no_bundle_is_not_written_to(adapted: Adapt) -> None:
    Path("bundle").mkdir()
    Path("bundle/thesis.tex").write_text("mine")
    with pytest.raises(RequestError, match="exists and is not a bundle"):
        adapted("strategy=protonet")
    assert [p.name for p in Path("bundle").iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("name", ["protonet", "finetune", "matching", "task_encoder"])
def test_an_export_answers_alike_for_any_batch(adapted: Adapt, name: str) -> None:
    _, x = adapted(f"strategy={name}")
    bundle = Bundle.load("bundle")
    assert export(bundle, Path("p.pt2"), "pt2", [Probe(torch.from_numpy(x), torch.from_numpy(x))]) <= 1e-4
    loaded = torch.export.load("p.pt2").module()
    with torch.no_grad():
        seven = loaded(torch.from_numpy(x[:7]))
        torch.testing.assert_close(seven, bundle.module(torch.from_numpy(x[:7])), rtol=1e-4, atol=1e-4)


def test_what_is_no_data_of_ones_own_is_refused() -> None:
    ((_, config),) = composition.points(["dataset=sinusoid", "model=mlp"])
    with pytest.raises(
        RequestError, match=r"^dataset: sinusoid is not data of your own; choose image_folder"
    ):
        read_task(config, None, SourceClasses())
