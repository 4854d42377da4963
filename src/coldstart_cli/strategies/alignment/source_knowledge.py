"""What a source model remembers of its classes: where they lie, and what they are called."""

from __future__ import annotations

from typing import NamedTuple, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from coldstart_cli.core.objectives import one_hot
from coldstart_cli.core.tasks import Pool, map_inputs
from coldstart_cli.strategies.building_blocks.discrepancy import squared_distances
from coldstart_cli.strategies.building_blocks.prototypes import prototypes

READ_AT_ONCE = 512
"""Number of source examples whose features are computed together."""


class Elsewhere(NamedTuple):
    """What is known of the source without one of its tasks.

    Attributes:
        own: (n_way,) the source class that each of the task's classes is.
        known: (n_source, d) means of the classes.
        open: (n_way, n_source) what each of the task's classes may attend to.
    """

    own: Tensor
    known: Tensor
    open: Tensor


@final
class SourceKnowledge(nn.Module):
    """Buffers, 0 until filled. Features are centred by their mean over the source and have length 1.

    Attributes:
        centre: (d,) the mean of the classes' mean features, as the encoder gives them.
        known: (n_source, d) the mean of each class's centred features; 0 for a class without examples.
        sizes: (n_source,) its examples.
        names_centre: (d,) the mean of the names' features.
        names: (n_source, d) the names, centred by their own mean, since they are not texts like the examples.
            All 0 where classes have none.
    """

    centre: Tensor
    known: Tensor
    sizes: Tensor
    names_centre: Tensor
    names: Tensor

    def __init__(self, n_source: int, feature_dim: int) -> None:
        super().__init__()
        for name in ("centre", "names_centre"):
            self.register_buffer(name, torch.zeros(feature_dim))
        for name in ("known", "names"):
            self.register_buffer(name, torch.zeros(n_source, feature_dim))
        self.register_buffer("sizes", torch.zeros(n_source))

    @torch.no_grad()
    def fill(self, encoder: nn.Module, pool: Pool) -> None:
        """Reads the whole pool twice: a mean, then means of what has been centred by it."""
        self.centre.zero_()
        sums, sizes = self._sums(encoder, pool, centred=False)
        seen = sizes > 0
        self.centre.copy_((sums[seen] / sizes[seen].unsqueeze(-1)).mean(0))
        self.sizes.copy_(sizes)
        sums, _ = self._sums(encoder, pool, centred=True)
        self.known.copy_(sums / sizes.clamp(min=1).unsqueeze(-1))
        if pool.read_names is not None:
            names = encoder(map_inputs(lambda t: t.to(self.names.device), pool.read_names))
            self.names_centre.copy_(names.mean(0))
            self.names.copy_(self.centred_names(names))

    def centred(self, features: Tensor) -> Tensor:
        """(n, d) features of examples, as the encoder gives them -> centred, of length 1."""
        return F.normalize(features - self.centre, dim=-1)

    def centred_names(self, features: Tensor) -> Tensor:
        """The same of names."""
        return F.normalize(features - self.names_centre, dim=-1)

    def open_to(self, n_way: int, source_classes: Tensor | None) -> Tensor:
        """(n_way, n_source) what a new task's classes may attend to: themselves, if the source has them."""
        if source_classes is not None:
            return one_hot(source_classes, len(self.known)).bool()
        return (self.sizes > 0).expand(n_way, -1)

    def without(self, features: Tensor, targets: Tensor, n_way: int, *, shared: bool) -> Elsewhere:
        """What is known beside a training task, whose classes are the nearest by all of its labels.

        Args:
            features: (n, d) all of the task's examples, centred, with their targets (n,).
            shared: new tasks have the classes of the source: a class then attends to itself, of which the
                task's examples are taken away. Otherwise all classes of the task are hidden from it.
        """
        means = prototypes(features, targets, n_way)
        own = squared_distances(means, self.known).argmin(-1)
        is_own = one_hot(own, len(self.known)).bool()
        if not shared:
            return Elsewhere(own, self.known, (~is_own.any(0) & (self.sizes > 0)).expand(n_way, -1))
        counts = one_hot(targets, n_way).sum(0)
        left = (self.sizes[own] - counts).clamp(min=0).unsqueeze(-1)
        sums = self.sizes[own].unsqueeze(-1) * self.known[own] - counts.unsqueeze(-1) * means
        # Of a class without other examples nothing is known.
        others = torch.where(left > 0, sums / left.clamp(min=1), 0)
        # A sum by a matrix rather than an assignment, which vmap does not lift.
        members = is_own.to(self.known.dtype)
        known = (1 - members.amax(0)).unsqueeze(-1) * self.known + members.T @ others
        return Elsewhere(own, known, is_own)

    def _sums(self, encoder: nn.Module, pool: Pool, *, centred: bool) -> tuple[Tensor, Tensor]:
        """Sums of each class's features (n_source, d), and their numbers (n_source,)."""
        sums, sizes = torch.zeros_like(self.known), torch.zeros_like(self.sizes)
        # In parts, so that memory does not grow with the pool.
        for first in range(0, len(pool), READ_AT_ONCE):
            indices = torch.arange(first, min(first + READ_AT_ONCE, len(pool)))
            examples = pool.examples(indices).to(sums.device)
            features = encoder(examples.inputs)
            members = one_hot(examples.targets, len(sums)).to(features.dtype)
            sums += members.T @ (self.centred(features) if centred else features)
            sizes += members.sum(0)
        return sums, sizes
