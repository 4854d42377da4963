"""Every strategy of conf/strategy, each on trial on small images."""

from __future__ import annotations

from functools import cache

from coldstart_cli.testing.trial import Trial
from tests.kit.places import STRATEGIES


@cache
def trials() -> list[Trial]:
    """Built once a process, for what they say of themselves decides which tests concern them."""
    return [Trial(name) for name in STRATEGIES]
