"""Class means of features, and the predictor by which of them is nearest."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from coldstart_cli.core.objectives import one_hot
from coldstart_cli.core.tasks import Inputs
from coldstart_cli.strategies.building_blocks.discrepancy import squared_distances

_LARGEST = 1 << 24
"""Of examples times classes, above which a matrix of who belongs where costs more than it saves."""


def prototypes(features: Tensor, targets: Tensor, n_way: int, weights: Tensor | None = None) -> Tensor:
    """The mean feature of each class. (n, d), (n,) -> (n_way, d). A class without examples is at 0.

    Args:
        weights: (n,) what each feature counts, above 0; None for 1.
    """
    if weights is not None:
        sums = features.new_zeros(n_way, features.shape[1]).index_add(0, targets, weights[:, None] * features)
        return sums / weights.new_zeros(n_way).index_add(0, targets, weights).unsqueeze(1)
    if len(targets) * n_way > _LARGEST:
        sums = features.new_zeros(n_way, features.shape[1]).index_add(0, targets, features)
        return sums / targets.bincount(minlength=n_way).clamp(min=1).to(features.dtype).unsqueeze(1)
    members = one_hot(targets, n_way).to(features.dtype)
    return (members.T @ features) / members.sum(0).clamp(min=1).unsqueeze(1)


class NearestCentroidPredictor(nn.Module):
    """Logits are negative distances to centroids (n_way, feature_dim), over a temperature."""

    centroids: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        centroids: Tensor,
        distance: Literal["euclidean", "cosine"],
        temperature: float,
    ) -> None:
        super().__init__()
        self.encoder, self.distance, self.temperature = encoder, distance, temperature
        self.register_buffer("centroids", centroids)

    def forward(self, inputs: Inputs) -> Tensor:
        features = self.encoder(inputs)
        if self.distance == "cosine":
            cosines = F.normalize(features, dim=-1) @ F.normalize(self.centroids, dim=-1).T
            return (cosines - 1) / self.temperature
        return -squared_distances(features, self.centroids) / self.temperature
