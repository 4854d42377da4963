"""Words as typed: paths and names need no quotes, and no key counts twice in silence."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from coldstart_cli.config.typed import in_quotes, once, quoted
from coldstart_cli.errors import RequestError

VALUES = ["/ä/b", "/a=b", "/a,b", "/a'b", '/a"b', "/a(b)", "/a[1]", "~/x", "/a{b}", "/a#b", "/ä\\", "/ä\\'x",
          "日本", "/ä x,y=z'q", "/a b", "/a\\b", "Größe"]  # fmt: skip


@pytest.mark.parametrize("value", VALUES)
def test_quoted_words_are_what_was_typed(value: str) -> None:
    (word,) = quoted([f"dataset.root={value}"], sweeps=False)
    assert OverridesParser.create().parse_overrides([word])[0].value() == value
    assert quoted([word], sweeps=False) == [word]  # once


@pytest.mark.parametrize("value", VALUES)
def test_in_quotes_is_one_value(value: str) -> None:
    assert OverridesParser.create().parse_overrides([f"a={in_quotes(value)}"])[0].value() == value


@pytest.mark.parametrize(
    "word",
    ["strategy.inner_lr=tag(log,interval(0.01,1))", "strategy=maml,anil", "x=[a/ä]", "a.b='ä'", "seed=0,1",
     "model.hidden=[1,2]", "hardware.x=${a/ä}", "strategy@baseline=scratch", "~strategy", "a={b: ä/c}"],
)  # fmt: skip
def test_quoted_leaves_hydras_own_grammar(word: str) -> None:
    assert quoted([word], sweeps=True) == quoted([word], sweeps=False) == [word]


def test_a_comma_of_a_sweep_is_a_paths_where_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert quoted(["dataset.root=a/x,b"], sweeps=True) == ["dataset.root=a/x,b"]
    assert quoted(["dataset.root=a/x,b"], sweeps=False) == ["dataset.root='a/x,b'"]
    Path("a").mkdir()
    Path("a/x,b").touch()
    assert quoted(["dataset.root=a/x,b"], sweeps=True) == ["dataset.root='a/x,b'"]
    assert quoted(["tune.storage=a,b"], sweeps=True) == ["tune.storage='a,b'"]  # it is never swept


def test_once_refuses_a_choice_that_is_made_twice() -> None:
    with pytest.raises(RequestError, match="strategy: the key is given twice, as maml and anil; leave one"):
        list(once(["strategy=maml", "+strategy=anil"]))
    assert list(once(["strategy=maml", "strategy=maml", "~strategy"])) == []


def test_once_says_which_value_counts() -> None:
    said = list(once(["training.steps=4", "seed=1", "training.steps=5"]))
    assert said == ["training.steps: the key is given twice, as 4 and 5; the last counts"]
