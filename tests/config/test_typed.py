"""Words as typed: paths and names need no quotes, and no key counts twice in silence."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from coldstart_cli.config.typed import in_quotes, once, quoted
from coldstart_cli.errors import RequestError

VALUES = ["/ä/b", "/a=b", "/a,b", "/a'b", '/a"b', "/a(b)", "/a[1]", "~/x", "/a{b}", "/a#b", "/ä\\", "/ä\\'x",
          "日本", "/ä x,y=z'q", "/a b", "/a\\b", "Größe"]  # fmt: skip


def typed(word: str) -> str:
    return quoted([word], sweeps=False)[0]


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
    parsed = OverridesParser.create().parse_override(typed(f"dataset.root={name}"))
    assert parsed.value() == name and not parsed.is_sweep_override()


@given(st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1))
def test_any_name_is_read_as_it_is_typed_unless_it_comes_in_quotes(name: str) -> None:
    if name[0] in "'\"" or name == "null" or name.startswith("${"):
        return
    parsed = OverridesParser.create().parse_override(typed(f"dataset.label_column={name}"))
    assert str(parsed.value()) == name


@pytest.mark.parametrize(
    "word", ["dataset.root='a b'", "dataset.task_column=null", "strategy=maml", "steps=5"]
)
def test_other_words_stay_as_they_are(word: str) -> None:
    assert typed(word) == word


def test_a_list_of_names_needs_no_quotes() -> None:
    parsed = OverridesParser.create().parse_override(typed("dataset.ignore=[größe, my column,c]"))
    assert parsed.value() == ["größe", "my column", "c"]
