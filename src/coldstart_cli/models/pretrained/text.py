"""Encoders of text: token ids, a pretrained encoder, its frozen features, and a small student.

Mean pooling and scaling to length 1 are as in sentence-transformers (Reimers and Gurevych 2019,
arXiv:1908.10084, section 3).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, Literal, final

import torch
from annotated_types import Ge
from torch import Tensor, nn
from torch.nn import functional as F

from coldstart_cli.core.tasks import Inputs, map_inputs
from coldstart_cli.digests import digest, whole_digest
from coldstart_cli.models.network import InputShape
from coldstart_cli.models.preprocess import Preprocess
from coldstart_cli.models.pretrained.adapters import Adapter, merge_adapter, weights_digest
from coldstart_cli.models.pretrained.cutting import cut_of
from coldstart_cli.models.pretrained.features import BatchSize, Cached, FrozenFeatures, Pretrained
from coldstart_cli.models.pretrained.hf import (
    Dtype,
    ModelPath,
    content_digest,
    folder_of,
    keep_used,
    network_of,
    tokenizer_of,
)

TextPooling = Literal["mean", "cls", "last"]
Layer = Annotated[int, Ge(0)] | None
"""Whose hidden states are features: 0 is the table of tokens; None the last layer with the norm after it."""

_log = logging.getLogger(__name__)

_TOKENIZER = ("tokenizer*.json", "special_tokens_map.json", "vocab.*", "merges.txt", "*.model")


@final
class Tokens(Preprocess):
    """Turns texts into `input_ids` (n, L) int32 and `attention_mask` (n, L) bool, padded to the longest, L.

    Encoders give the same features for any L, so a data set and a prediction may differ in it.

    Args:
        path: the model that the tokenizer belongs to; see `hf.folder_of`.
        max_length: most tokens of a text; the rest is cut off.
        in_prompt: texts are read as parts of a prompt: after a space, and without the tokens that begin and
            end a text.
    """

    max_length: int
    reads_text = True

    def __init__(self, *, path: ModelPath, max_length: Annotated[int, Ge(4)], in_prompt: bool) -> None:
        self.path, self.max_length, self.in_prompt = path, max_length, in_prompt
        self.folder = folder_of(path)
        self.content: str = content_digest(self.folder, _TOKENIZER)
        self.fingerprint = f"tokens-{self.content}-{max_length}" + ("-in_prompt" if in_prompt else "")

    def load(self) -> None:
        _ = self.tokenizer

    @cached_property
    def tokenizer(self) -> Any:
        return tokenizer_of(self.folder)

    def as_json(self) -> str | None:
        """The tokenizer as a tokenizer.json by which other programs cut and fill up as `texts` does.

        None where it is not of the kind that has such a file, or texts are parts of a prompt.
        """
        tokenizer = self.tokenizer
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None or self.in_prompt:
            return None
        copied = type(backend).from_str(backend.to_str())
        copied.enable_truncation(self.max_length, direction=tokenizer.truncation_side)
        copied.enable_padding(pad_id=tokenizer.pad_token_id, pad_token=tokenizer.pad_token)
        text: str = copied.to_str()
        return text

    @property
    def n_tokens(self) -> int:
        """Size of the vocabulary."""
        return len(self.tokenizer)

    @cached_property
    def begins(self) -> tuple[int, ...]:
        """The tokens that the tokenizer puts before a text, which none has `in_prompt`."""
        whole, bare = self.tokenizer("a")["input_ids"], self.part("a")
        return tuple(whole[: next(i for i in range(len(whole)) if whole[i : i + len(bare)] == list(bare))])

    def part(self, text: str, then: str = "") -> tuple[int, ...]:
        """The tokens of a text and no others, as they are before the text `then`."""
        ids = tuple(self.tokenizer(text + then, add_special_tokens=False)["input_ids"]) if text else ()
        if not then or not ids:
            return ids
        after = self.part(then)
        # Line breaks before a word are often others than at the end of a text.
        return ids[: -len(after)] if ids[-len(after) :] == after else self.part(text)

    @cached_property
    def _space(self) -> str:
        # Some tokenizers read every text as if a space stood before it.
        first = self.tokenizer.convert_ids_to_tokens(list(self.part("a")))[0]
        return " " if self.in_prompt and not first.startswith("\u2581") else ""

    def texts(self, texts: Sequence[str]) -> Inputs:
        read = self.tokenizer(
            [f"{self._space}{text}" for text in texts],
            add_special_tokens=not self.in_prompt,
            padding=True,
            truncation=True,
            max_length=self.max_length,
            return_tensors="np",
        )
        return {
            "input_ids": torch.from_numpy(read["input_ids"]).int(),
            "attention_mask": torch.from_numpy(read["attention_mask"]).bool(),
        }

    def names(self, words: Sequence[str]) -> Inputs | None:
        if self.in_prompt:
            _warn_of_beginnings({label: self.part(label) for label in words})
        return super().names(words)

    def cut(self, texts: Sequence[str]) -> tuple[int, int]:
        def lengths(some: list[str]) -> list[int]:
            return [*map(len, self.tokenizer(some, verbose=False)["input_ids"])]

        return cut_of(texts, lengths, self.max_length, lambda: int(self.tokenizer.model_max_length))

    def images(self, images: Tensor) -> Inputs:
        raise ValueError("model: it reads text, not images; choose one that does (model=conv4)")

    def vectors(self, values: Tensor) -> Inputs:
        raise ValueError("model: it reads text, not numbers; choose one that does (model=mlp)")


@final
class HFText(Pretrained):
    """Token ids with their mask -> features (n, hidden size) of a pretrained transformer.

    Args:
        input_shape: of `input_ids` and `attention_mask`.
        path: the model; see `hf.folder_of`.
        adapter: of peft, merged into its weights; see `adapters`.
        preprocess: its tokenizer.
        pooling: `mean` over a text's tokens, `cls`, its first, or `last`, which in a causal language model
            alone has seen all others.
        layer: whose hidden states are pooled, see `Layer`.
        dtype: of the weights; features are float32.
        normalise: scale features to length 1.
        frozen: the weights are constants, which no strategy changes and no checkpoint holds.

    Raises:
        ValueError: where inputs are not text, there is no such model at `path`, or it has no such layer.
    """

    def __init__(
        self,
        input_shape: InputShape,
        *,
        path: ModelPath,
        adapter: Adapter,
        preprocess: Tokens,
        pooling: TextPooling,
        layer: Layer,
        dtype: Dtype,
        normalise: bool,
        frozen: bool,
    ) -> None:
        super().__init__()
        check_reads_tokens(input_shape, path, preprocess)
        self.path, self.reads = path, preprocess.fingerprint
        self.pooling, self.layer, self.normalise, self.frozen = pooling, layer, normalise, frozen
        self.adapter, self.content = adapter, weights_digest(preprocess.folder, adapter)
        self.body, missing = network_of(preprocess.folder, None, dtype=dtype)
        merge_adapter(self.body, adapter, path)
        check_network(self.body, preprocess, layer)
        if getattr(self.body, "pooler", None) is not None:
            # Its weights are often missing from files, and would then be random; we pool ourselves.
            setattr(self.body, "pooler", None)  # noqa: B010
        # A call with a graph: it tells the width of the features, and which parameters they depend on.
        output = self._pooled(torch.zeros(1, 4, dtype=torch.int64), torch.ones(1, 4, dtype=torch.bool))
        self.feature_dim = output.shape[1]
        keep_used(self.body, output, missing, "give a model whose files are complete")
        if frozen:
            self.freeze()

    def encoded(self, inputs: Inputs) -> Tensor:
        ids, mask = trimmed(inputs)
        features = self._pooled(ids, mask)
        return F.normalize(features, dim=-1) if self.normalise else features

    def _pooled(self, ids: Tensor, mask: Tensor) -> Tensor:
        return pooled(hidden_states(self.body, ids, mask, self.layer), mask, self.pooling)


@final
class FrozenText(FrozenFeatures):
    """Turns texts into features (n, hidden size) float32 of a frozen `HFText`, before any scaling.

    Args:
        cached: from the run.
        path, max_length: of its tokens.
        adapter, pooling, layer, dtype: of its encoder.
        batch_size: texts in one call, which are of similar length.
    """

    reads_text = True

    def __init__(
        self,
        cached: Cached,
        *,
        path: ModelPath,
        adapter: Adapter,
        max_length: Annotated[int, Ge(4)],
        pooling: TextPooling,
        layer: Layer,
        dtype: Dtype,
        batch_size: BatchSize,
    ) -> None:
        self.cached, self.path, self.adapter, self.max_length = cached, path, adapter, max_length
        self.pooling, self.layer, self.dtype, self.batch_size = pooling, layer, dtype, batch_size
        self.tokens = Tokens(path=path, max_length=max_length, in_prompt=False)
        weights = weights_digest(self.tokens.folder, adapter)
        self.content = digest([weights, self.tokens.content])
        more = ("" if layer is None else f"-layer{layer}") + ("" if dtype == "fp32" else f"-{dtype}")
        self.fingerprint = f"features-{weights}-{self.tokens.fingerprint}-{pooling}{more}"

    def load(self) -> None:
        self.tokens.load()
        _ = self.encoder

    def texts(self, texts: Sequence[str]) -> Inputs:
        # A digest each: joined texts would not show where one ends. Files from elsewhere may hold lone
        # surrogates.
        content = (whole_digest([text.encode("utf-8", "surrogatepass")]) for text in texts)
        return self.features(list(texts), content)

    def cut(self, texts: Sequence[str]) -> tuple[int, int]:
        return self.tokens.cut(texts)

    def images(self, images: Tensor) -> Inputs:
        return self.tokens.images(images)

    def computed(self, examples: Sequence[str]) -> Tensor:
        # Texts of similar length in one call: little of it is padding.
        order = sorted(range(len(examples)), key=lambda i: len(examples[i]))
        encoder = self.encoder.to(self.device)
        features = torch.zeros(len(examples), encoder.feature_dim)
        with torch.no_grad():
            for start in range(0, len(order), self.batch_size):
                rows = order[start : start + self.batch_size]
                tokens = self.tokens.texts([examples[i] for i in rows])
                features[rows] = encoder(map_inputs(lambda t: t.to(self.device), tokens)).cpu()
        return features

    @property
    def before(self) -> Tokens:
        return self.tokens

    @cached_property
    def encoder(self) -> HFText:
        return HFText(
            {"input_ids": (1,), "attention_mask": (1,)},
            path=self.path,
            adapter=self.adapter,
            preprocess=self.tokens,
            pooling=self.pooling,
            layer=self.layer,
            dtype=self.dtype,
            normalise=False,
            frozen=True,
        )


def check_reads_tokens(input_shape: InputShape, path: str, preprocess: Tokens) -> None:
    """
    Raises:
        ValueError: where the data set does not give token ids, or the config names two paths.
    """
    if isinstance(input_shape, tuple) or set(input_shape) != {"input_ids", "attention_mask"}:
        raise ValueError(
            "model: it reads text, which this data set does not give; choose a data set of text, "
            "or model=conv4"
        )
    if path != preprocess.path:
        raise ValueError(
            f"path: {path} is not where the tokenizer comes from, {preprocess.path}; give path alone"
        )


def _warn_of_beginnings(words: Mapping[str, Sequence[int]]) -> None:
    """Says of labels that another one begins with: its words are then never less likely than the other's."""
    known = {tuple(tokens): label for label, tokens in words.items()}
    pairs = [
        (known[head], label)
        for label, tokens in words.items()
        for n in range(1, len(tokens))
        if (head := tuple(tokens[:n])) in known
    ]
    if pairs:
        _log.warning(
            "dataset: %s with the same words (%r and %r), and a language model finds the shorter one at "
            "least as likely; rename it, or choose strategy.score=mean",
            "1 pair of labels begins" if len(pairs) == 1 else f"{len(pairs)} pairs of labels begin",
            *pairs[0],
        )


