"""A pretrained causal language model: it continues texts, and encodes them.

What strategies build on: `embedded` (tokens to vectors, in whose place trained ones may stand),
`keys_and_values` of a shared prefix (in whose place trained ones may stand too) and `log_likelihoods` of
continuations after it. All have gradients. `label_likelihood.py` makes classes of them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any, Literal, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from coldstart_cli.core.tasks import Inputs
from coldstart_cli.models.language.prompt import Prompt
from coldstart_cli.models.language.token_tree import TokenTree
from coldstart_cli.models.network import InputShape
from coldstart_cli.models.pretrained.adapters import Adapter, merge_adapter, weights_digest
from coldstart_cli.models.pretrained.checkpointing import checkpoint_layers
from coldstart_cli.models.pretrained.features import Pretrained
from coldstart_cli.models.pretrained.hf import (
    Dtype,
    ModelPath,
    check_language_head,
    config_of,
    imported,
    keep_used,
    network_of,
)
from coldstart_cli.models.pretrained.text import (
    Layer,
    Tokens,
    check_network,
    check_reads_tokens,
    hidden_states,
    pooled,
    trimmed,
)

Past = tuple[tuple[Tensor, Tensor], ...]
"""Of each layer, keys and values (1, n_heads, P, head_dim) of the P tokens before; empty where P is 0."""

_kept: ContextVar[Callable[[int, int], None]] = ContextVar("_kept", default=lambda n_tokens, size: None)


@contextlib.contextmanager
def watching_keys_and_values(watch: Callable[[int, int], None]) -> Iterator[None]:
    """Calls `watch` with the tokens that each call of a language model has behind it, and their bytes."""
    token = _kept.set(watch)
    try:
        yield
    finally:
        _kept.reset(token)


@final
class CausalLM(Pretrained):
    """Token ids with their mask -> features (n, hidden size); and log likelihoods of what continues a prompt.

    Args:
        input_shape: of `input_ids` and `attention_mask`.
        path: the model; see `hf.folder_of`.
        adapter: of peft, merged into its weights; see `adapters`.
        preprocess: its tokenizer, with `in_prompt`.
        prompt: what stands around texts and labels.
        pooling: of a text's tokens, for features: `last` or `mean`.
        layer: whose hidden states are features; see `Layer`.
        dtype: of the weights; the last layer and what comes out is float32.
        normalise: scale features to length 1.
        frozen: the weights are constants, which no strategy changes and no checkpoint holds.
        checkpointing: layers are computed again for a gradient, which then needs less memory and more time.

    Attributes:
        begins: (b,) the tokens that the tokenizer puts before a text.
        context: most tokens that the network reads at once.
        cache_width: numbers that attention keeps of a token, in all layers.
        max_length: most tokens of a text.
        width: of a token's vector.

    Raises:
        ValueError: where inputs are not text, there is no such model at `path`, or it predicts no next token.
    """

    def __init__(
        self,
        input_shape: InputShape,
        *,
        path: ModelPath,
        adapter: Adapter,
        preprocess: Tokens,
        prompt: Prompt,
        pooling: Literal["last", "mean"],
        layer: Layer,
        dtype: Dtype,
        normalise: bool,
        frozen: bool,
        checkpointing: bool,
    ) -> None:
        super().__init__()
        check_reads_tokens(input_shape, path, preprocess)
        if not preprocess.in_prompt:
            raise ValueError("preprocess.in_prompt: false, and texts are parts of a prompt here; write true")
        self.path, self.reads = path, preprocess.fingerprint
        self.pooling, self.layer, self.normalise, self.frozen = pooling, layer, normalise, frozen
        self.adapter, self.content = adapter, weights_digest(preprocess.folder, adapter)
        check_language_head(preprocess.folder)
        self.body, missing = network_of(
            preprocess.folder, None, language_head=True, attention="sdpa", dtype=dtype
        )
        merge_adapter(self.body, adapter, path)
        check_network(self.body, preprocess, layer)
        keep_used(self.body, self._logits(), missing, "give a model whose files are complete")
        # What features do not depend on has no gradient there: often the last layer, layers above `layer`.
        ids = torch.zeros(1, 2, dtype=torch.int64)
        features = hidden_states(self._decoder, ids, torch.ones_like(ids), layer)
        keep_used(self.body, features, frozenset(), "")
        # The networks of transformers are typed as modules here, which have no such methods.
        body: Any = self.body
        if dtype != "fp32":
            body.set_output_embeddings(_Float32Layer(body.get_output_embeddings()))
        config = config_of(preprocess.folder)
        self.context, self.cache_width = context_of(config), cache_width(config)
        self.width = self.feature_dim = body.get_input_embeddings().weight.shape[1]
        self.prompt = prompt
        # Once and here, so that a predictor needs no tokenizer.
        text, label = " a", " a"
        following = prompt.before or text
        for name, words, then in (
            ("header", prompt.header, following),
            ("before", prompt.before, text),
            ("between", prompt.between, label),
            ("after", prompt.after, following),
        ):
            ids = torch.tensor(preprocess.part(words, then), dtype=torch.int64)
            self.register_buffer(f"_{name}", ids, persistent=False)
        self.max_length = preprocess.max_length
        for i, text in enumerate(("N/A", "[MASK]")):
            read = preprocess.texts([text])
            assert isinstance(read, Mapping)
            self.register_buffer(f"_content_free_{i}", read["input_ids"][0].long(), persistent=False)
        self.register_buffer("begins", torch.tensor(preprocess.begins, dtype=torch.int64), persistent=False)
        self.checkpointing = checkpointing
        if checkpointing:
            checkpoint_layers(self._decoder)
        if frozen:
            self.freeze()

    @property
    def dtype(self) -> torch.dtype:
        """Of what the network reads."""
        body: Any = self.body
        dtype: torch.dtype = body.get_input_embeddings().weight.dtype
        return dtype

    def piece(self, name: Literal["header", "before", "between", "after"]) -> Tensor:
        """(l,) the tokens of a piece of the prompt."""
        return self.get_buffer(f"_{name}")

    def without_content(self) -> list[Tensor]:
        """The tokens (l,) of texts that say nothing, as in Zhao 2021, arXiv:2102.09690, section 5."""
        said = [self.get_buffer(f"_content_free_{i}") for i in range(2)]
        return [*said, said[0][:0]]

    def encoded(self, inputs: Inputs) -> Tensor:
        ids, mask = trimmed(inputs)
        if begins := len(self.get_buffer("begins")):
            ids = torch.cat([self.get_buffer("begins").expand(len(ids), -1), ids], dim=1)
            mask = F.pad(mask, (begins, 0), value=True)
        features = pooled(hidden_states(self._decoder, ids, mask, self.layer), mask, self.pooling)
        return F.normalize(features, dim=-1) if self.normalise else features

    def embedded(self, ids: Tensor) -> Tensor:
        """(..., width) what the network reads of ids (...)."""
        body: Any = self.body
        vectors: Tensor = body.get_input_embeddings()(ids)
        return vectors

    def keys_and_values(self, vectors: Tensor, past: Past = ()) -> Past:
        """What attention keeps of a prefix (P, width) as `embedded`, and of the past before it."""
        if not len(vectors):
            return past
        n = len(vectors)
        cache = self._call(
            self._decoder,
            vectors,
            torch.arange(n, device=vectors.device),
            torch.ones(n, n, dtype=torch.bool, device=vectors.device).tril(),
            past,
        ).past_key_values
        return tuple((layer.keys, layer.values) for layer in cache.layers)

    def log_likelihoods(self, tree: TokenTree, past: Past) -> Tensor:
        """(R, B) float32 log probability of each continuation after past and beginning, in one call."""
        vectors = self.embedded(tree.tokens)
        output = self._call(self.body, vectors, tree.depths, tree.visible, past, logits_to_keep=tree.kept)
        logits = output.logits[0]
        return tree.log_likelihoods(logits.to(torch.promote_types(logits.dtype, torch.float32)))

    def differentiable_twice(self) -> None:
        """Computes attention step by step from now on: torch's fused kernels have one derivative on a CPU."""
        body: Any = self.body
        body.set_attn_implementation("eager")

    @property
    def decoder_name(self) -> str:
        """The name of the submodule that computes hidden states: all but the last layer."""
        decoder = self._decoder
        names: dict[int, str] = {id(module): name for name, module in self.named_modules()}
        return names[id(decoder)]

    @property
    def _decoder(self) -> nn.Module:
        body: Any = self.body
        decoder: nn.Module = body.get_decoder()
        return decoder

    def _call(
        self, module: nn.Module, vectors: Tensor, depths: Tensor, visible: Tensor, past: Past, **more: Tensor
    ) -> Any:
        """What a part of the network makes of T vectors (T, width) at these depths behind the past.

        Args:
            visible: (T, T) whether the token of a row sees that of a column; all see the past.
        """
        before = past_length(past)
        n_kept = before + len(vectors)
        _kept.get()(n_kept, cache_bytes(self.cache_width, n_kept, 1, vectors.dtype))
        seen = F.pad(visible, (before, 0), value=True)
        hidden = torch.zeros(seen.shape, dtype=vectors.dtype, device=seen.device)
        # As numbers: attention step by step adds them. Not -inf, whose differences are not numbers.
        hidden.masked_fill_(~seen, torch.finfo(vectors.dtype).min)
        return module(
            inputs_embeds=vectors.unsqueeze(0),
            position_ids=(depths + before).unsqueeze(0),
            attention_mask=hidden[None, None],
            past_key_values=imported().DynamicCache(past) if past else imported().DynamicCache(),
            use_cache=True,
            **more,
        )

    def _logits(self) -> Tensor:
        """A call with a graph, which tells the parameters that it depends on."""
        body: Any = self.body
        logits: Tensor = body(input_ids=torch.zeros(1, 2, dtype=torch.int64), use_cache=False).logits
        return logits


