"""torch's optimizers without torch._dynamo, whose import takes longer than all other work before step 1.

Their constructor and every step import it only to switch it off: 1.2 s for nothing where nothing is
compiled. The arithmetic is still torch's own function.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable

import torch

_METHODS = ("add_param_group", "state_dict", "load_state_dict", "zero_grad")


def eagerly(optimizer: type[torch.optim.Optimizer]) -> Callable[..., torch.optim.Optimizer]:
    """The class without the import, or the class itself where torch's internals have changed."""
    raw = inspect.unwrap(optimizer.step)
    inner = [inspect.unwrap(getattr(torch.optim.Optimizer, name)) for name in _METHODS]
    if raw is optimizer.step:
        return optimizer
    for function in inner:
        # What torch's wrapper would put here on the first call, after the import.
        function.__dict__.setdefault("__dynamo_disable", function)
    # torch's own `step` runs without gradients too, but through the wrapper that is left out here.
    made: type[torch.optim.Optimizer] = type(
        optimizer.__name__, (optimizer,), {"step": torch.no_grad()(raw), "__module__": __name__}
    )
    return made
