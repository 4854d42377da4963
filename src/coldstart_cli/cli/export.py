"""`coldstart export`: a bundle as pt2 or onnx, checked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from coldstart_cli.bundles import exporting
from coldstart_cli.bundles.bundle import Bundle
from coldstart_cli.cli.arguments import check_there, choice, parsed
from coldstart_cli.core.tasks import Inputs, joined, map_inputs, n_examples
from coldstart_cli.datasets.own.labelled import Labelled
from coldstart_cli.datasets.own.layouts import read_labelled, read_raw
from coldstart_cli.datasets.readers.problems import Problems
from coldstart_cli.errors import RequestError
from coldstart_cli.models.preprocess import Preprocess

PROBE = 16
"""Inputs that an export is compared on."""


def run_export(arguments: Sequence[str]) -> int:
    """`coldstart export bundle=DIR format=pt2|onnx|peft [input=PATH] [file=FILE]`.

    Raises:
        RequestError: for what cannot be exported.
        JobError: where the exported program answers otherwise.
    """
    values, _ = parsed("export", arguments, ("bundle", "format", "input", "file"), (), needed=("bundle",))
    form = choice("format", values.get("format", "pt2"), get_args(exporting.Format))
    bundle = Bundle.load(values["bundle"])
    file = Path(values.get("file", str(Path(values["bundle"]).with_suffix(f".{form}"))))
    if form == "peft":
        n = exporting.export_peft(bundle, file)
        print(f"{file}: peft, {n:,} low-rank weights of {bundle.card.build.model['path']}")
        return 0
    if "input" in values:
        check_there(values["input"])
    probe = _probe(bundle, values.get("input"))
    worst = exporting.export(bundle, file, form, probe)
    print(f"{file}: {form}, {file.stat().st_size:,} bytes, any batch size")
    print(f"largest difference from predict on {n_examples(probe.own)} inputs: {worst:.2g}")
    tokenizer = exporting.copy_tokenizer(bundle, file)
    if tokenizer is not None:
        print(f"{tokenizer}: what makes its token ids of texts")
    return 0


def _probe(bundle: Bundle, path: str | None) -> exporting.Probe:
    """The first inputs of a file, or of what the bundle was adapted to; at least two.

    Raises:
        RequestError: where neither can be read.
    """
    both = []
    for preprocess in (exporting.reads(bundle), bundle.preprocess):
        inputs = _support(bundle, preprocess) if path is None else _first(bundle, preprocess, path)
        probe = map_inputs(lambda t: t[:PROBE], inputs)
        both.append(joined(probe, probe) if n_examples(probe) < 2 else probe)
    return exporting.Probe(*both)


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
        raise RequestError(f"input: what the bundle was adapted to is not there ({root}); {remedy}")

    def read(preprocess: Preprocess) -> Labelled:
        return read_labelled(recipe, preprocess, root, unlabelled=None, on_bad=known.on_bad)

    own = read(bundle.preprocess)
    if own.fingerprint != known.hash:
        raise RequestError(f"input: {root} holds other examples than the bundle was adapted to; {remedy}")
    return own.inputs if preprocess is bundle.preprocess else read(preprocess).inputs
