"""Examples that are equal or nearly so: what their groups are decided by, and what they are not."""

from __future__ import annotations

import pytest
import torch

from coldstart_cli.datasets.readers.equality import equal_groups, essence, hashes_of, near_equal_groups
from tests.kit.small_sources import images


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Where is it?", "where   is it"),
        ("cafe\u0301", "CAF\u00c9"),  # a letter with its accent, in one character or two
        ("lost\u200b card", "lost card\ufeff"),  # nothing that is seen
        ("\uff21\uff22", "ab"),  # the wide forms of East Asian fonts
        ("Stra\u00dfe", "STRASSE"),
    ],
)
def test_near_equal_groups_join_what_reads_alike(one: str, other: str) -> None:
    assert near_equal_groups([one, "another", other]).tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("c", "c++"),
        ("5 \u20ac", "5 $"),
        ("?", "!"),  # of punctuation alone: it is all there is
        ("\u0915\u093f", "\u0915"),  # the vowel of a letter in Devanagari is a mark, and is kept
        ("card 1", "card 2"),
    ],
)
def test_near_equal_groups_part_what_differs_in_meaning(one: str, other: str) -> None:
    assert near_equal_groups([one, other]).tolist() == [0, 1]


def test_essence_of_a_lone_surrogate_is_a_text() -> None:
    assert essence("\ud800a") == "a"


def test_equal_groups_are_of_the_same_bits() -> None:
    rows = torch.tensor([[1.0, 2.0], [1.0, 2.0 + 1e-6], [1.0, 2.0]])
    assert equal_groups(rows).tolist() == [0, 1, 0] and len(equal_groups(rows[:0])) == 0


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.bfloat16, torch.int64, torch.bool])
def test_hashes_tell_examples_of_any_type_apart(dtype: torch.dtype) -> None:
    inputs = torch.tensor([[1, 0], [0, 1], [1, 0], [0, 0]]).to(dtype)
    hashes = hashes_of(inputs, None)
    assert hashes[0] == hashes[2]
    assert len({*hashes.tolist()}) == 3


def test_hashes_cover_every_tensor_of_a_mapping_and_the_targets() -> None:
    tokens, mask = torch.tensor([[1, 2], [1, 2], [1, 2]]), torch.tensor([[1], [1], [0]])
    one, two, three = hashes_of({"tokens": tokens, "mask": mask}, None).tolist()
    assert one == two != three
    one, two, three = hashes_of(tokens, torch.tensor([0.5, 0.25, 0.5])).tolist()
    assert one == three != two


def test_hashes_do_not_depend_on_the_other_examples_or_on_memory_order() -> None:
    inputs = images(20)
    alone = [int(hashes_of(inputs[i : i + 1], None)[0]) for i in range(20)]
    assert hashes_of(inputs, None).tolist() == alone
    turned = inputs.transpose(-1, -2)
    assert hashes_of(turned, None).tolist() == hashes_of(turned.contiguous(), None).tolist()
    assert len(hashes_of(inputs[:0], None)) == 0
