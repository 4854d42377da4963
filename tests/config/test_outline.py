"""Keys of YAML files, read without a parser: values, comments, lists, choices of a defaults list."""

from __future__ import annotations

from pathlib import Path

from coldstart_cli.config.catalog import Entry, catalogue, search_roots
from coldstart_cli.config.outline import (
    Written,
    composed,
    defaults,
    entry,
    node,
    outline,
    own_package,
    selected,
)

GROUPS = catalogue(search_roots())


def test_a_choice_as_typed_replaces_the_one_of_the_defaults() -> None:
    train = entry(GROUPS, "", "train")
    keys = composed(train, selected(train, ["strategy=protonet", "model=mlp"], GROUPS), GROUPS)
    assert "model.activation" in keys and "strategy.inner_lr" not in keys


def test_outline_reads_lists_comments_and_nested_keys(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a:  # of a\n  b: 'x y'  # of b\n  c:\n    - one\n    - two  # not it\nd: [1, 2]\n")
    found = {key: (w.value, w.comment) for key, w in outline(path).items()}
    assert found == {
        "a": ("", "of a"), "a.b": ("'x y'", "of b"), "a.c": ("[one, two]", ""), "d": ("[1, 2]", "")
    }  # fmt: skip


def test_defaults_of_a_file_are_read_with_their_packages_and_comments(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(
        "defaults:\n  - base\n  - override /model: mlp  # small\n"
        "  - /strategy@teacher: maml\n  - _self_\nb: 1\n"
    )
    found = [(choice, written.value, written.comment) for choice, written in defaults(path)]
    assert found == [("", "base", ""), ("model", "mlp", "small"), ("strategy@teacher", "maml", "")]


def test_keys_of_a_choice_stand_where_its_package_line_says(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    for line, place in (("# @package _global_", ""), ("# @package a.b", "a.b"), ("# A comment", "strategy")):
        path.write_text(f"{line}\nrate: 1\n")
        assert own_package(Entry("strategy", "x", path)) == place


def test_a_choice_that_includes_itself_ends(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("defaults:\n  - x\nrate: 1\n")
    groups = {"strategy": [Entry("strategy", "x", path)]}
    assert node(groups, "strategy", "x") == {"strategy.rate": Written("1", "")}
    assert node(groups, "strategy", "y") == {}
