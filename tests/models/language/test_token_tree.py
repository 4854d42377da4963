"""Trees of tokens: what each sees, how deep it lies and whose likelihood it counts in."""

from __future__ import annotations

import torch

from coldstart_cli.models.language.token_tree import token_tree

BEGINNINGS = [[5, 6], [7]]
CONTINUATIONS = [[1], [2, 3]]


def test_a_token_sees_its_way_to_the_root_and_nothing_else() -> None:
    made = token_tree([torch.tensor(b) for b in BEGINNINGS], [torch.tensor(c) for c in CONTINUATIONS])
    assert made.tokens.tolist() == [5, 6, 1, 2, 3, 7, 1, 2, 3]
    assert made.depths.tolist() == [0, 1, 2, 2, 3, 0, 1, 1, 2]
    seen = [[made.tokens[j].item() for j in range(9) if made.visible[i, j]] for i in range(9)]
    assert seen == [[5], [5, 6], [5, 6, 1], [5, 6, 2], [5, 6, 2, 3], [7], [7, 1], [7, 2], [7, 2, 3]]


def test_likelihoods_are_the_sums_of_what_is_said_after_each_token() -> None:
    made = token_tree([torch.tensor(b) for b in BEGINNINGS], [torch.tensor(c) for c in CONTINUATIONS])
    logits = torch.randn(9, 10, generator=torch.Generator().manual_seed(0))
    said = logits.log_softmax(1)
    # Positions in the sequence of nine tokens, by hand.
    expected = [
        [said[1, 1], said[1, 2] + said[3, 3]],
        [said[5, 1], said[5, 2] + said[7, 3]],
    ]
    found = made.log_likelihoods(logits[made.kept])
    torch.testing.assert_close(found, torch.tensor(expected))
    assert made.kept.tolist() == [1, 3, 5, 7]  # no other token says anything that is asked for


def test_an_empty_continuation_is_certain() -> None:
    made = token_tree([torch.tensor([5])], [torch.tensor([], dtype=torch.int64), torch.tensor([2])])
    found = made.log_likelihoods(torch.zeros(len(made.kept), 4))
    assert found[0, 0] == 0
    torch.testing.assert_close(found[0, 1], torch.tensor(0.25).log())
