"""What `serve` is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Ge, Gt, Le, Lt

from coldstart_cli.config.building import build

FEATURES_KEPT = 256
"""Inputs of one call from which a frozen encoder keeps features on disk, which no request may cause."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ServePlan:
    """See conf/serve.yaml."""

    bundle: str
    host: str
    port: Annotated[int, Ge(0), Le(65535)]
    top_k: Annotated[int, Ge(1)]
    batch_size: Annotated[int, Ge(1), Lt(FEATURES_KEPT)]
    max_inputs: Annotated[int, Ge(1)]
    max_mb: Annotated[float, Gt(0), Le(1024)]
    waiting: Annotated[int, Ge(1)]
    connections: Annotated[int, Ge(1)]
    per_minute: Annotated[int, Ge(1)] | None
    body_seconds: Annotated[float, Gt(0)]
    stop_seconds: Annotated[int, Ge(1)]

    @property
    def max_bytes(self) -> int:
        """Of one request's body."""
        return int(self.max_mb * 1e6)


def plan_of(values: Mapping[str, Any]) -> ServePlan:
    """The values of conf/serve.yaml, checked."""
    plan: ServePlan = build(values, "serve", ServePlan, [], {})
    return plan