def check_network(body: nn.Module, preprocess: Tokens, layer: Layer) -> None:
    """
    Raises:
        ValueError: where the tokenizer knows tokens that the network does not, or there is no such layer.
    """
    # The networks of transformers are typed as modules here, which have no such attributes.
    config: Any = body.config
    known = config.get_text_config().vocab_size
    if preprocess.n_tokens > known:
        raise ValueError(
            f"path: its tokenizer has {preprocess.n_tokens} tokens and its network knows {known}; "
            "give a folder whose tokenizer and network belong together"
        )
    n_layers = config.get_text_config().num_hidden_layers
    if layer is not None and layer > n_layers:
        raise ValueError(f"layer: {layer} is above the network's {n_layers}; choose one from 0 to {n_layers}")


def hidden_states(body: nn.Module, ids: Tensor, mask: Tensor, layer: Layer) -> Tensor:
    """(n, L, d), at least float32: what a network makes of ids (n, L) up to one of its layers."""
    output = body(input_ids=ids, attention_mask=mask.long(), output_hidden_states=layer is not None)
    hidden: Tensor = output.last_hidden_state if layer is None else output.hidden_states[layer]
    return hidden.to(torch.promote_types(hidden.dtype, torch.float32))


def pooled(hidden: Tensor, mask: Tensor, pooling: TextPooling) -> Tensor:
    """(n, L, d) -> (n, d) by the positions where the mask (n, L) is true, which come first."""
    if pooling == "last":
        last = (mask.sum(1) - 1).clamp(min=0)  # of a text without tokens the first position, which is padding
        return hidden[torch.arange(len(hidden), device=hidden.device), last]
    return hidden[:, 0] if pooling == "cls" else masked_mean(hidden, mask)


def trimmed(inputs: Inputs) -> tuple[Tensor, Tensor]:
    """Ids (n, l) and mask (n, l) without columns of padding only, which cost time and change nothing."""
    assert isinstance(inputs, Mapping)
    ids, mask = inputs["input_ids"].long(), inputs["attention_mask"].bool()
    tracing = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    if torch.compiler.is_compiling() or tracing:  # the length of this call must not be fixed for all calls
        return ids, mask
    length = max(1, int(mask.sum(1).max())) if len(mask) else 1
    return ids[:, :length], mask[:, :length]


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """The mean of (n, L, d) over the positions L where the mask (n, L) is true: (n, d)."""
    weights = mask.to(values.dtype).unsqueeze(-1)
    # At least 1: a text without tokens has the mean 0, not 0 / 0.
    return (values * weights).sum(1) / weights.sum(1).clamp(min=1)
