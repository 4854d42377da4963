"""What `adapt` is asked for: names as they are, one bundle at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from coldstart_cli.bundles.requests import adapt, outlook, quoted
from coldstart_cli.errors import RequestError

WORDS = (
    "strategy=logistic", "model=mlp", "model.hidden=[4]", "hardware=cpu", "hardware.threads=1",
    "experiment=smoke", "dataset=arrays", "dataset.root=points.npz", "untrained=true",
)  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [
        "größe.csv",
        "my (1), file.csv",
        "my file.csv",
        "a: b",
        "it's",
        "back\\slash",
        "tail\\",
        "#1",
        "名前",
        "-x",
    ],
)
def test_a_name_is_read_as_it_is_typed(name: str) -> None:
    parsed = OverridesParser.create().parse_override(quoted(f"dataset.root={name}"))
    assert parsed.value() == name and not parsed.is_sweep_override()


@given(st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1))
def test_any_name_is_read_as_it_is_typed_unless_it_comes_in_quotes(name: str) -> None:
    if name[0] in "'\"" or name == "null" or name.startswith("${"):
        return
    parsed = OverridesParser.create().parse_override(quoted(f"dataset.label_column={name}"))
    assert str(parsed.value()) == name


@pytest.mark.parametrize(
    "word", ["dataset.root='a b'", "dataset.task_column=null", "strategy=maml", "steps=5"]
)
def test_other_words_stay_as_they_are(word: str) -> None:
    assert quoted(word) == word


def test_a_list_of_names_needs_no_quotes() -> None:
    parsed = OverridesParser.create().parse_override(quoted("dataset.ignore=[größe, my column,c]"))
    assert parsed.value() == ["größe", "my column", "c"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torch_settings: None) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("coldstart_cli.experiment.parts._sources", {})
    x = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
    np.savez("points.npz", x=x, y=np.repeat(["a", "b"], 6))


def test_several_strategies_lead_to_what_to_do(here: None) -> None:
    with pytest.raises(RequestError, match=r"makes one bundle.*run it once for each"):
        adapt(("strategy=logistic,protonet", *WORDS[1:]), [], run=None, bundle=Path("b"))


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
