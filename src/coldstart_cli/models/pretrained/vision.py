"""Encoders of images: a pretrained one (ViT, DINOv2, CLIP, ResNet, ConvNeXt, ...) and its frozen features."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, Protocol, final

import torch
from torch import Tensor
from torch.nn import functional as F

from coldstart_cli.core.tasks import Inputs
from coldstart_cli.digests import digest
from coldstart_cli.models.network import InputShape
from coldstart_cli.models.preprocess import Preprocess
from coldstart_cli.models.pretrained.features import BatchSize, Cached, FrozenFeatures, Pretrained
from coldstart_cli.models.pretrained.hf import (
    WEIGHTS,
    ModelPath,
    content_digest,
    folder_of,
    keep_used,
    network_of,
)

ImagePooling = Literal["pooled", "cls", "mean"]

_PART = "vision_config"
_PROCESSOR = "preprocessor_config.json"


@final
class Pixels(Preprocess):
    """Images stay as they are, uint8: the encoder resizes and normalises them, a batch at a time.

    Args:
        path: the model that reads them; see `hf.folder_of`. Its `config.json` says size and channels, its
            `preprocessor_config.json` the mean and the standard deviation of a channel.
    """

    def __init__(self, *, path: str) -> None:
        self.path = path
        self.folder = folder_of(path)
        self.content = content_digest(self.folder, ("config.json", _PROCESSOR))
        self.fingerprint = f"pixels-{self.content}"
        config = (
            json.loads((self.folder / "config.json").read_text("utf-8")) if self._has("config.json") else {}
        )
        # CLIP keeps the vision tower's settings in a part of their own.
        config = config.get(_PART, config)
        processor = json.loads((self.folder / _PROCESSOR).read_text("utf-8")) if self._has(_PROCESSOR) else {}
        self.image_channels = config.get("num_channels", 3)  # transformers leaves out its default, 3
        self.image_size = _side(config) or _side(processor)
        if self.image_size is None or "image_mean" not in processor:
            raise ValueError(
                f"path: {self.folder} does not say how images are sized and normalised ({_PROCESSOR}: size, "
                "image_mean, image_std); save the image processor beside the model"
            )
        self.mean, self.std = processor["image_mean"], processor["image_std"]

    def images(self, images: Tensor) -> Inputs:
        return images

    def texts(self, texts: Sequence[str]) -> Inputs:
        raise ValueError("model: it reads images, not text; choose one that does (model=hf_text)")

    def vectors(self, values: Tensor) -> Inputs:
        raise ValueError("model: it reads images, not tables; choose one that does (model=mlp)")

    def _has(self, name: str) -> bool:
        return (self.folder / name).is_file()


@final
class HFImage(Pretrained):
    """Images (n, C, H, W) -> features (n, feature_dim) of a pretrained network.

    uint8 is scaled to [0, 1]; one channel is repeated; another size is resized (bicubic, antialiased).

    Args:
        input_shape: (C, H, W).
        path: the model; see `hf.folder_of`.
        preprocess: size and normalisation.
        pooling: `pooled`, as the network itself does it (`pooler_output`), `cls`, its first token, or `mean`
            over patches or positions.
        normalise: scale features to length 1.
        frozen: the weights are constants, which no strategy changes and no checkpoint holds.

    Raises:
        ValueError: where inputs are not images, or there is no such model at `path`.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        input_shape: InputShape,
        *,
        path: ModelPath,
        preprocess: Pixels,
        pooling: ImagePooling,
        normalise: bool,
        frozen: bool,
    ) -> None:
        super().__init__()
        check_reads_images(input_shape, path, preprocess)
        self.path, self.reads = path, preprocess.fingerprint
        self.pooling, self.normalise, self.frozen = pooling, normalise, frozen
        self.channels, self.size = int(preprocess.image_channels or 3), int(preprocess.image_size or 1)
        for name, values in (("mean", preprocess.mean), ("std", preprocess.std)):
            self.register_buffer(name, torch.tensor(values).view(1, -1, 1, 1), persistent=False)
        self.content = content_digest(preprocess.folder, WEIGHTS)
        self.body, missing = network_of(preprocess.folder, _PART)
        output = self._pooled(torch.zeros(1, self.channels, self.size, self.size))
        self.feature_dim = output.shape[1]
        keep_used(self.body, output, missing, "choose another pooling (pooling=cls)")
        if frozen:
            self.freeze()

    def encoded(self, inputs: Inputs) -> Tensor:
        assert isinstance(inputs, Tensor)
        pixels = normalised(inputs, self.mean, self.std, channels=self.channels, size=self.size)
        features = self._pooled(pixels)
        return F.normalize(features, dim=-1) if self.normalise else features

    def _pooled(self, pixels: Tensor) -> Tensor:
        output = self.body(pixel_values=pixels)
        hidden: Tensor = output.last_hidden_state
        if self.pooling == "pooled":
            pooled: Tensor | None = getattr(output, "pooler_output", None)
            if pooled is None:
                raise ValueError("pooling: this model has no pooled output; choose cls or mean")
            return pooled.flatten(1)
        if hidden.ndim == 4:  # a map of positions: (n, d, h, w)
            if self.pooling == "cls":
                raise ValueError("pooling: this model has no first token; choose pooled or mean")
            return hidden.mean((2, 3))
        # Token 0 is the class token; the mean is over the patches alone.
        return hidden[:, 0] if self.pooling == "cls" else hidden[:, 1:].mean(1)


