"""What pretrained encoders of text and of images share: frozen weights, and features that are kept."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from operator import itemgetter
from typing import Annotated, Any, Protocol, final

import torch
from annotated_types import Ge
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from coldstart_cli.core.tasks import Inputs, map_inputs, n_examples
from coldstart_cli.digests import Part, digest, whole_digest
from coldstart_cli.errors import RequestError
from coldstart_cli.models.network import Encoder, InputShape
from coldstart_cli.models.preprocess import Preprocess
from coldstart_cli.models.pretrained.files_read import FilesRead
from coldstart_cli.models.pretrained.hf import ModelPath, make_constant, revision_of

AT_ONCE = 64
"""Examples of a call that keeps no graph."""
WORTH_KEEPING = 256
"""Number of examples from which features are kept on disk: fewer are quick to compute, as in a prediction."""


_log = logging.getLogger(__name__)


def files_read(model: Mapping[str, Any], preprocess: Preprocess, module: nn.Module) -> FilesRead | None:
    """What a predictor takes from `model.path`, by content; None where it takes nothing.

    Args:
        model: the config's node.
        module: the strategy or its predictor.
    """
    parts = {part.content for part in module.modules() if isinstance(part, Pretrained)}
    parts |= {preprocess.content} if preprocess.content is not None else set()
    if not parts:
        return None
    path = model.get("path")
    return FilesRead(contents=tuple(sorted(parts)), revision=revision_of(path) if path else None)


def check_files(known: FilesRead | None, now: FilesRead | None, what: str, path: object) -> None:
    """Compares the files that a run or a bundle was made with to those that lie at `path` now.

    Args:
        known: of all its parts, of which `now` may have some; None where an older version made it, which did
            not keep this; then one warning says so.
        what: names it, as `run: outputs/RUN`.

    Raises:
        RequestError: where they are others, which would change predictions without a word.
    """
    if now is None:
        return
    if known is None:
        _log.warning(
            "%s was made by an older coldstart, which kept no digest of the files at %s; they are taken as "
            "they are",
            what,
            path,
        )
    elif not set(now.contents) <= set(known.contents):
        of = f" (revision {known.revision})" if known.revision else ""
        raise RequestError(
            f"{what} was made with other files than those at {path}; put the model{of} back that it was made "
            "with, or make it again"
        )


class Cached(Protocol):
    def __call__(self, name: str, make: Callable[[], dict[str, NDArray[Any]]], /) -> dict[str, NDArray[Any]]:
        """The arrays kept as `name`, made where they are missing."""


class Pretrained(Encoder):
    """An encoder whose weights begin as a folder's; it is always in evaluation mode.

    Dropout is therefore off and batch statistics are the folder's, in training too: tasks are compared on
    equal terms, and gradient steps see the network that predicts.

    Attributes:
        path: where it was loaded from.
        content: a digest of the files that its weights were read from.
        body: the network of transformers.
    """

    vectorizable = False
    path: str
    content: str
    body: nn.Module

    @abstractmethod
    def encoded(self, inputs: Inputs) -> Tensor:
        """Features (n, feature_dim) of n examples in one call."""

    def forward(self, inputs: Inputs) -> Tensor:
        """Features (n, feature_dim); without gradients, a few examples at a time.

        A query set of thousands of texts then needs the memory of a few, and each part is trimmed to its
        longest text.
        """
        # An exported graph has no loop over a length that changes, and a graph for gradients needs all
        # anyway.
        exporting = torch.compiler.is_exporting()
        if not exporting and n_examples(inputs) == 0:  # attention cannot shape nothing
            like = inputs if isinstance(inputs, Tensor) else next(iter(inputs.values()))
            return torch.zeros(0, self.feature_dim, device=like.device)
        if exporting or torch.is_grad_enabled() or (n := n_examples(inputs)) <= AT_ONCE:
            return self.encoded(inputs)
        parts = (slice(start, start + AT_ONCE) for start in range(0, n, AT_ONCE))
        return torch.cat([self.encoded(map_inputs(itemgetter(part), inputs)) for part in parts])

    def freeze(self) -> None:
        """Makes every weight a constant: the state then holds a digest to check them by, not the weights.

        Loading such a state into an encoder with other weights raises RequestError.
        """
        names = [name for name, _ in self.body.named_parameters()]
        if not names:  # it was frozen before
            return
        make_constant(self.body, names)
        known = whole_digest(self.body.get_buffer(name) for name in names)
        # As a tensor, because a state dict that is loaded safely has only tensors.
        self.register_buffer("digest", torch.frombuffer(bytearray(known), dtype=torch.uint8))

    def blocks(self) -> list[nn.Module]:
        """Its layers, by what transformers says of the network for such purposes."""
        names = set(getattr(self.body, "_no_split_modules", None) or ())
        return [module for module in self.body.modules() if type(module).__name__ in names]

    def differentiable_twice(self) -> None:
        """Computes from now on in such a way that gradients of gradients can be taken."""

    def train(self, mode: bool = True) -> Pretrained:
        super().train(mode)
        self.body.eval()
        return self

    def _load_from_state_dict(
        self, state: Mapping[str, Tensor], prefix: str, metadata: Any, strict: bool, *lists: Any
    ) -> None:
        # Before the values are copied: a state of other weights must not overwrite the digest that exposes
        # it.
        saved = state.get(f"{prefix}digest")
        own = getattr(self, "digest", None)
        if saved is not None and own is not None and not torch.equal(saved.cpu(), own.cpu()):
            raise RequestError(
                f"model.path: the weights at {self.path} are not those that this run was trained on; "
                "give the same model"
            )
        super()._load_from_state_dict(state, prefix, metadata, strict, *lists)


class FrozenFeatures(Preprocess):
    """Turns raw examples into features (n, feature_dim) by a frozen encoder, once for each content.

    They are kept under the fingerprint and the examples' content, so that a second command over the same
    data need not load the encoder.

    Attributes:
        device: where features are computed; the results are on the CPU.
        cached: keeps arrays on disk.
        batch_size: examples in one call of the encoder.
        encoder: what computes them.
        before: makes the encoder's inputs.
    """

    device: torch.device = torch.device("cpu")
    cached: Cached
    batch_size: int
    _sample: Any = None

    @property
    @abstractmethod
    def encoder(self) -> Pretrained: ...

    @property
    @abstractmethod
    def before(self) -> Preprocess: ...

    @abstractmethod
    def computed(self, examples: Any) -> Tensor:
        """Features (n, feature_dim) float32 of n raw examples, by the encoder."""

    def raw_inputs(self) -> Inputs | None:
        """What the encoder reads of a few of the examples that were given; None where none were."""
        if self._sample is None:
            return None
        inputs = (self.before.texts if self.reads_text else self.before.images)(self._sample)
        return map_inputs(lambda t: t.to(self.device), inputs)

    def features(self, examples: Any, content: Iterable[Part]) -> Tensor:
        """The features, kept under the content's digest."""
        if self._sample is None or len(self._sample) < len(examples[:AT_ONCE]):
            self._sample = examples[:AT_ONCE]  # of the largest set: the names of classes are read here too
        if len(examples) < WORTH_KEEPING:
            return self.computed(examples)
        name = f"features-{digest([*content, self.fingerprint], 24)}"
        arrays = self.cached(name, lambda: {"features": self.computed(examples).numpy()})
        return torch.from_numpy(arrays["features"])

    def vectors(self, values: Tensor) -> Inputs:
        raise ValueError("model: it does not read tables; choose one that does (model=mlp)")


