"""The CLIP of the laws: the same at every writing, and not one that finds all pictures or captions alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from coldstart_cli.models.pretrained.hf import content_digest
from coldstart_cli.testing.tiny_clip import tiny_clip as write
from coldstart_cli.testing.tiny_clip import tiny_pictures
from tests.models.pretrained.test_clip import WORDS, captions_at, encoder_at, images


def test_tiny_clip_is_the_same_at_every_writing(tiny_clip: Path, tmp_path: Path) -> None:
    again = write(tmp_path)
    assert content_digest(again, ("*",)) == content_digest(tiny_clip, ("*",))


def test_tiny_clip_tells_captions_and_pictures_apart(tiny_clip: Path) -> None:
    names = captions_at(tiny_clip).names(WORDS)
    assert names is not None
    encoder = encoder_at(tiny_clip, normalise=True, frozen=True)
    with torch.no_grad():
        for features in (encoder(names), encoder(images(3))):
            assert (features @ features.T).triu(1).max() < 0.99


def test_tiny_pictures_are_fifteen_classes_of_a_colour_each(tmp_path: Path) -> None:
    classes = sorted(tiny_pictures(tmp_path / "pictures").iterdir())
    assert len(classes) == 15 and {len(list(c.glob("*.png"))) for c in classes} == {12}
    means = [[np.asarray(Image.open(f)).mean((0, 1)) for f in c.glob("*.png")] for c in classes]
    assert max(np.ptp(np.stack(m), axis=0).max() for m in means) < 20
    assert np.ptp(np.stack([np.mean(m, axis=0) for m in means]), axis=0).min() > 100
