"""What a student may learn from the inside of its teacher: relations of features, and maps between blocks.

- Relations between examples: Park, Kim, Lu and Cho 2019, arXiv:1904.05068, sections 3.2.1 and 3.2.2.
- Hints: FitNets, Romero, Ballas, Kahou, Chassang, Gatta and Bengio 2015, arXiv:1412.6550, equation 3.
- Attention: Zagoruyko and Komodakis 2017, arXiv:1612.03928, equation 2.

Maps are (n, channels, height, width). Where a student's are of another size than its teacher's, the teacher's
are averaged or repeated to the student's size.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from coldstart_cli.models.network import Encoder


def relations(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """How far relations among a student's features are from those among a teacher's: (L_D, L_A), scalars.

    With l the Huber loss (d^2 / 2 where |d| <= 1, |d| - 1/2 elsewhere) and e_ij = (x_i - x_j) / |x_i - x_j|,
    L_D is the mean over pairs of l(|t_i - t_j| / mu_t - |s_i - s_j| / mu_s), mu the mean distance of its
    network's pairs; L_A, over triplets, of l(<e_ij, e_kj> of t - <e_ij, e_kj> of s), cosines of the angle
    at j. Means over distinct i, j, k, where the paper sums, so that weights do not depend on the batch size.

    Args:
        student, teacher: features (n, d) of the same n examples; the two d may differ.
    """
    n = len(student)
    with torch.autocast(student.device.type, enabled=False):
        (distances, cosines), (taught_distances, taught_cosines) = map(_relations, (student, teacher))
        # Where two of i, j, k are the same, both networks have the same relation and the term is 0.
        distance = F.smooth_l1_loss(distances, taught_distances.to(distances), reduction="sum")
        angle = F.smooth_l1_loss(cosines, taught_cosines.to(cosines), reduction="sum")
    return distance / max(1, n * (n - 1)), angle / max(1, n * (n - 1) * (n - 2))


def _relations(features: Tensor) -> tuple[Tensor, Tensor]:
    """Distances relative to their mean, (n, n), and cosines at j of each i and k, (n, n, n) as [j, i, k]."""
    exact = features if features.dtype == torch.float64 else features.float()
    n = len(exact)
    # In full precision: differences of near features lose most of their digits in bf16.
    differences = exact.unsqueeze(0) - exact.unsqueeze(1)  # [j, i] = x_i - x_j
    distances = torch.linalg.vector_norm(differences, dim=-1)  # its gradient at 0 is 0, not nan
    mean = distances.sum() / max(1, n * (n - 1))
    directions = F.normalize(differences, dim=-1)
    return distances / mean.clamp(min=1e-12), directions @ directions.mT


def attention_distance(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
    """Sum over blocks of the mean squared difference of both networks' attention maps: a scalar.

    An attention map is the mean over channels of squared activations, scaled to length 1 over all places. The
    mean over examples and places is the authors' code's; equation 2 has the norm of the difference.
    """
    terms = []
    for ours, theirs in zip(student, teacher, strict=True):
        resized = F.adaptive_avg_pool2d(_attention(theirs), (ours.shape[2], ours.shape[3]))
        difference = F.normalize(_attention(ours).flatten(1)) - F.normalize(resized.flatten(1))
        terms.append(difference.square().mean())
    return torch.stack(terms).sum()


def hint_distance(student: Tensor, teacher: Tensor, regressor: nn.Module) -> Tensor:
    """1/2 |teacher's map - regressor(student's map)|^2, the mean over examples and entries: a scalar.

    The paper sums over entries; a mean does not depend on the size of the layer.

    Args:
        regressor: (n, student's channels, h, w) -> (n, teacher's channels, h, w).
    """
    resized = F.adaptive_avg_pool2d(teacher, (student.shape[2], student.shape[3]))
    return 0.5 * F.mse_loss(regressor(student), resized)


def hint_block(encoder: Encoder) -> int:
    """The block whose map is hint or guided: the middle one, as in the paper."""
    return (len(encoder.map_channels) - 1) // 2


def hint_regressor(student: Encoder, teacher: Encoder) -> nn.Conv2d:
    """A convolution 1x1 from the channels of the guided map to those of the hint."""
    return nn.Conv2d(student.map_channels[hint_block(student)], teacher.map_channels[hint_block(teacher)], 1)


def maps_refusal(student: Encoder, teacher: Encoder) -> str | None:
    """Why the two networks' maps cannot be compared, or None when they can."""
    for encoder in (student, teacher):
        if not encoder.map_channels:
            return (
                f"it compares feature maps of convolutions and {type(encoder).__name__} has none: it serves "
                "images, no vectors, texts or regression; choose model=conv4"
            )
    if len(student.map_channels) != len(teacher.map_channels):
        return (
            f"it compares feature maps block by block, of {len(student.map_channels)} and "
            f"{len(teacher.map_channels)} blocks; choose a teacher of as many"
        )
    return None


def _attention(maps: Tensor) -> Tensor:
    return maps.square().mean(1, keepdim=True)
