"""`coldstart export`: a predictor in one file that other runtimes read, checked against `predict`."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from coldstart_cli.bundles import Bundle
from coldstart_cli.core import Inputs, map_inputs, n_examples
from coldstart_cli.errors import JobError, RequestError

TOLERANCE = 1e-4
"""Largest difference of any output, exported against own."""
Format = Literal["pt2", "onnx"]


def export(bundle: Bundle, path: Path, form: Format, probe: Inputs) -> float:
    """Writes the predictor with a dynamic batch size and returns the largest difference on `probe`.

    Args:
        probe: inputs (n, ...) as the module reads them, n >= 2.

    Raises:
        JobError: where the exported program answers otherwise; the file is removed.
        RequestError: where a package is missing.
    """
    flat = _Flat(bundle.module, probe)
    with torch.no_grad():
        expected = flat(*flat.split(probe)).float()
    run = _pt2(flat, path, probe) if form == "pt2" else _onnx(flat, path, probe)
    worst = 0.0
    for size in (n_examples(probe), 1):  # another batch size than the one it was traced with
        part = map_inputs(lambda t, size=size: t[:size], probe)  # type: ignore[misc]
        found = run(flat.split(part))
        worst = max(worst, float((found - expected[:size]).abs().max()))
    if not worst <= TOLERANCE:
        path.unlink(missing_ok=True)
        raise JobError(
            f"export: {form} differs from predict by {worst:.2g}, more than {TOLERANCE:g}; "
            "the file was removed"
        )
    return worst


class _Flat(nn.Module):
    """The predictor with its tensors as arguments, in the order of their names."""

    def __init__(self, module: nn.Module, like: Inputs) -> None:
        super().__init__()
        self.module = module
        self.names = None if isinstance(like, Tensor) else sorted(like)

    def split(self, inputs: Inputs) -> tuple[Tensor, ...]:
        return (inputs,) if isinstance(inputs, Tensor) else tuple(inputs[name] for name in self.names or ())

    def forward(self, *tensors: Tensor) -> Tensor:
        inputs: Inputs = tensors[0]
        if self.names is not None:
            inputs = dict(zip(self.names, tensors, strict=True))
        outputs: Tensor = self.module(inputs)
        return outputs


def _program(flat: _Flat, probe: Inputs) -> torch.export.ExportedProgram:
    from torch.export import Dim

    tensors = flat.split(probe)
    batch = {0: Dim("batch")}
    # Names, dtypes and sizes are those of the probe; only the number of examples is free.
    return torch.export.export(flat, tensors, dynamic_shapes=((batch,) * len(tensors),), strict=False)


def _pt2(flat: _Flat, path: Path, probe: Inputs) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(_program(flat, probe), path)
        loaded = torch.export.load(path).module()

    def run(tensors: tuple[Tensor, ...]) -> Tensor:
        with torch.no_grad():
            outputs: Tensor = loaded(*tensors)
        return outputs.float()

    return run


def _onnx(flat: _Flat, path: Path, probe: Inputs) -> Any:
    try:
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise RequestError(
            "format: onnx needs packages that are not installed; pip install 'coldstart-cli[onnx]'"
        ) from error
    names = flat.names or ["input"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own, of what it will do otherwise one day
        program = torch.onnx.export(
            _program(flat, probe), input_names=names, output_names=["outputs"], dynamo=True, verbose=False
        )
    assert program is not None
    program.save(str(path))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    asked = [entry.name for entry in session.get_inputs()]

    def run(tensors: tuple[Tensor, ...]) -> Tensor:
        feed: Mapping[str, Any] = dict(zip(asked, (t.numpy() for t in tensors), strict=True))
        return torch.from_numpy(session.run(None, feed)[0]).float()

    return run
