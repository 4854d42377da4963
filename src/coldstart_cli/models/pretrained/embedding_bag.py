"""A small student of encoders of text, which shares the tokenizer of one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, final

from annotated_types import Ge
from torch import Tensor, nn
from torch.nn import functional as F

from coldstart_cli.core.tasks import Inputs
from coldstart_cli.models.network import Encoder, InputShape
from coldstart_cli.models.pretrained.hf import ModelPath
from coldstart_cli.models.pretrained.text import Tokens, check_reads_tokens, masked_mean


@final
class EmbeddingBag(Encoder):
    """Token ids with their mask -> features (n, hidden): the mean of the tokens' vectors, then one layer.

    A student for large encoders of text: it looks vectors up and adds them, ignoring the order of words.

    Args:
        input_shape: of `input_ids` and `attention_mask`.
        path: the model whose tokenizer it shares.
        preprocess: that tokenizer.
        embedding_dim: width of a token's vector.
        hidden: width of the features, after a ReLU.

    Raises:
        ValueError: where inputs are not text.
    """

    def __init__(
        self,
        input_shape: InputShape,
        *,
        path: ModelPath,
        preprocess: Tokens,
        embedding_dim: Annotated[int, Ge(1)],
        hidden: Annotated[int, Ge(1)],
    ) -> None:
        super().__init__()
        check_reads_tokens(input_shape, path, preprocess)
        self.path, self.reads = path, preprocess.fingerprint
        self.embedding_dim, self.hidden, self.feature_dim = embedding_dim, hidden, hidden
        self.tokens = nn.Embedding(preprocess.n_tokens, embedding_dim)
        nn.init.normal_(
            self.tokens.weight, std=0.1
        )  # features are means of some ten vectors, which should start small
        self.layer = nn.Linear(embedding_dim, hidden)

    def forward(self, inputs: Inputs) -> Tensor:
        assert isinstance(inputs, Mapping)
        mean = masked_mean(self.tokens(inputs["input_ids"]), inputs["attention_mask"])
        return F.relu(self.layer(mean))
