"""Many continuations of many beginnings as one sequence without padding, for one call of a language model.

Beginnings (questions) each branch into the same continuations (labels). A token sees what lies between it and
the root of the tree, besides what all share before it (demonstrations, whose keys and values were computed
once).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import final

import torch
from torch import Tensor


@final
@dataclass(frozen=True, slots=True)
class TokenTree:
    """R beginnings, each followed by each of B continuations: T tokens.

    Attributes:
        tokens: (T,) ids.
        depths: (T,) how many tokens lie between one and the root.
        visible: (T, T) whether the token of a row sees that of a column.
        kept: (K,) the tokens after which the next one is scored.
        after: (S,) for each scored token, the index in `kept` of the one before it.
        scored: (S,) ids of the scored tokens: those of the continuations.
        owner: (S,) the pair r * B + b that a scored token belongs to.
        shape: (R, B).
    """

    tokens: Tensor
    depths: Tensor
    visible: Tensor
    kept: Tensor
    after: Tensor
    scored: Tensor
    owner: Tensor
    shape: tuple[int, int]

    def log_likelihoods(self, logits: Tensor) -> Tensor:
        """(R, B) log probability of each continuation after each beginning, from (K, n_tokens) logits."""
        # log_softmax of what is asked for only: a vocabulary has tens of thousands of tokens.
        scores = logits[self.after, self.scored] - logits.logsumexp(1)[self.after]
        sums = scores.new_zeros(self.shape[0] * self.shape[1]).index_add(0, self.owner, scores)
        return sums.view(self.shape)


def token_tree(beginnings: Sequence[Tensor], continuations: Sequence[Tensor]) -> TokenTree:
    """The tree of ids (l_r,) and (l_b,), which are not empty and lie on one device."""
    device = beginnings[0].device
    tokens: list[Tensor] = []
    # Of each piece: its length, its beginning, its continuation (-1: it is the beginning), its first depth.
    lengths, roots, branches, depths = list[int](), list[int](), list[int](), list[int]()
    for r, beginning in enumerate(beginnings):
        for b, piece in enumerate([beginning, *continuations], start=-1):
            tokens.append(piece)
            lengths.append(len(piece))
            roots.append(r)
            branches.append(b)
            depths.append(0 if b < 0 else len(beginning))
    starts = [0, *accumulate(lengths)]
    repeats = torch.tensor(lengths)

    def of_token(values: Sequence[int]) -> Tensor:
        return torch.tensor(values).repeat_interleave(repeats)

    index = torch.arange(starts[-1])
    root, branch = of_token(roots), of_token(branches)
    same = branch.unsqueeze(1) == branch
    visible = (root.unsqueeze(1) == root) & ((branch == -1) | same) & (index.unsqueeze(1) >= index)
    # A continuation's first token is scored after the beginning's last one, others after the one before.
    first = of_token(starts[:-1]) == index
    ends = torch.tensor([starts[i * (len(continuations) + 1) + 1] - 1 for i in range(len(beginnings))])
    before = torch.where(first, ends[root], index - 1)
    of_branch = branch >= 0
    kept, after = torch.unique(before[of_branch], return_inverse=True)
    owner = (root * len(continuations) + branch)[of_branch]
    ids = torch.cat(tokens)
    return TokenTree(
        ids,
        (index - of_token(starts[:-1]) + of_token(depths)).to(device),
        visible.to(device),
        kept.to(device),
        after.to(device),
        ids[of_branch.to(device)],
        owner.to(device),
        (len(beginnings), len(continuations)),
    )
