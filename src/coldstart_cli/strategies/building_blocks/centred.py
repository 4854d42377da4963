"""Features less a mean, at length 1: the transformation CL2N of SimpleShot, arXiv:1911.04623, section 3.2."""

from __future__ import annotations

from typing import final

from torch import Tensor
from torch.nn import functional as F

from coldstart_cli.core.tasks import Inputs
from coldstart_cli.models.network import Encoder


@final
class Centred(Encoder):
    """Inputs -> features (n, feature_dim), less `mean`, then scaled to length 1 with `normalise`."""

    mean: Tensor | None

    def __init__(self, encoder: Encoder, mean: Tensor | None, *, normalise: bool) -> None:
        super().__init__()
        self.encoder, self.normalise, self.feature_dim = encoder, normalise, encoder.feature_dim
        self.register_buffer("mean", mean)

    def forward(self, inputs: Inputs) -> Tensor:
        features: Tensor = self.encoder(inputs)
        if self.mean is not None:
            features = features - self.mean
        return F.normalize(features, dim=-1) if self.normalise else features
