"""Where this checkout lies."""

from __future__ import annotations

from pathlib import Path

import pytest

from coldstart_cli.core.tasks import Strategy, installed

REPOSITORY = Path(__file__).resolve().parents[2]
CONF = REPOSITORY / "conf"
STRATEGIES = sorted(path.stem for path in (CONF / "strategy").glob("*.yaml"))


def skip_without_package(strategy: Strategy) -> None:
    """Skips the test where an optional package that the strategy adapts by is not installed."""
    if strategy.needs_package is not None:
        package, extra = strategy.needs_package
        if not installed(package):
            pytest.skip(f"needs the extra {extra}")
