"""Configs for many tests from few compositions: each takes a tenth of a second, and tests need a thousand.

Which configs are chosen is composed once; a plain value at a key that is there is then set as Hydra would.
"""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser

Compose = Callable[[Sequence[str]], dict[str, Any]]
_VALUE = re.compile(r"(seed|outputs|again|[a-z]\w*(\.\w+)+)=[^$]*")  # a value of a config, no interpolation
_ABSENT = object()


def remembered(compose: Compose) -> Compose:
    """`compose`, which may be called with the same words again at no cost.

    Not where words bring configs, targets or settings of Hydra along, which a test may change in between.
    """
    known: dict[tuple[str, ...], dict[str, Any]] = {}

    @functools.wraps(compose)
    def composed(overrides: Sequence[str]) -> dict[str, Any]:
        words = tuple(overrides)
        if any("hydra" in word or "_target_" in word for word in words):
            return compose(words)
        values = [word for word in words if _VALUE.fullmatch(word)]
        chosen = tuple(word for word in words if word not in values)
        config = _with(copy.deepcopy(of_choices(chosen)), values)
        return compose(words) if config is None else config

    def of_choices(words: tuple[str, ...]) -> dict[str, Any]:
        if words not in known:
            known[words] = compose(words)
        return known[words]

    return composed


def _with(config: dict[str, Any], values: Sequence[str]) -> dict[str, Any] | None:
    """The config with its values set, or None where only Hydra can say what a word means."""
    for override in OverridesParser.create().parse_overrides(list(values)):
        *above, last = override.key_or_group.split(".")
        node: Any = config
        for key in above:
            node = node.get(key) if isinstance(node, Mapping) else None
        before = node.get(last, _ABSENT) if isinstance(node, dict) else _ABSENT
        value = None if override.is_sweep_override() else override.value()
        plain = value is None or isinstance(value, bool | int | float | str | list)
        if before is _ABSENT or isinstance(before, Mapping) or not plain or override.is_sweep_override():
            return None
        node[last] = value
    return config
