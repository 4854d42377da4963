"""What trackers share: flat configs, ids beside one another, a package that is not installed."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coldstart_cli.config.building import check
from coldstart_cli.errors import RequestError
from coldstart_cli.loggers.logger import Logger
from coldstart_cli.loggers.tracker_ids import keep_id, kept_id, scalars
from tests.kit.tracked import CONFIG, FLAT


@pytest.mark.parametrize("name", ["mlflow", "wandb", "trackio", "tensorboard"])
def test_tracker_that_is_not_installed_is_refused_in_one_line(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from coldstart_cli.config import composition

    ((_, config),) = composition.points([f"logger=[{name}]"])
    monkeypatch.setitem(sys.modules, name, None)  # type: ignore[arg-type]  # as if it were absent
    message = (
        f"logger.{name}: the package {name} is not installed; pip install -e '.[{name}]' in the clone (E50)"
    )
    with pytest.raises(RequestError) as caught:
        check(config["logger"][name], f"logger.{name}", Logger, [])
    assert str(caught.value) == message


def test_flat_names_every_value_by_its_place() -> None:
    assert scalars(CONFIG) == FLAT
    assert scalars({}) == {}


nodes = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.dictionaries(st.text("abc", min_size=1), inner) | st.lists(inner, max_size=3),
)


@settings(max_examples=50)
@given(st.dictionaries(st.text("abc", min_size=1), nodes))
def test_flat_loses_nothing(config: dict[str, Any]) -> None:
    found = scalars(config)

    def place(node: object, key: str) -> Iterator[tuple[str, object]]:
        if isinstance(node, dict) and node:
            for name, value in node.items():
                yield from place(value, f"{key}.{name}" if key else name)
        elif key:
            yield key, node

    expected = dict(place(config, ""))
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert (json.loads(found[key]) if isinstance(value, dict | list) else found[key]) == value


def test_kept_ids_stand_side_by_side(run_path: Path) -> None:
    assert kept_id(run_path, "mlflow") is None
    keep_id(run_path, "mlflow", "a")
    keep_id(run_path, "wandb", "b")
    keep_id(run_path, "mlflow", "c")
    assert (kept_id(run_path, "mlflow"), kept_id(run_path, "wandb")) == ("c", "b")
