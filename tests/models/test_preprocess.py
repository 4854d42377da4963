"""What a model does to raw examples before they are drawn into tasks."""

from __future__ import annotations

import pytest
import torch

from coldstart_cli.experiment.parts import encoder_of, preprocess_of
from coldstart_cli.models.preprocess import Plain, in_words


def test_plain_keeps_numbers_and_refuses_text() -> None:
    plain, images = Plain(), torch.zeros(2, 1, 4, 4, dtype=torch.uint8)
    assert plain.images(images) is images and plain.vectors(images) is images
    with pytest.raises(ValueError, match=r"^model: it does not read text; choose"):
        plain.texts(["a"])


def test_a_model_without_a_preprocess_reads_numbers_as_they_are() -> None:
    node = {"_target_": "coldstart_cli.models.MLP", "hidden": [4], "activation": "relu"}
    assert isinstance(preprocess_of(node, "model", []), Plain)

    class Source:
        input_shape = (3,)

    assert encoder_of(node, "model", [], Source()).feature_dim == 4  # type: ignore[arg-type]


def test_labels_are_read_as_a_person_would_write_them() -> None:
    assert in_words("card_payment-fee?") == "card payment fee?"
    assert in_words("  Refund   not_showing_up ") == "Refund not showing up"
    assert in_words("___") == "___"
    assert Plain().names(["a"]) is None
