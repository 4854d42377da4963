"""What `choose` is asked for beside the config and the keys of `adapt`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Ge, Gt, Le

from coldstart_cli.config.building import build


@dataclass(frozen=True, kw_only=True, slots=True)
class ChoosePlan:
    """See conf/choose.yaml."""

    candidates: list[str] | None
    runs: list[str]
    time_minutes: Annotated[float, Gt(0)]
    p95_ms: Annotated[float, Gt(0)] | None
    max_mb: Annotated[float, Gt(0)] | None
    alpha: Annotated[float, Ge(0), Le(1)]


def plan_of(values: Mapping[str, Any]) -> ChoosePlan:
    """The values of conf/choose.yaml, checked."""
    plan: ChoosePlan = build(values, "choose", ChoosePlan, [], {})
    return plan
