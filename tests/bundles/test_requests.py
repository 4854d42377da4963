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


def test_the_same_again_is_found_and_something_else_becomes_the_next_version(here: None) -> None:
    first = adapt(WORDS, [], run=None, bundle=Path("b"))
    before = Path("b/card.json").read_bytes()
    again = adapt((*WORDS, "keep_versions=3"), [], run=None, bundle=Path("b"))
    assert (first.found, again.found) == (False, True) and Path("b/card.json").read_bytes() == before
    other = adapt((*WORDS, "threshold=0.5"), [], run=None, bundle=Path("b"))
    assert (other.found, other.card.version) == (False, 2)
    assert Path("b/versions/1/card.json").read_bytes() == before
    changed = other.card.changed
    assert changed is not None
    assert (changed.since, changed.added, changed.removed, changed.judged) == (1, 0, 0, 12)
    anew = adapt((*WORDS, "overwrite=true"), [], run=None, bundle=Path("b"))
    assert (anew.found, anew.card.version, anew.card.changed) == (False, 3, None)
    assert [place.name for place in Path("b/versions").iterdir()] == ["1"]
