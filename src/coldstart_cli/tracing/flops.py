"""The arithmetic of a call, counted by torch's own table of formulas."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.utils.flop_counter import flop_registry

from coldstart_cli.tracing.dispatch import Mode


def flops(call: Callable[[], object]) -> int:
    """Operations of the convolutions and matrix products in a call; a multiply-add counts as 2."""
    counter = _Counter()
    with counter:
        call()
    return counter.total


class _Counter(Mode):
    """torch.utils.flop_counter.FlopCounterMode's sum, without its import of a compiler (.7 s, 50 MB)."""

    def __init__(self) -> None:
        super().__init__()
        self.total: int = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        formula = flop_registry.get(func.overloadpacket)
        if formula is None:
            # `self` is inactive inside its own dispatch, so it has to be entered again to see the parts.
            with self:  # made of other operations, as attention is where it has no kernel of its own
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        answer = func(*args, **kwargs)
        if formula is not None:
            self.total += formula(*args, **kwargs, out_val=answer)
        return answer
