"""A network that no run has trained: what may be made of it, and what is said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from coldstart_cli.core.stepping import adapted_after
from coldstart_cli.core.strategy import Strategy
from coldstart_cli.core.tasks import Support
from coldstart_cli.errors import RequestError
from coldstart_cli.models.pretrained.features import Pretrained


def said_of_untrained(
    config: Mapping[str, Any], strategy: Strategy, support: Support, *, allowed: bool
) -> tuple[str, ...]:
    """What a person is to know of a strategy that learns from a source and has none.

    Args:
        allowed: a head alone may be fitted over random weights.

    Raises:
        RequestError: where adaptation leaves the network's random weights as they are.
    """
    name, model = config["names"]["strategy"], config["names"]["model"]
    random = [n for n, p in strategy.named_parameters() if "encoder." in n and p.requires_grad]
    pretrained = any(isinstance(module, Pretrained) for module in strategy.modules())
    if not strategy.learns_from_source or not random or pretrained:
        return ()
    adapted = adapted_after(strategy, support, 1)
    if not allowed and not any("encoder." in changed for changed in adapted.changed):
        raise RequestError(
            f"strategy: {name} fits no weight of {model}, and no run has trained them: they would stay "
            "random; name a run (run=DIR) or a pretrained model (model=minilm_frozen), or choose "
            "model=features or strategy=scratch (E25)"
        )
    return (f"no run is named: {model} started from random weights, as with strategy=scratch",)
