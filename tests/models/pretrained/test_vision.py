"""Pretrained encoders of images: sizes, channels, pooling, and the families that transformers names apart."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from coldstart_cli.models.pretrained.features import Features
from coldstart_cli.models.pretrained.vision import FrozenImage, HFImage, Pixels


def encoder_at(folder: Path, shape: tuple[int, ...] = (3, 16, 16), **changed: Any) -> HFImage:
    settings: dict[str, Any] = {"pooling": "cls", "normalise": False, "frozen": False, **changed}
    return HFImage(shape, path=str(folder), preprocess=Pixels(path=str(folder)), **settings)


def images(n: int, channels: int, size: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (n, channels, size, size), generator=generator, dtype=torch.uint8)


def saved(folder: Path, network: Any, size: int) -> Path:
    network.save_pretrained(folder)
    processor = {
        "crop_size": {"height": size, "width": size},
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


def test_pixels_say_what_images_should_be(tiny_vit: Path) -> None:
    pixels, raw = Pixels(path=str(tiny_vit)), images(2, 3, 16)
    assert (pixels.image_size, pixels.image_channels) == (16, 3)
    assert pixels.images(raw) is raw
    for refuse in (lambda: pixels.texts(["a"]), lambda: pixels.vectors(torch.zeros(1, 2))):
        with pytest.raises(ValueError, match=r"^model: it reads images, not .*; choose"):
            refuse()


@pytest.mark.parametrize("pooling", ["cls", "mean", "pooled"])
def test_encoder_computes_what_transformers_computes(tiny_vit: Path, pooling: str) -> None:
    transformers = pytest.importorskip("transformers")
    raw = images(3, 3, 16)
    theirs = transformers.AutoModel.from_pretrained(tiny_vit).eval()
    with torch.no_grad():
        output = theirs(pixel_values=(raw.float() / 255 - 0.5) / 0.25)
        hidden = output.last_hidden_state
        expected = {"cls": hidden[:, 0], "mean": hidden[:, 1:].mean(1), "pooled": output.pooler_output}
        found = encoder_at(tiny_vit, pooling=pooling)(raw)
    torch.testing.assert_close(found, expected[pooling], rtol=1e-4, atol=1e-5)


def test_grey_and_larger_images_are_repeated_and_resized(tiny_vit: Path) -> None:
    encoder = encoder_at(tiny_vit, (1, 16, 16))
    grey = images(2, 1, 16)
    with torch.no_grad():
        assert torch.equal(encoder(grey), encoder(grey.expand(-1, 3, -1, -1)))
        flat = torch.full((1, 3, 40, 28), 128, dtype=torch.uint8)
        torch.testing.assert_close(encoder(flat), encoder(flat[:, :, :16, :16]), rtol=1e-4, atol=1e-5)


def test_every_parameter_has_a_gradient(tiny_vit: Path) -> None:
    encoder = encoder_at(tiny_vit, normalise=True).train()
    assert torch.equal(encoder(images(2, 3, 16)), encoder(images(2, 3, 16)))
    assert len(torch.autograd.grad(encoder(images(2, 3, 16)).sum(), list(encoder.parameters()))) > 30


@pytest.mark.parametrize("family", ["dinov2", "clip", "resnet", "convnext"])
def test_other_families_give_features_and_gradients(tmp_path: Path, family: str) -> None:
    transformers = pytest.importorskip("transformers", reason="needs the extra hf")
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    torch.manual_seed(0)
    if family == "dinov2":
        config = transformers.Dinov2Config(**small, image_size=16, patch_size=8)
        network = transformers.Dinov2Model(config)
    elif family == "clip":
        vision = {**small, "image_size": 16, "patch_size": 8, "projection_dim": 8}
        text = {**small, "vocab_size": 20, "max_position_embeddings": 8, "projection_dim": 8}
        text |= {"bos_token_id": 1, "eos_token_id": 2}
        network = transformers.CLIPModel(
            transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)
        )
    elif family == "resnet":
        network = transformers.ResNetModel(
            transformers.ResNetConfig(
                embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic"
            )
        )
    else:
        network = transformers.ConvNextModel(
            transformers.ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2, image_size=16)
        )
    folder = saved(tmp_path, network, 16)
    encoder = encoder_at(folder, pooling="pooled").train()
    features = encoder(images(2, 3, 16))
    assert features.shape == (2, 16)
    assert encoder.feature_dim == 16
    assert torch.isfinite(features).all() and not torch.allclose(features[0], features[1])
    torch.autograd.grad(features.sum(), list(encoder.parameters()))
    if family == "resnet":
        with pytest.raises(
            ValueError, match=r"^pooling: this model has no first token; choose pooled or mean"
        ):
            encoder_at(folder, pooling="cls")
        assert encoder_at(folder, pooling="mean")(images(2, 3, 16)).shape == (2, 16)


def test_frozen_features_are_those_of_the_encoder(tiny_vit: Path) -> None:
    frozen = FrozenImage(None, path=str(tiny_vit), pooling="cls", batch_size=2)  # type: ignore[arg-type]
    raw = images(5, 3, 16)
    found = frozen.images(raw)
    with torch.no_grad():
        torch.testing.assert_close(found, encoder_at(tiny_vit)(raw), rtol=1e-4, atol=1e-5)
    assert Features((16,), path=str(tiny_vit), preprocess=frozen, normalise=False)(found) is found


def test_folder_without_normalisation_and_unfit_images_are_refused(tiny_vit: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_vit, tmp_path / "copy"))
    with pytest.raises(ValueError, match=r"^model: it reads 3 channels, this data set gives 4; choose"):
        encoder_at(folder, (4, 16, 16))
    with pytest.raises(ValueError, match=r"^model: it reads images, which this data set does not give"):
        encoder_at(folder, (5,))
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(ValueError, match=r"^path: .* does not say how images are sized and normalised"):
        Pixels(path=str(folder))


def test_pooling_by_weights_that_the_files_lack_is_refused(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="needs the extra hf")
    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=16,
        patch_size=8,
    )
    folder = saved(tmp_path, transformers.ViTModel(config, add_pooling_layer=False), 16)
    assert encoder_at(folder, pooling="cls").feature_dim == 16
    with pytest.raises(ValueError, match=r"^path: the files lack pooler\..*; choose another pooling"):
        encoder_at(folder, pooling="pooled")
