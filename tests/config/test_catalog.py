"""The configurations at hand, from folders of a test's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from coldstart_cli.config.catalog import Entry, catalogue, find, nearest_group, search_roots
from coldstart_cli.errors import RequestError
from coldstart_cli.package import packaged_conf


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("strategy/a.yaml", "strategy/deep/b.yaml", "hydra/launcher/c.yaml", "train.yaml",
                 "strategy/_hidden.yaml", ".git/d.yaml", "strategy/notes.txt"):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"# {name}\n")
    return tmp_path


def test_groups_are_folders_and_those_of_hydra_are_two_levels_deep(root: Path) -> None:
    found = {group: [entry.name for entry in entries] for group, entries in catalogue([root]).items()}
    assert found == {"": ["train"], "hydra/launcher": ["c"], "strategy": ["a", "deep/b"]}


def test_the_first_of_two_equal_names_is_taken(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    (other / "strategy").mkdir(parents=True)
    (other / "strategy" / "a.yaml").write_text("# another\n")
    assert find("strategy/a", [root, other]).path == root / "strategy" / "a.yaml"
    assert find("strategy=a.yaml", [other, root]).path == other / "strategy" / "a.yaml"


def test_what_is_not_there_is_refused_with_what_resembles_it(root: Path) -> None:
    with pytest.raises(RequestError, match=r"^strategy/aa: there is no such configuration; did you mean"):
        find("strategy/aa", [root])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("# @package _global_\n\n# What it is\na: 1\n", "What it is"),
        ("a: 1\n# too late\n", ""),
        ("#\n#   Indented \x1b[31m\n", "Indented \\x1b[31m"),
        ("", ""),
    ],
)
def test_a_description_is_the_first_comment_that_is_no_package_line(
    tmp_path: Path, text: str, words: str
) -> None:
    (tmp_path / "a.yaml").write_text(text)
    assert Entry("strategy", "a", tmp_path / "a.yaml").description == words


def test_a_head_is_all_comments_before_the_first_key(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("# What it is\n# @package _global_\n# Paper: 1\n#\n# Note\na: 1  # a share\n# no head\n")
    assert Entry("strategy", "a", path).head == ["What it is", "Paper: 1", "", "Note"]


def test_the_packages_own_configs_come_first_and_a_folder_must_be_one(root: Path) -> None:
    assert search_roots([str(root)])[:2] == [packaged_conf(), root]
    with pytest.raises(RequestError, match=r"^--config-dir: .*none is not a folder; name one that holds"):
        search_roots([str(root / "none")])


@pytest.mark.parametrize(
    ("missing", "found"),
    [("strategy/mamll", ("strategy", "mamll")), ("experiment/papr/x", ("experiment", "papr/x"))],
)
def test_the_group_of_a_missing_config_is_found_though_its_folder_is_misspelt(
    missing: str, found: tuple[str, str]
) -> None:
    group, name, options = nearest_group(missing, ["maml", "anil"])
    assert (group, name) == found
    assert options == ["maml", "anil"] if group == "strategy" else "smoke" in options
