"""What `coldstart tune` searches by itself: a file for every strategy, whose keys exist and parse."""

from __future__ import annotations

from pathlib import Path

import pytest

from coldstart_cli.config import composition
from coldstart_cli.config.search_files import ranges_in, search_file
from coldstart_cli.errors import RequestError
from tests.kit.places import CONF, STRATEGIES


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_has_a_search_whose_keys_exist_and_parse(name: str) -> None:
    path = search_file(name, [])
    assert path is not None
    fixed, space = composition.search_space(ranges_in(path))
    assert fixed == [] and space
    for values in (
        [s.first for s in space.values()],
        [s.choices[-1] if s.choices else s.high for s in space.values()],
    ):
        words = [f"{key}={value}" for key, value in zip(space, values, strict=True)]
        ((_, config),) = composition.points([f"strategy={name}", *words])
        assert config["names"]["strategy"] == name


def test_every_search_is_of_a_strategy() -> None:
    assert {path.stem for path in (CONF / "search").glob("*.yaml")} == set(STRATEGIES)


def test_a_folder_of_your_own_may_hold_searches(tmp_path: Path) -> None:
    assert search_file("mine", [str(tmp_path)]) is None
    (tmp_path / "search").mkdir()
    own = tmp_path / "search" / "mine.yaml"
    own.write_text("# Mine\nstrategy.lr: interval(0.1, 1)\n")
    assert search_file("mine", [str(tmp_path)]) == own
    assert ranges_in(own) == ["strategy.lr=interval(0.1, 1)"]
    over = tmp_path / "search" / "maml.yaml"
    over.write_text("# Ours\nstrategy.inner_lr: interval(0.1, 1)\n")
    assert search_file("maml", [str(tmp_path)]) == over


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("strategy.lr: 3\n", "strategy.lr: 3 is no range; write"),
        ("- a\n", "is no mapping of keys to ranges; write"),
        ("", "is no mapping of keys to ranges; write"),
        ("a: interval(0, 1)\na: interval(0, 2)\n", "gives a twice; keep one"),
        ("a: ${oc.env:HOME}\n", "cannot be read as a mapping of keys to ranges"),
    ],
)
def test_what_is_no_search_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(RequestError, match=said):
        ranges_in(path)
