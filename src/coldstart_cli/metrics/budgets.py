"""Limits on what a predictor may cost, and whether what was measured kept them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Protocol

from annotated_types import Ge, Gt

from coldstart_cli.metrics.results import Costs, Verdict

BATCH = 1
"""The batch whose time is limited: what one user waits for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """What the adapted predictor may cost on the hardware target; None where there is no limit.

    Limits change no measurement, so an evaluation on disk can be judged by any limits.

    Attributes:
        p50_ms, p95_ms: of a call with one input, in milliseconds.
        adaptation_ms: of adaptation to one task with the most shots that were evaluated, in milliseconds.
        parameters: numbers that the predictor holds.
        flops: floating-point operations of a call with one input, a multiply-add counted as 2.
        peak_memory_mib: in MiB, of what `Hardware.peak_memory` measures.
        enforce: whether the job fails where a limit is broken.
    """

    p50_ms: Annotated[float, Gt(0)] | None
    p95_ms: Annotated[float, Gt(0)] | None
    adaptation_ms: Annotated[float, Gt(0)] | None
    parameters: Annotated[int, Ge(1)] | None
    flops: Annotated[float, Gt(0)] | None
    peak_memory_mib: Annotated[float, Gt(0)] | None
    enforce: bool

    @property
    def limits(self) -> dict[str, float]:
        """The limits that are set, by name."""
        values = asdict(self)
        del values["enforce"]
        return {name: limit for name, limit in values.items() if limit is not None}

    def verdicts(self, costs: Costs) -> dict[str, Verdict]:
        """The verdict on each limit that is set, by its name."""
        # The most shots take longest, and the limit is on the longest adaptation.
        found = measured(costs, max(costs.adaptation_ms))
        # What was not measured is nan, which is above no limit and below none: the limit was not kept.
        known = {name: math.nan if value is None else value for name, value in found.items()}
        return {
            name: Verdict(limit, known[name], known[name] <= limit) for name, limit in self.limits.items()
        }


class Timed(Protocol):
    """Times of a call, of one run or over several."""

    @property
    def p50_ms(self) -> float | None: ...
    @property
    def p95_ms(self) -> float | None: ...


class Costly(Protocol):
    """What a predictor costs, in one run or over several: `metrics.results.Costs` says what each is."""

    @property
    def inference(self) -> Mapping[int, Timed]: ...
    @property
    def adaptation_ms(self) -> Mapping[int, float | None]: ...
    @property
    def parameters(self) -> float | None: ...
    @property
    def flops(self) -> float | None: ...
    @property
    def peak_memory(self) -> float | None: ...


def measured(costs: Costly, k: int) -> dict[str, float | None]:
    """What a predictor costs, by the names of the limits; None where it was not measured.

    Args:
        k: the number of shots whose adaptation counts.
    """
    one = costs.inference.get(BATCH)
    memory = costs.peak_memory
    return {
        "p50_ms": None if one is None else one.p50_ms,
        "p95_ms": None if one is None else one.p95_ms,
        "adaptation_ms": costs.adaptation_ms.get(k),
        "parameters": costs.parameters,
        "flops": costs.flops,
        "peak_memory_mib": None if memory is None else memory / 2**20,
    }


LIMITS = ("p50_ms", "p95_ms", "adaptation_ms", "parameters", "flops", "peak_memory_mib")
"""Costs that may be limited."""
