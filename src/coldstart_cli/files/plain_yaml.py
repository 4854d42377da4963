"""YAML that somebody else may have written: of a run, a bundle or a folder of configs.

Values alone come out: no alias that unfolds to gigabytes, no tag, no interpolation that reads the
environment.
"""

from __future__ import annotations

from typing import Any

import yaml

from coldstart_cli.files.untrusted import DEEPEST, Foreign, scalars

LARGEST_YAML = 1 << 20
"""Bytes; a run's config has five thousand."""
LONGEST = 1 << 14
"""Characters of one value."""
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # thirty times as fast, where it is built


class _Once(_LOADER):  # type: ignore[misc]
    """Refuses a key that stands twice in a mapping, of which YAML lets the last count."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        keys = [(key.tag, key.value) for key, _ in node.value]
        if twice := [key for number, key in enumerate(keys) if key in keys[:number]]:
            raise Foreign(f"gives {twice[0][1]!s:.40} twice; keep one")
        return super().construct_mapping(node, deep)


def yaml_values(text: str) -> Any:
    """Plain values of a YAML text without interpolations.

    Raises:
        Foreign: where it is not YAML, or more than values.
    """
    value = loaded(text)
    for found in scalars(value, DEEPEST):
        if isinstance(found, str) and "${" in found:
            raise Foreign("holds an interpolation, which no resolved config has; do not trust it")
    return value


def loaded(text: str) -> Any:
    """What a YAML text holds, once it is known to be bounded; interpolations are texts.

    Raises:
        Foreign: where it is not YAML, or more than values.
    """
    _scan(text)
    try:
        return _Once(text).get_single_data()
    except Foreign:
        raise
    except (yaml.YAMLError, ValueError, OverflowError, TypeError) as error:
        raise Foreign("is not YAML") from error


def _scan(text: str) -> None:
    """Looks at a YAML text event by event; nothing is made of it."""
    if len(text) > LARGEST_YAML:
        raise Foreign(f"has more than {LARGEST_YAML >> 20} MiB")
    depth = 0
    try:
        for event in yaml.parse(text, _LOADER):
            if isinstance(event, yaml.AliasEvent):
                raise Foreign("holds a YAML alias")
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            if depth > DEEPEST:
                raise Foreign(f"is more than {DEEPEST} levels deep")
            if getattr(event, "tag", None) is not None:
                raise Foreign("holds a YAML tag")
            if len(getattr(event, "value", "")) > LONGEST:
                raise Foreign(f"holds a value of more than {LONGEST:,} characters")
    except (yaml.YAMLError, ValueError) as error:
        if isinstance(error, Foreign):
            raise
        raise Foreign("is not YAML") from error