def past_length(past: Past) -> int:
    """How many tokens it holds."""
    return past[0][0].shape[-2] if past else 0


def cache_width(config: Any) -> int:
    """2 * layers * key heads * head_dim: the numbers of a token's keys and values in all layers."""
    text = config.get_text_config()
    heads = text.num_attention_heads
    key_heads = getattr(text, "num_key_value_heads", None) or heads
    head_dim = getattr(text, "head_dim", None) or text.hidden_size // heads
    return int(2 * text.num_hidden_layers * key_heads * head_dim)


def cache_bytes(width: int, n_tokens: int, batch: int, dtype: torch.dtype) -> int:
    """2 * layers * key heads * head_dim * tokens * batch * bytes: what keys and values take."""
    return width * n_tokens * batch * dtype.itemsize


def context_of(config: Any) -> int:
    """Most tokens that a network reads at once: its positions or, where layers see a window alone, this one.

    A window is never left, since a token tree says itself what is visible.
    """
    text = config.get_text_config()
    window = getattr(text, "sliding_window", None)
    kinds = getattr(text, "layer_types", None)
    slides = window is not None and (kinds is None or "sliding_attention" in kinds)
    return int(min(text.max_position_embeddings, window) if slides else text.max_position_embeddings)


@final
class _Float32Layer(nn.Module):
    """The last layer in float32: logits of three digits are too coarse for sums of log probabilities.

    A constant of its own, since the table of tokens that it may be shared with stays as it is.
    """

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.register_buffer("weight", layer.weight.detach().float(), persistent=False)
        bias = None if layer.bias is None else layer.bias.detach().float()
        self.register_buffer("bias", bias, persistent=False)

    def forward(self, hidden: Tensor) -> Tensor:
        return F.linear(hidden.float(), self.get_buffer("weight"), self.get_buffer("bias"))
