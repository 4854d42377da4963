"""Where this checkout lies."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from coldstart_cli import strategies
from coldstart_cli.core.strategy import installed

REPOSITORY = Path(__file__).resolve().parents[2]
CONF = REPOSITORY / "conf"
STRATEGIES = sorted(path.stem for path in (CONF / "strategy").glob("*.yaml"))


def lacks_package(name: str) -> str | None:
    """The extra that a strategy needs and that is not installed, or None."""
    head = (CONF / "strategy" / f"{name}.yaml").read_text(encoding="utf-8")
    target = re.search(r"^_target_: coldstart_cli\.strategies\.(\w+)$", head, re.MULTILINE)
    found = None if target is None else getattr(strategies, target[1])  # a function has no such attribute
    package = getattr(found, "needs_package", None)
    return None if package is None or installed(package[0]) else package[1]


def skip_without_package(name: str) -> None:
    """Skips the test where an optional package that the strategy adapts by is not installed."""
    if (extra := lacks_package(name)) is not None:
        pytest.skip(f"needs the extra {extra}")
