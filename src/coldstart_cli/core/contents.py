"""What a task holds: its tensors in one order, and the hash that names it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from coldstart_cli.core.tasks import Examples, Task
from coldstart_cli.digests import digest


def tensors_of(*sets: Examples) -> list[Tensor]:
    """All tensors of the sets, in the order of `Examples.map`."""
    found: list[Tensor] = []

    def kept(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    for examples in sets:
        # By `map` rather than by fields, so that a subclass with more tensors, such as Support, is read
        # too.
        examples.map(kept)
    return found


def content_hash(task: Task) -> str:
    """Eight hexadecimal digits over the support and query sets: equal hashes are the same task."""
    parts: list[str | Tensor] = []
    for examples in (task.support, task.query):
        # Unlabelled examples and names are left out: methods with and without them are compared on the same
        # tasks.
        inputs = {"": examples.inputs} if isinstance(examples.inputs, Tensor) else examples.inputs
        for name, tensor in sorted(inputs.items()):
            # Shape and type too: the bytes of a (2, 3) and of a (3, 2) tensor may be the same.
            parts += [f"{name}{tuple(tensor.shape)}{tensor.dtype}", tensor]
        parts.append(examples.targets)
    return digest(parts, 8)


def raw_hash(
    support: NDArray[np.uint64], query: NDArray[np.uint64], support_targets: Tensor, query_targets: Tensor
) -> str:
    """Eight hexadecimal digits over a task's examples by their hashes, and its targets.

    Args:
        support, query: (n,) a hash of each example, whatever the model makes of it.
        support_targets, query_targets: of these, as in `Examples`.
    """
    return digest([f"{len(support)} {len(query)}", support, query, support_targets, query_targets], 8)
