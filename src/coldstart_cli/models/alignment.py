"""A model that reads how a source and a target model see a class, and finds source classes that resemble it.

Attention as in Vaswani et al. 2017, arXiv:1706.03762, equation 1, with cosines instead of products.
"""

from __future__ import annotations

from typing import NamedTuple, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Knowledge(NamedTuple):
    """What the alignment model says of a task's classes.

    Attributes:
        attention: (n_way, n_source), rows sum to 1.
        points: (n_way, feature_dim), where the classes should be according to the source.
        beta: (n_way,) in (0, 1), how far to trust these points against the class's own examples.
    """

    attention: Tensor
    points: Tensor
    beta: Tensor


@final
class AlignmentModel(nn.Module):
    """For class c of n_c examples, with mean features s_c (source model) and t_c (target model):

    a_c = softmax_j(scale * cos(Q [s_c, t_c], K p_j)), with s, t and p less the mean of all p,
    v_c = V sum_j a_cj p_j,
    beta_c = tau_c / (tau_c + n_c), log tau_c = w . [max_j a_cj, cos(v_c, t_c)] + b.

    p_j is the mean source feature of source class j. beta is the weight of a prior worth tau examples.
    Before training Q reads s alone, Q, K and V are identities, scale is 10 and tau is e^-1.
    """

    def __init__(self, feature_dim: int) -> None:
        super().__init__()
        self.query = nn.Linear(2 * feature_dim, feature_dim, bias=False)
        self.key = nn.Linear(feature_dim, feature_dim, bias=False)
        self.value = nn.Linear(feature_dim, feature_dim, bias=False)
        self.log_scale = nn.Parameter(torch.tensor(10.0).log())
        self.trust = nn.Linear(2, 1)
        with torch.no_grad():
            # So untrained attention is that of plain cosines between source features, a sensible place to
            # start from.
            self.query.weight.copy_(torch.eye(feature_dim, 2 * feature_dim))
            self.key.weight.copy_(torch.eye(feature_dim))
            self.value.weight.copy_(torch.eye(feature_dim))
            self.trust.weight.zero_()
            self.trust.bias.fill_(-1.0)

    def forward(
        self, source_means: Tensor, target_means: Tensor, counts: Tensor, known: Tensor, hidden: Tensor
    ) -> Knowledge:
        """Both means (n_way, feature_dim), counts (n_way,), known p (n_source, feature_dim).

        Args:
            hidden: (n_way, n_source), the source classes that a class may not attend to.
        """
        # Features after a ReLU are all positive: without centring, every cosine would be near 1.
        centre = known.mean(0)
        query = self.query(torch.cat([source_means - centre, target_means - centre], -1))
        cosines = F.normalize(query, dim=-1) @ F.normalize(self.key(known - centre), dim=-1).T
        # -inf before the softmax: the remaining classes share the whole attention.
        attention = (self.log_scale.exp() * cosines).masked_fill(hidden, -torch.inf).softmax(-1)
        points = self.value(attention @ known)
        read = torch.stack([attention.amax(-1), F.cosine_similarity(points, target_means, dim=-1)], -1)
        # tau examples' worth of prior against n_c examples: the posterior mean of a Gaussian with known
        # variance.
        tau = self.trust(read).squeeze(-1).exp()
        return Knowledge(attention, points, tau / (tau + counts))
