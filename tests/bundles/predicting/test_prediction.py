"""A bundle answers by the protocol that `predict` asks by."""

from __future__ import annotations

import torch

from coldstart_cli.bundles.bundle import Bundle
from coldstart_cli.bundles.predicting.prediction import Predictor
from tests.kit.places import REPOSITORY


def test_a_bundle_answers_as_a_predictor_and_says_which_answers_are_none() -> None:
    bundle = Bundle.load(REPOSITORY / "tests/data/flat_layout/bundle")
    predictor: Predictor = bundle
    zeros = torch.zeros(2, *bundle.card.build.inputs[""].shape)
    zeros[1] = float("nan")
    assert predictor.answered(zeros, None).sound == [True, False]
    assert predictor.answered(zeros[:1], 1.0).prediction.labels == [None]
