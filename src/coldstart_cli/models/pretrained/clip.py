"""An encoder of images and of what classes are called, in one space: CLIP and models like it.

Radford, Kim, Hallacy, Ramesh, Goh, Agarwal, Sastry, Askell, Mishkin, Clark, Krueger and Sutskever 2021,
arXiv:2103.00020, section 2.4 (features) and 3.1.2 (names as captions).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, final

import torch
from annotated_types import Ge
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional as F

from coldstart_cli.core.tasks import Inputs
from coldstart_cli.digests import digest
from coldstart_cli.errors import RequestError
from coldstart_cli.models.network import InputShape
from coldstart_cli.models.preprocess import Preprocess
from coldstart_cli.models.pretrained.features import Pretrained
from coldstart_cli.models.pretrained.hf import WEIGHTS, ModelPath, content_digest, keep_used, network_of
from coldstart_cli.models.pretrained.text import Tokens, trimmed
from coldstart_cli.models.pretrained.vision import Pixels, check_reads_images, normalised

_TABLE = "embeddings.token_embedding.weight"


@final
class Captions(Preprocess):
    """Images stay as they are (`vision.Pixels`); names become the tokens of a caption.

    Args:
        path: the model that reads them; see `hf.folder_of`.
        before, after: what a caption says around the name.
        max_length: most tokens of a caption; the rest is cut off.
    """

    def __init__(
        self, *, path: ModelPath, before: str, after: str, max_length: Annotated[int, Ge(4)]
    ) -> None:
        self.path, self.before, self.after, self.max_length = path, before, after, max_length
        self.pixels, self.tokens = (
            Pixels(path=path),
            Tokens(path=path, max_length=max_length, in_prompt=False),
        )
        self.image_size, self.image_channels = self.pixels.image_size, self.pixels.image_channels
        self.mean, self.std = self.pixels.mean, self.pixels.std
        self.content = digest([self.pixels.content or "", self.tokens.content])
        self.fingerprint = (
            f"captions-{self.pixels.fingerprint}-{self.tokens.fingerprint}-{digest([before, after])}"
        )

    def load(self) -> None:
        self.tokens.load()

    def images(self, images: Tensor) -> Inputs:
        return images

    @property
    def reads_names(self) -> bool:
        return True

    def names(self, words: Sequence[str]) -> Inputs | None:
        return self.tokens.texts([self.before + name + self.after for name in words]) if words else None

    def texts(self, texts: Sequence[str]) -> Inputs:
        return self.pixels.texts(texts)

    def vectors(self, values: Tensor) -> Inputs:
        return self.pixels.vectors(values)


@final
class CLIP(Pretrained):
    """Images (n, C, H, W), or tokens of captions, -> features (n, feature_dim) in the space that both share.

    Args:
        input_shape: (C, H, W).
        path: the model; see `hf.folder_of`.
        preprocess: size and normalisation of images, and the tokenizer.
        normalise: scale features to length 1.
        frozen: the weights are constants, which no strategy changes and no checkpoint holds.

    Attributes:
        before: (b,) the tokens of what a caption says before the name.

    Raises:
        ValueError: where inputs are not images, or there is no such model at `path`.
    """

    before: Tensor
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        input_shape: InputShape,
        *,
        path: ModelPath,
        preprocess: Captions,
        normalise: bool,
        frozen: bool,
    ) -> None:
        super().__init__()
        check_reads_images(input_shape, path, preprocess)
        self.path, self.reads = path, preprocess.fingerprint
        self.normalise, self.frozen = normalise, frozen
        self.channels, self.size = int(preprocess.image_channels or 3), int(preprocess.image_size or 1)
        for name, values in (("mean", preprocess.mean), ("std", preprocess.std)):
            self.register_buffer(name, torch.tensor(values).view(1, -1, 1, 1), persistent=False)
        before = torch.tensor(preprocess.tokens.part(preprocess.before), dtype=torch.int64)
        self.register_buffer("before", before, persistent=False)
        folder = preprocess.tokens.folder
        self.content = content_digest(folder, WEIGHTS)
        self.body, missing = network_of(folder, None)
        parts = ("vision_model", "visual_projection", "text_model", "text_projection")
        if any(not hasattr(self.body, part) for part in parts):
            raise ValueError(
                f"path: {folder} holds a {type(self.body).__name__}, not a model of images and text such as "
                "CLIP; give one, or choose model=hf_image"
            )
        image = self._of_images(torch.zeros(1, self.channels, self.size, self.size))
        caption = self._of_captions(torch.zeros(1, 4, dtype=torch.int64), torch.ones(1, 4, dtype=torch.bool))
        self.feature_dim = image.shape[1]
        keep_used(self.body, image + caption, missing, "give a model whose files are complete")
        if frozen:
            self.freeze()

    def encoded(self, inputs: Inputs) -> Tensor:
        if isinstance(inputs, Mapping):
            return self._scaled(self._of_captions(*trimmed(inputs)))
        return self._scaled(
            self._of_images(normalised(inputs, self.mean, self.std, channels=self.channels, size=self.size))
        )

    @property
    def width(self) -> int:
        """Of a token's vector."""
        return int(self._table.shape[1])

    def embedded(self, ids: Tensor) -> Tensor:
        """(..., width) what the text tower reads of ids (...)."""
        return self._table[ids]

    def without_before(self, captions: Inputs) -> Inputs:
        """Captions of `Captions.names` without the words before the name."""
        assert isinstance(captions, Mapping)
        b = len(self.before)
        return {key: torch.cat([tensor[:, :1], tensor[:, 1 + b :]], 1) for key, tensor in captions.items()}

    def lack_of_room(self, m: int, captions: Inputs) -> str | None:
        """Why captions are too long after m vectors, or None where they are not."""
        longest = int(self.body.get_submodule("text_model").config.max_position_embeddings)  # type: ignore[union-attr, arg-type]
        n = trimmed(captions)[0].shape[1]
        if n + m <= longest:
            return None
        return (
            f"n_context: {m} vectors and {n} tokens of a caption are more than the {longest} that the model "
            f"reads; give {max(0, longest - n)} at most"
        )

    def after_context(self, context: Tensor, captions: Inputs) -> Tensor:
        """Features (n, feature_dim) of captions that begin with vectors in place of words.

        Args:
            context: (m, width), read between the token that starts a text and its words.

        Raises:
            RequestError: where both are longer than what the model reads.
        """
        if (lack := self.lack_of_room(len(context), captions)) is not None:
            raise RequestError(f"strategy.{lack}")
        ids, mask = trimmed(captions)
        n, m = len(ids), len(context)
        # The vectors are further rows of the table of tokens, so that the network reads them like any other.
        rows = torch.arange(len(self._table), len(self._table) + m, device=ids.device).expand(n, m)
        ids = torch.cat([ids[:, :1], rows, ids[:, 1:]], 1)
        mask = torch.cat([mask[:, :1].expand(n, m), mask], 1)
        return self._scaled(self._of_captions(ids, mask, {_TABLE: torch.cat([self._table, context])}))

    @property
    def _table(self) -> Tensor:
        table: Any = self.body.get_submodule("text_model.embeddings.token_embedding").weight
        assert isinstance(table, Tensor)
        return table

    def _scaled(self, features: Tensor) -> Tensor:
        return F.normalize(features, dim=-1) if self.normalise else features

    def _of_images(self, pixels: Tensor) -> Tensor:
        body: Any = self.body
        features: Tensor = body.visual_projection(body.vision_model(pixel_values=pixels).pooler_output)
        return features

    def _of_captions(self, ids: Tensor, mask: Tensor, weights: Mapping[str, Tensor] | None = None) -> Tensor:
        body: Any = self.body
        said = functional_call(
            body.text_model, dict(weights or {}), kwargs={"input_ids": ids, "attention_mask": mask.long()}
        )
        # A text's last token has seen all of it. Not `pooler_output`, which in old configurations is the
        # token of the largest number.
        last = mask.sum(1).clamp(min=1) - 1
        features: Tensor = body.text_projection(
            said.last_hidden_state[torch.arange(len(ids), device=ids.device), last]
        )
        return features
