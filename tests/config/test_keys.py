"""Keys as `--help` and `explain` show them: complete, with the values Hydra composes, each with a line."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from coldstart_cli.config.catalog import CANDIDATES, Entry, catalogue, search_roots
from coldstart_cli.config.keys import explained, of_entry, unreadable
from coldstart_cli.files.durable import flat
from tests.test_conf import composed as by_hydra

GROUPS = catalogue(search_roots())
# Candidates are names of the author's; `choose` checks their keys (tests/config/test_candidate_files.py).
ENTRIES = {one.address: one for group, entries in GROUPS.items() if group != CANDIDATES for one in entries}


@pytest.mark.parametrize("address", ENTRIES)
def test_every_key_of_conf_has_a_type_and_a_line(address: str) -> None:
    keys = explained(of_entry(ENTRIES[address], GROUPS))
    assert [
        key.name for key in keys if not (key.line or key.comment)
    ] == []  # write a comment beside the value
    assert [key.name for key in keys if not key.type] == []


@pytest.mark.parametrize("address", [a for a in ENTRIES if a.startswith(("strategy/", "dataset/", "model/"))])
def test_keys_have_the_values_that_hydra_composes(address: str) -> None:
    entry = ENTRIES[address]
    node = flat(by_hydra(f"{entry.group}={entry.name}")[entry.group], f"{entry.group}.")
    keys = {key: w.value for key, w in of_entry(entry, GROUPS).items()}
    leaves = {key: value for key, value in keys.items() if not any(k.startswith(f"{key}.") for k in keys)}
    assert leaves.keys() >= {key for key in node if not any(key.startswith(f"{k}.") for k in leaves)}
    for key, value in leaves.items():
        if "${" not in value and key in node and "_target_" not in key and "known_duplicates" not in key:
            assert yaml.safe_load(value) == node[key], key


def test_keys_of_an_experiment_are_those_it_sets_with_the_types_of_what_it_chooses() -> None:
    keys = {k.name: k for k in explained(of_entry(ENTRIES["experiment/paper/omniglot_maml"], GROUPS))}
    assert keys["dataset.split"].choices == ("background", "vinyals", "random")
    assert keys["dataset.split"].default == "random"
    assert "dataset.bank_seed" not in keys


def test_a_class_without_source_is_named_and_its_keys_are_those_of_the_file(
    tmp_path: Path,
) -> None:
    path = tmp_path / "strategy" / "theirs.yaml"
    path.parent.mkdir()
    path.write_text("# Theirs\n_target_: not_installed.Theirs\nrate: 0.5  # a share\n")
    keys = of_entry(
        Entry("strategy", "theirs", path), {**GROUPS, "strategy": [Entry("strategy", "theirs", path)]}
    )
    (rate,) = explained(keys)
    assert (rate.name, rate.default, rate.type, rate.short) == ("strategy.rate", "0.5", "", "a share")
    assert unreadable(keys) == ["not_installed.Theirs"]
