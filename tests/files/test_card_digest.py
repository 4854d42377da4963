"""A card's digest of itself: SHA-256 over canonical JSON, computed here another way."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from coldstart_cli.errors import RequestError
from coldstart_cli.files.card_digest import check_digest, with_digest


def test_digest_is_that_of_the_canonical_json_of_all_other_keys() -> None:
    found = with_digest({"b": [1, 2.5, None], "a": "ä", "digest": "an old one"})
    expected = hashlib.sha256(b'{"a":"\\u00e4","b":[1,2.5,null]}').hexdigest()
    assert found == {"b": [1, 2.5, None], "a": "ä", "digest": expected}


@pytest.mark.parametrize("card", [{"format": 3, "labels": ["a"]}, {"labels": []}, with_digest({"format": 4})])
def test_cards_of_before_and_cards_as_they_were_written_pass(card: dict[str, Any]) -> None:
    check_digest(card, "b/card.json", "bundle")


@pytest.mark.parametrize(
    "card",
    [
        {**with_digest({"format": 4, "labels": ["a", "b"]}), "labels": ["b", "a"]},
        {**with_digest({"format": 3, "labels": ["a", "b"]}), "labels": ["b", "a"]},
        {**with_digest({"format": 4}), "more": 1},
        {"format": 4},  # taken out
        {"format": 4, "digest": None},
    ],
)
def test_an_edited_card_is_refused_in_a_line_that_says_what_to_do(card: dict[str, Any]) -> None:
    with pytest.raises(
        RequestError, match=r"^compare: b/card\.json is damaged or was edited .*; .* adapt again$"
    ):
        check_digest(card, "b/card.json", "compare")
