"""Features less a mean, over a deviation, or at length 1.

The transformation CL2N of SimpleShot, arXiv:1911.04623, section 3.2, has no deviation.
"""

from __future__ import annotations

from typing import final

from torch import Tensor
from torch.nn import functional as F

from coldstart_cli.core.tasks import Inputs
from coldstart_cli.models.network import Encoder


@final
class Centred(Encoder):
    """Inputs -> features (n, feature_dim), less `mean`, over `deviation`, at length 1 with `normalise`."""

    mean: Tensor | None
    deviation: Tensor | None

    def __init__(
        self, encoder: Encoder, mean: Tensor | None, deviation: Tensor | None = None, *, normalise: bool
    ) -> None:
        super().__init__()
        self.encoder, self.normalise, self.feature_dim = encoder, normalise, encoder.feature_dim
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)

    def forward(self, inputs: Inputs) -> Tensor:
        features: Tensor = self.encoder(inputs)
        if self.mean is not None:
            features = features - self.mean
        if self.deviation is not None:
            features = features / self.deviation
        return F.normalize(features, dim=-1) if self.normalise else features
