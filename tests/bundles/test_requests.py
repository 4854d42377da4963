"""What `adapt` is asked for: names as they are, one bundle at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from coldstart_cli.bundles.requests import adapt, outlook
from coldstart_cli.errors import RequestError

WORDS = (
    "strategy=logistic", "model=mlp", "model.hidden=[4]", "hardware=cpu", "hardware.threads=1",
    "experiment=smoke", "dataset=arrays", "dataset.root=points.npz", "untrained=true",
)  # fmt: skip


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torch_settings: None) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("coldstart_cli.experiment.parts._sources", {})
    x = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
    np.savez("points.npz", x=x, y=np.repeat(["a", "b"], 6))


def test_several_strategies_lead_to_what_to_do(here: None) -> None:
    with pytest.raises(RequestError, match=r"makes one bundle.*run it once for each"):
        adapt(("strategy=logistic,protonet", *WORDS[1:]), [], run=None, bundle=Path("b"))


def test_without_a_strategy_the_plain_one_for_such_inputs_is_taken_and_said(here: None) -> None:
    with pytest.warns(RuntimeWarning, match=r"^strategy: none is named; strategy=logistic model=features"):
        bundle = adapt(
            ("dataset=arrays", "dataset.root=points.npz", "hardware=cpu"), [], run=None, bundle=Path("b")
        )
    assert (bundle.card.strategy, bundle.card.model) == ("logistic", "features")
    assert "standardise" in bundle.card.build.recipe


def test_a_dry_run_says_what_adapting_takes_and_writes_nothing(here: None) -> None:
    found = outlook((*WORDS, "bundle=b"), [])
    assert (found.to_select, found.to_estimate, found.bundle) == (0, 12, "b") and found.seconds > 0
    steps = outlook(("strategy=finetune", *WORDS[1:], "evaluation.steps=[0,1]"), [])
    assert (steps.to_select, steps.to_estimate) == (10, 12)
    assert not Path("b").exists()


def test_a_bundle_is_not_overwritten_unless_asked(here: None) -> None:
    adapt(WORDS, [], run=None, bundle=Path("b"))
    before = Path("b/card.json").stat().st_mtime_ns
    with pytest.raises(RequestError, match=r"^bundle: b is a bundle already; .*overwrite=true"):
        adapt(WORDS, [], run=None, bundle=Path("b"))
    assert Path("b/card.json").stat().st_mtime_ns == before
    adapt((*WORDS, "overwrite=true"), [], run=None, bundle=Path("b"))
    assert Path("b/card.json").stat().st_mtime_ns > before
