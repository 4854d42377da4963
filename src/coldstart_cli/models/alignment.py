"""A model that learns what a task's own examples, the source, names and unlabelled examples are each worth.

- Attention: Vaswani et al. 2017, arXiv:1706.03762, equation 1, with cosines instead of products.
- Soft k-means of unlabelled examples: Ren et al. 2018, arXiv:1803.00676, equations 3 and 4.
- Gates that reach 0: Louizos, Welling and Kingma 2018, arXiv:1712.01312, section 2.2, without the noise.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Literal, NamedTuple, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Evidence = Literal["source", "names", "unlabelled"]

ROUNDS = 5
"""Of soft k-means, after which it no longer moves by a tenth of a point of accuracy."""
_RATE = 10.0
"""Parameters are a tenth of what they stand for: an optimizer's rate for a network then moves them too."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of one task, as features of length 1, the mean of the source's features taken off.

    Attributes:
        means: (n_way, d) of each class's examples, not of length 1; 0 for a class without any.
        counts: (n_way,) its examples.
        known: (n_source, d) mean of each source class.
        open: (n_way, n_source) whether a class may attend to a source class.
        names: (n_way, d) of the classes, or None.
        known_names: (n_source, d) of the source classes; read where there are `names`.
        unlabelled: (n, d), or None.
        weights: (n,) what each unlabelled example counts, at most 1.
    """

    means: Tensor
    counts: Tensor
    known: Tensor
    open: Tensor
    names: Tensor | None
    known_names: Tensor
    unlabelled: Tensor | None
    weights: Tensor | None


class Steered(NamedTuple):
    """Where the alignment model puts the classes of a task.

    Attributes:
        points: (n_way, d) of length 1.
        scale: of the logits scale * cos(f, u_c).
        attention: (n_way, n_source), rows sum to 1, or to 0 where no source class is open.
        worth: evidence -> (n_way,) labelled examples that it counts as; of `unlabelled`, each example.
        soft: (n, n_way) the class of each unlabelled example, rows sum to 1; None without them.
    """

    points: Tensor
    scale: Tensor
    attention: Tensor
    worth: dict[Evidence, Tensor]
    soft: Tensor | None


@final
class AlignmentModel(nn.Module):
    """For class c with n_c examples of mean m_c, e_c its name, p_j and e_j those of source class j:

    a_c = softmax_j(s_1 cos(m_c, p_j) + s_2 cos(e_c, e_j)), v_c = sum_j a_cj p_j,
    u_c = n_c m_c + t_c v_c + t'_c e_c + t'' sum_i r_ic x_i, at length 1,
    r_ic = w_i pi_c exp(s_3 cos(x_i, u_c)) / sum_c' pi_c' exp(s_3 cos(x_i, u_c')),

    v_c and e_c at length 1, u and r in turn, u first without unlabelled x_i. pi_c = (1 + sum_i r_ic) /
    (n_way + sum_i w_i) is estimated from the unlabelled examples: no class need be as frequent as another.
    A piece of evidence counts as t = most * gate(w . [1, similarity, cos(evidence, m_c)]) examples, and an
    unlabelled one as t'' = gate(b), with gate(z) = clamp(1.2 sigmoid(z) - .1, 0, 1): it weighs less the more
    labels n_c there are, and nothing where on source tasks it was no gain. The similarity is max_j a_cj for
    the source, and for names cos(e_c, m_c) less the largest cosine of e_c with another class's mean.

    Args:
        most: labelled examples that a piece of evidence may count as.
    """

    def __init__(self, most: float) -> None:
        super().__init__()
        self.most = most
        # ln 20: cosines of related classes lie within a tenth of each other.
        self.log_scales = nn.Parameter(torch.full((4,), 20.0).log() / _RATE)
        self.source, self.names = nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(3))
        self.unlabelled = nn.Parameter(torch.zeros(1))

    def forward(
        self,
        seen: Seen,
        evidence: Collection[Evidence],
        changed: Callable[[Tensor], Tensor] = lambda attention: attention,
    ) -> Steered:
        """What the task lacks moves nothing.

        Args:
            evidence: what may move the classes.
            changed: the attention that takes the place of (n_way, n_source), for ablations.
        """
        to_source, to_names, to_unlabelled, scale = (_RATE * self.log_scales).exp().unbind()
        own = F.normalize(seen.means, dim=-1)
        attention = changed(self._attention(seen, own, to_source, to_names))
        point = F.normalize(attention @ seen.known, dim=-1)
        worth: dict[Evidence, Tensor] = {}
        # Sums rather than means: only where they point counts.
        total = seen.means * seen.counts.unsqueeze(-1)
        if "source" in evidence:
            worth["source"] = self._worth(self.source, attention.amax(-1), (point * own).sum(-1))
            total = total + worth["source"].unsqueeze(-1) * point
        if "names" in evidence and seen.names is not None:
            cosines = own @ seen.names.T
            same = torch.eye(len(own), dtype=torch.bool, device=own.device)
            others = cosines.masked_fill(same, -1).amax(0)
            worth["names"] = self._worth(self.names, cosines.diagonal() - others, cosines.diagonal())
            total = total + worth["names"].unsqueeze(-1) * seen.names
        soft = None
        if "unlabelled" in evidence and seen.unlabelled is not None:
            each = gate(_RATE * self.unlabelled[0])
            worth["unlabelled"] = each.expand(len(own))
            total, soft = refined(
                total, seen.unlabelled, seen.weights, each=each, scale=to_unlabelled, rounds=ROUNDS
            )
        return Steered(F.normalize(total, dim=-1), scale, attention, worth, soft)

    def _attention(self, seen: Seen, own: Tensor, to_source: Tensor, to_names: Tensor) -> Tensor:
        scores = to_source * own @ F.normalize(seen.known, dim=-1).T
        if seen.names is not None:
            scores = scores + to_names * seen.names @ seen.known_names.T
        # Not -inf: a class that may attend to none would attend to nan. It then attends to nothing.
        return scores.masked_fill(~seen.open, -1e9).softmax(-1) * seen.open

    def _worth(self, weights: Tensor, similarity: Tensor, cosine: Tensor) -> Tensor:
        read = torch.stack([torch.ones_like(cosine), similarity, cosine], -1)
        return self.most * gate(_RATE * (read @ weights))


def gate(z: Tensor) -> Tensor:
    """From 0 to 1, both of which it reaches."""
    return (1.2 * z.sigmoid() - 0.1).clamp(0, 1)


def refined(
    total: Tensor,
    unlabelled: Tensor,
    weights: Tensor | None,
    *,
    each: Tensor | float,
    scale: Tensor | float,
    rounds: int,
) -> tuple[Tensor, Tensor]:
    """Soft k-means from class sums (n_way, d) over unlabelled features (n, d).

    Gives the sums with these, and to whom each of them belongs, (n, n_way). A class is where its sum points;
    see `AlignmentModel` for r and pi.

    Args:
        weights: (n,) of the unlabelled examples; None for 1.
        each: what an unlabelled example counts beside a labelled one.
        scale: of the cosines.
        rounds: at least 1.
    """
    moved = total
    prior = total.new_full((len(total),), 1 / len(total))
    for _ in range(rounds):
        logits = scale * unlabelled @ F.normalize(moved, dim=-1).T + prior.log()
        soft = logits.softmax(-1)
        counted = soft if weights is None else weights.unsqueeze(-1) * soft
        prior = (1 + counted.sum(0)) / (len(total) + counted.sum())
        moved = total + each * counted.T @ unlabelled
    return moved, soft
