"""What `adapt` is asked for: names as they are, one bundle at a time."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from coldstart_cli.bundles.requests import adapt, outlook
from coldstart_cli.config.candidate_files import candidates_file, candidates_in
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


def test_adapting_again_goes_on_with_the_strategy_of_the_bundle_that_is_there(here: None) -> None:
    own = ("dataset=arrays", "dataset.root=points.npz", "hardware=cpu")
    chosen = (
        "strategy=nearest_centroid",
        "model=features",
        "dataset.standardise=true",
        "strategy.temperature=2.5",
    )
    first = adapt((*own, *chosen), [], run=None, bundle=Path("b"))
    with pytest.warns(
        RuntimeWarning, match=r"nearest_centroid model=features .*temperature=2.5.* \(version 1\)$"
    ):
        assert adapt(own, [], run=None, bundle=Path("b")).found  # all is as it was, the scales as well
    with pytest.warns(RuntimeWarning, match="as in the bundle that is there"):
        other = adapt((*own, "strategy.temperature=1.5"), [], run=None, bundle=Path("b"))
    assert other.card.build.strategy == {**first.card.build.strategy, "temperature": 1.5}
    assert other.card.changed is not None
    assert other.card.changed.adapted_by == ("strategy.temperature 2.5 before, 1.5 now",)
    with pytest.warns(RuntimeWarning, match="the plain one for such inputs"):
        anew = adapt((*own, "overwrite=true"), [], run=None, bundle=Path("b"))
    assert anew.card.strategy == "logistic"


def test_settings_of_a_candidate_of_choose_are_taken_whole(here: None, tmp_path: Path) -> None:
    own = ("dataset=arrays", "dataset.root=points.npz", "hardware=cpu", "dataset.standardise=true")
    words = next(
        one.words for one in candidates_in(candidates_file("vectors", [])) if "strategy=r2d2" in one.words
    )
    first = adapt((*own, *words), [], run=None, bundle=Path("b"))
    with pytest.warns(RuntimeWarning, match=" ".join(map(re.escape, words))):
        assert adapt(own, [], run=None, bundle=Path("b")).card.made_from == first.card.made_from


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


def test_an_earlier_version_is_put_back_and_found_again(here: None) -> None:
    adapt(WORDS, [], run=None, bundle=Path("b"))
    adapt((*WORDS, "threshold=0.5"), [], run=None, bundle=Path("b"))
    back = adapt(("version=1",), [], run=None, bundle=Path("b"))
    assert (back.card.version, back.card.threshold, back.card.changed) == (3, 0.0, None)
    assert adapt(WORDS, [], run=None, bundle=Path("b")).found  # what made version 1 finds this one
    with pytest.raises(RequestError, match=r"^version: .*adapts nothing; leave out strategy$"):
        adapt(("version=1", "strategy=logistic"), [], run=None, bundle=Path("b"))
    with pytest.raises(RequestError, match=r"^version: 'x' is no number"):
        adapt(("version=x",), [], run=None, bundle=Path("b"))
    with pytest.raises(RequestError, match=r"^version: .*--dry-run$"):
        outlook(("version=1", "bundle=b"), [])
    Path("b/card.json").write_text(Path("b/card.json").read_text().replace('"a"', '"c"'))
    with pytest.raises(RequestError, match=r"cannot be kept as an earlier version .*overwrite=true"):
        adapt(("version=2",), [], run=None, bundle=Path("b"))
    assert adapt(("version=2", "overwrite=true"), [], run=None, bundle=Path("b")).card.threshold == 0.5
