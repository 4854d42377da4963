"""Configs for many tests from few compositions: each takes a tenth of a second, and tests need a thousand.

Which configs are chosen is composed once; a plain value at a key that is there is then set as Hydra would.
"""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hydra._internal.config_repository import ConfigRepository
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.plugins.config_source import ConfigResult

from tests.kit.places import CONF

Compose = Callable[[Sequence[str]], dict[str, Any]]
Load = Callable[[ConfigRepository, str], ConfigResult | None]
_VALUE = re.compile(r"(seed|outputs|again|[a-z]\w*(\.\w+)+)=[^$]*")  # a value of a config, no interpolation
_ABSENT = object()
_YAML = "\n".join(path.read_text(encoding="utf-8") for path in sorted(CONF.rglob("*.yaml")))
_READ_ELSEWHERE = set(re.findall(r"\$\{[^}]*?(\w+)\}", _YAML))
"""Last parts of keys whose values stand at other keys, too, by an interpolation: Hydra alone sets them."""


def remembered(compose: Compose) -> Compose:
    """`compose`, which may be called with the same words again at no cost.

    Not where words bring configs, targets or settings of Hydra along, which a test may change in between.
    """
    known: dict[tuple[str, ...], dict[str, Any] | None] = {}

    @functools.wraps(compose)
    def composed(overrides: Sequence[str]) -> dict[str, Any]:
        words = tuple(overrides)
        if any("hydra" in word or "_target_" in word for word in words):
            return compose(words)
        values = [word for word in words if _VALUE.fullmatch(word) and _last(word) not in _READ_ELSEWHERE]
        chosen = tuple(word for word in words if word not in values)
        base = of_choices(chosen)
        config = None if base is None else _with(copy.deepcopy(base), values)
        return compose(words) if config is None else config

    def of_choices(words: tuple[str, ...]) -> dict[str, Any] | None:
        if words not in known:
            try:
                known[words] = compose(words)
            except Exception:  # a value is missing that comes with the others, or it is wrong: Hydra says so
                known[words] = None
        return known[words]

    return composed


def read_once(load: Load) -> Load:
    """`load` of `ConfigRepository`, which reads a file of an installed package once, not at each composition.

    Not where a folder is searched as well: a test may write into it between two compositions.
    """
    known: dict[tuple[str, ...], ConfigResult | None] = {}

    def loaded(repository: ConfigRepository, config_path: str) -> ConfigResult | None:
        if any(source.scheme() == "file" for source in repository.sources):
            return load(repository, config_path)
        key = (*(source.path for source in repository.sources), config_path)
        if key not in known:
            known[key] = load(repository, config_path)
        return copy.deepcopy(known[key])  # composing changes what it was given

    return loaded


def _last(word: str) -> str:
    return word.partition("=")[0].rpartition(".")[2]


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
