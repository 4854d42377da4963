"""Families of strategies, by the package in which their class lies."""

from __future__ import annotations

from pathlib import Path

from coldstart_cli.config.catalog import Entry, catalogue, search_roots
from coldstart_cli.config.families import by_family, family_of
from tests.test_conf import composed, located

GROUPS = catalogue(search_roots())


def test_strategies_are_ordered_by_the_package_in_which_their_class_lies(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("# Mine\n_target_: not_installed.Mine\n")
    families = by_family([*GROUPS["strategy"], Entry("strategy", "mine", mine)], GROUPS)
    assert list(families) == ["meta-learning", "distillation", "transfer", "alignment", None]
    assert [entry.name for entry in families.pop(None)] == ["mine"]
    for family, entries in families.items():
        for entry in entries:
            module = located(composed(f"strategy={entry.name}")["strategy"]["_target_"]).__module__
            assert module.split(".")[2].replace("_", "-") == family


def test_a_name_of_an_earlier_version_has_a_family_and_a_flat_package_has_none() -> None:
    assert family_of("coldstart_cli.strategies.MAML") == "meta-learning"
    assert list(by_family(GROUPS["optimizer"], GROUPS)) == [None]
