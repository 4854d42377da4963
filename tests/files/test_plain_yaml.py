"""YAML of strangers is read as plain values, within bounds."""

from __future__ import annotations

import pytest
import yaml

from coldstart_cli.files.plain_yaml import LARGEST_YAML, LONGEST, loaded, yaml_values
from coldstart_cli.files.untrusted import DEEPEST, Foreign


def test_yaml_values_are_what_was_written() -> None:
    value = {"a": [1, 2.5, None, True, "x"], "b": {"c": {}}, "d": "$x {y}"}
    assert yaml_values(yaml.safe_dump(value)) == value
    assert yaml_values("") is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: &x [1]\nb: *x\n", "holds a YAML alias"),
        ("a: !!python/name:os.system\n", "holds a YAML tag"),
        ("a: ${oc.env:HOME}\n", "holds an interpolation"),
        ("[" * (DEEPEST + 1) + "]" * (DEEPEST + 1), f"is more than {DEEPEST} levels deep"),
        ("a: " + "x" * (LONGEST + 1), "holds a value of more than"),
        ("#" * (LARGEST_YAML + 1), "has more than 1 MiB"),
        ("a: [\n", "is not YAML"),
        ("a: 1\nb: {c: 1, d: 2, c: 3}\n", "gives c twice; keep one"),
    ],
)
def test_yaml_values_refuses_what_is_more_than_values(text: str, why: str) -> None:
    with pytest.raises(Foreign, match=why):
        yaml_values(text)


def test_loaded_keeps_interpolations_as_texts() -> None:
    assert loaded("a: ${b}\n") == {"a": "${b}"}