@final
class WithEncoder(nn.Module):
    """A predictor over features together with the frozen encoder that made them: what an answer takes.

    Args:
        predictor: features (n, feature_dim) -> (n, n_outputs).
    """

    def __init__(self, encoder: Pretrained, predictor: nn.Module) -> None:
        super().__init__()
        self.encoder, self.predictor = encoder, predictor

    def forward(self, inputs: Inputs) -> Tensor:
        outputs: Tensor = self.predictor(self.encoder(inputs))
        return outputs


@final
class Features(Encoder):
    """Passes on features (n, feature_dim) of a frozen encoder; it has nothing to learn.

    Args:
        input_shape: (feature_dim,).
        path: of the frozen encoder, which the preprocess loads.
        preprocess: what made the features.
        normalise: scale every one to length 1.

    Raises:
        ValueError: where inputs are not features.
    """

    def __init__(
        self, input_shape: InputShape, *, path: ModelPath, preprocess: FrozenFeatures, normalise: bool
    ) -> None:
        super().__init__()
        if not isinstance(input_shape, tuple) or len(input_shape) != 1:
            raise ValueError(
                "model: it reads features of a frozen encoder, this data set gives raw inputs; "
                "choose a data set of raw text or images, or another model"
            )
        self.path, self.reads, self.normalise = path, preprocess.fingerprint, normalise
        (self.feature_dim,) = input_shape

    def forward(self, inputs: Inputs) -> Tensor:
        assert isinstance(inputs, Tensor)
        return F.normalize(inputs, dim=-1) if self.normalise else inputs


BatchSize = Annotated[int, Ge(1)]
