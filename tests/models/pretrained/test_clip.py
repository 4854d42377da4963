"""CLIP in small, against transformers' own features."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from coldstart_cli.errors import RequestError
from coldstart_cli.models.pretrained.clip import CLIP, Captions

WORDS = ["w1 w2", "w3", "w4 w5 w6"]


def captions_at(folder: Path, before: str = "w50 ", after: str = " w51") -> Captions:
    return Captions(path=str(folder), before=before, after=after, max_length=20)


def encoder_at(folder: Path, **changed: Any) -> CLIP:
    settings = {"normalise": False, "frozen": False, **changed}
    return CLIP((3, 16, 16), path=str(folder), preprocess=captions_at(folder), **settings)


def images(n: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (n, 3, 16, 16), generator=generator, dtype=torch.uint8)


def end_of_text(folder: Path, eos: int) -> Path:
    """The model pools the first token of this number."""
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["eos_token_id"] = eos
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_features_are_those_of_transformers(tiny_clip: Path, tmp_path: Path) -> None:
    import transformers

    # [SEP], 3, ends a text of this tokenizer, so that the model's own pooling is the one to compare with.
    folder = end_of_text(Path(shutil.copytree(tiny_clip, tmp_path / "clip")), 3)
    theirs = transformers.CLIPModel.from_pretrained(folder).eval()
    raw, names = images(3), captions_at(folder).names(WORDS)
    assert isinstance(names, dict)
    with torch.no_grad():
        output = theirs(
            input_ids=names["input_ids"].long(),
            attention_mask=names["attention_mask"].long(),
            pixel_values=(raw.float() / 255 - 0.5) / 0.25,
        )
        encoder = encoder_at(folder, normalise=True)
        torch.testing.assert_close(encoder(raw), output.image_embeds, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(encoder(names), output.text_embeds, rtol=1e-4, atol=1e-5)
        # The same whatever the configuration says of the end of a text.
        again = encoder_at(tiny_clip, normalise=True)(names)
    torch.testing.assert_close(again, output.text_embeds, rtol=1e-4, atol=1e-5)


def test_names_are_read_in_a_caption(tiny_clip: Path) -> None:
    read = captions_at(tiny_clip)
    names, whole = read.names(["w3"]), read.tokens.texts(["w50 w3 w51"])
    assert isinstance(names, dict) and isinstance(whole, dict)
    assert torch.equal(names["input_ids"], whole["input_ids"])
    assert read.fingerprint != captions_at(tiny_clip, "", "").fingerprint
    assert read.names([]) is None and not read.reads_text
    raw = images(1)
    assert read.images(raw) is raw
    for refuse in (lambda: read.texts(["a"]), lambda: read.vectors(torch.zeros(1, 2))):
        with pytest.raises(ValueError, match=r"^model: it reads images, not .*; choose"):
            refuse()


def test_context_is_read_as_words_would_be(tiny_clip: Path) -> None:
    encoder, read = encoder_at(tiny_clip), captions_at(tiny_clip, "", "")
    table = encoder.body.get_submodule("text_model.embeddings.token_embedding").weight
    ids = read.tokens.texts(["w7 w8"])["input_ids"][0, 1:3].long()  # type: ignore[index, call-overload]
    names, longer = read.names(WORDS), read.names([f"w7 w8 {words}" for words in WORDS])
    assert names is not None and longer is not None
    context = table[ids].detach().requires_grad_()
    with torch.no_grad():
        torch.testing.assert_close(encoder.after_context(context, names), encoder(longer))
    (gradient,) = torch.autograd.grad(encoder.after_context(context, names).sum(), context)
    assert gradient.shape == (2, encoder.width) and gradient.abs().sum() > 0
    with pytest.raises(RequestError, match=r"^strategy.n_context: 20 vectors .* 5 tokens .* 24 .*; give 19"):
        encoder.after_context(torch.zeros(20, encoder.width), names)


def test_every_parameter_has_a_gradient_unless_it_is_frozen(tiny_clip: Path) -> None:
    encoder, names = encoder_at(tiny_clip), captions_at(tiny_clip).names(WORDS)
    assert names is not None
    total = encoder(images(3)).sum() + encoder(names).sum()
    assert len(torch.autograd.grad(total, list(encoder.parameters()))) > 50
    frozen = encoder_at(tiny_clip, frozen=True)
    assert list(frozen.parameters()) == []
    with torch.no_grad():
        assert torch.equal(frozen(names), encoder(names))


def test_what_is_no_clip_is_refused(tiny_clip: Path, tiny_vit: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_vit, tmp_path / "vit"))
    for file in tiny_clip.glob("*token*"):
        shutil.copy(file, folder)
    with pytest.raises(ValueError, match=r"^path: .* holds a ViTModel, not a model of .*hf_image$"):
        encoder_at(folder)