@final
class FrozenImage(FrozenFeatures):
    """Turns images into features (n, feature_dim) float32 of a frozen `HFImage`, before any scaling.

    Args:
        cached: from the run.
        path: of its encoder.
        pooling: of its encoder.
        batch_size: images in one call.
    """

    def __init__(
        self, cached: Cached, *, path: ModelPath, pooling: ImagePooling, batch_size: BatchSize
    ) -> None:
        self.cached, self.path, self.pooling, self.batch_size = cached, path, pooling, batch_size
        self.pixels = Pixels(path=path)
        self.image_size, self.image_channels = self.pixels.image_size, self.pixels.image_channels
        weights = content_digest(self.pixels.folder, WEIGHTS)
        self.content = digest([weights, self.pixels.fingerprint])
        self.fingerprint = f"features-{weights}-{self.pixels.fingerprint}-{pooling}"

    def load(self) -> None:
        _ = self.encoder

    def images(self, images: Tensor) -> Inputs:
        return self.features(images, [f"{images.dtype} {tuple(images.shape)}", images])

    def texts(self, texts: Sequence[str]) -> Inputs:
        return self.pixels.texts(texts)

    def computed(self, examples: Tensor) -> Tensor:
        with torch.no_grad():
            encoder, parts = self.encoder.to(self.device), torch.split(examples, self.batch_size)
            return torch.cat([encoder(part.to(self.device)).cpu() for part in parts])

    @property
    def before(self) -> Pixels:
        return self.pixels

    @cached_property
    def encoder(self) -> HFImage:
        channels, size = int(self.image_channels or 3), int(self.image_size or 1)
        return HFImage(
            (channels, size, size),
            path=self.path,
            preprocess=self.pixels,
            pooling=self.pooling,
            normalise=False,
            frozen=True,
        )


def normalised(inputs: Tensor, mean: Tensor, std: Tensor, *, channels: int, size: int) -> Tensor:
    """Images (n, 1 or channels, H, W) as a network reads them: (n, channels, size, size), normalised.

    uint8 is scaled to [0, 1]; one channel is repeated; another size is resized (bicubic, antialiased).
    """
    images = inputs.to(mean.dtype)
    images = images / 255 if inputs.dtype == torch.uint8 else images
    if images.shape[1] == 1 and channels > 1:
        # A view, without memory for the repeated channel.
        images = images.expand(-1, channels, -1, -1)
    if images.shape[2:] != (size, size):
        # Bicubic interpolation overshoots at edges, hence the clamp.
        images = F.interpolate(images, (size, size), mode="bicubic", antialias=True).clamp(0, 1)
    return (images - mean) / std


def _side(config: Mapping[str, Any]) -> int | None:
    """Pixels of a side, in any of the ways in which configurations and image processors write it."""
    for name in ("image_size", "crop_size", "size"):
        value = config.get(name)
        if isinstance(value, Mapping):
            value = value.get("height", value.get("shortest_edge"))
        if isinstance(value, list) and value:
            value = value[0]
        if isinstance(value, int):
            return value
    return None


class ReadsImages(Protocol):
    path: str
    image_channels: int | None


def check_reads_images(input_shape: InputShape, path: str, preprocess: ReadsImages) -> None:
    """
    Raises:
        ValueError: where the data set does not give images, or the config names two paths.
    """
    if not isinstance(input_shape, tuple) or len(input_shape) != 3:
        raise ValueError(
            "model: it reads images, which this data set does not give; choose a data set of images, "
            "or another model"
        )
    if input_shape[0] not in (1, preprocess.image_channels):
        raise ValueError(
            f"model: it reads {preprocess.image_channels} channels, this data set gives {input_shape[0]}; "
            "choose another model"
        )
    if path != preprocess.path:
        raise ValueError(
            f"path: {path} is not what the images are sized for, {preprocess.path}; give path alone"
        )
