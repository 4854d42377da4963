"""The inputs that an exported program is compared on with the bundle."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

from torch import Tensor

from coldstart_cli.bundles.bundle import Bundle
from coldstart_cli.bundles.evaluating.labelled_input import rows_by
from coldstart_cli.bundles.exporting.exporting import Probe, reads
from coldstart_cli.core.tasks import Inputs, joined, map_inputs, n_examples
from coldstart_cli.datasets.own.folders import below
from coldstart_cli.datasets.own.labelled import Labelled
from coldstart_cli.datasets.own.layouts import read_labelled, read_raw
from coldstart_cli.datasets.own.stated_splits import parted
from coldstart_cli.datasets.readers.npz import Archive
from coldstart_cli.datasets.readers.problems import Problems
from coldstart_cli.errors import RequestError
from coldstart_cli.models.preprocess import Preprocess
from coldstart_cli.models.pretrained.text import Tokens

PROBE = 16
"""Inputs that an export is compared on."""


def probes(bundle: Bundle, path: str | None) -> list[Probe]:
    """The first inputs of a file, or of what the bundle was adapted to; of texts also some that are too long.

    Raises:
        RequestError: where neither can be read.
    """
    first = _given(bundle, path)
    long = _long(bundle, first)
    return [first] if long is None else [first, long]


def raw_probe(bundle: Bundle, path: str | None) -> Any:
    """The first inputs of a file as they are, as `Bundle.predict` takes them; else of what it learned from.

    Raises:
        RequestError: where there are none.
    """
    path = bundle.card.data.root if path is None else path
    if path is None or not Path(path).exists():
        raise RequestError("input: nothing is there for the check of the export; name a file (input=PATH)")
    recipe = bundle.card.build.recipe
    if recipe["layout"] == "arrays":
        with Archive(Path(path)) as archive:
            key = str(recipe["x_key"])
            return archive.numbers(key, archive.header(key, "x_key")[1])[:PROBE]
    if recipe["layout"] == "image_folder":
        return [str(image.path) for image in islice(below(Path(path)), PROBE)]
    return [dict(row) for _, row in islice(rows_by(recipe, path), PROBE)]


def _long(bundle: Bundle, first: Probe) -> Probe | None:
    """The first texts said over and over, so that they are cut; None where no texts are read.

    A program is traced with the length of its first inputs, and could have taken it for the length of all.
    """
    tokens = reads(bundle)
    if not isinstance(tokens, Tokens) or isinstance(first.inputs, Tensor):
        return None
    rows = first.inputs["input_ids"][:2]
    texts = [tokens.tokenizer.decode(row, skip_special_tokens=True) or "a" for row in rows]
    texts = [" ".join([text] * (tokens.max_length // len(text.split()) + 1)) for text in texts]
    return Probe(tokens.texts(texts), bundle.preprocess.texts(texts))


def _given(bundle: Bundle, path: str | None) -> Probe:
    """At least two inputs."""
    both = []
    for preprocess in (reads(bundle), bundle.preprocess):
        inputs = _support(bundle, preprocess) if path is None else _first(bundle, preprocess, path)
        few = map_inputs(lambda t: t[:PROBE], inputs)
        both.append(joined(few, few) if n_examples(few) < 2 else few)
    return Probe(*both)


def _first(bundle: Bundle, preprocess: Preprocess, path: str) -> Inputs:
    recipe, problems = bundle.card.build.recipe, Problems("stop")
    raw = next(read_raw(recipe, preprocess, path, problems=problems, chunk=PROBE), None)
    if raw is None:
        raise RequestError(f"input: {path} has no example; name one that has")
    return raw.inputs


def _support(bundle: Bundle, preprocess: Preprocess) -> Inputs:
    """The examples that the bundle was adapted to, where they lie as they lay.

    Raises:
        RequestError: where they are not there, or are others now.
    """
    known, recipe = bundle.card.data, bundle.card.build.recipe
    root, remedy = known.root, "name some for the check of the export (input=PATH)"
    if root is None or not Path(root).exists():
        where = "the bundle was adapted without labelled examples" if root is None else root
        raise RequestError(f"input: what the bundle was adapted to is not there ({where}); {remedy}")

    def read(preprocess: Preprocess) -> Labelled:
        whole = read_labelled(recipe, preprocess, root, unlabelled=None, on_bad=known.on_bad)
        return parted(whole).learned

    own = read(bundle.preprocess)
    if own.fingerprint != known.hash:
        raise RequestError(f"input: {root} holds other examples than the bundle was adapted to; {remedy}")
    return own.inputs if preprocess is bundle.preprocess else read(preprocess).inputs
