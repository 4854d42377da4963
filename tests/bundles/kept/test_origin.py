"""What tells one bundle's making from another's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from coldstart_cli.bundles.kept.card import FORMAT
from coldstart_cli.bundles.kept.origin import determined_by, made_of
from coldstart_cli.config import composition
from tests.bundles.kept.test_kept_rows import labelled

OWN = labelled([[1.0], [2.0], [3.0]], [0, 1, 1], ("a", "b"))
ASKED = {"bundle": "b", "keep_versions": 3, "overwrite": False, "steps": 1}


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    words = ("strategy=logistic", "model=mlp", "dataset=arrays", "dataset.root=a.npz")
    ((_, found),) = composition.points(words)
    return found


def test_all_that_determines_a_bundle_is_in_its_digest_and_nothing_else(config: dict[str, Any]) -> None:
    strategy: Any = torch.nn.Linear(1, 1)

    def of(asked: dict[str, Any] = ASKED, test: Any = None, own: Any = OWN, **more: Any) -> str:
        return determined_by({**config, **more}, asked, None, strategy, own, test)

    same = of()
    moved = {**config["dataset"], "root": "b.npz", "unlabelled": "c.npz"}
    assert of({**ASKED, "bundle": "c", "keep_versions": 0, "overwrite": True}, dataset=moved) == same
    others = [
        of({**ASKED, "steps": 2}), of(seed=7), of(test=OWN), of(own=replace(OWN, fingerprint="other")),
        of(own=replace(OWN, unlabelled=torch.zeros(2, 1))), of(dataset={**moved, "target": "real"}),
        of(strategy={**config["strategy"], "C": 3.0}),
    ]  # fmt: skip
    assert len({same, *others}) == 1 + len(others)


def test_the_card_says_what_it_was_made_of(config: dict[str, Any]) -> None:
    made = made_of(config, "CC0", None, OWN)
    assert (made["format"], made["strategy"], made["licence"]) == (FORMAT, "logistic", "CC0")
    assert made["examples_of"] == {"a": 1, "b": 2} and made["data"].examples == 3
