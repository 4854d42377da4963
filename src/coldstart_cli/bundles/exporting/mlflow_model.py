"""A bundle as a model of MLflow: written as values beside a loader that is ours, and asked with data frames.

MLflow's usual way keeps a pickle of a Python object, which runs when it is loaded. Here the model is the
bundle's folder, and the module that loads it is this one: whoever loads it has this package installed.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from coldstart_cli import __version__
from coldstart_cli.bundles.bundle import Bundle
from coldstart_cli.bundles.predicting.predicting import flat, further, rows
from coldstart_cli.errors import JobError, RequestError
from coldstart_cli.package import getting

OPTIONS = {"threshold": None, "top_k": 1, "probabilities": False}
"""Parameters of a call, as of `coldstart predict`."""


def export_mlflow(bundle: Bundle, folder: Path, raw: Any) -> int:
    """Writes a model of MLflow, loads it again, and compares its answers with the bundle's.

    Args:
        folder: a new one.
        raw: inputs for the comparison, as `Bundle.predict` takes them.

    Returns:
        How many answers were compared.

    Raises:
        RequestError: where MLflow is missing, or the folder is there already.
        JobError: where answers differ; the folder is then not there.
    """
    try:
        import mlflow.pyfunc
    except ImportError as error:
        raise RequestError(
            f"format: mlflow is not installed; {getting('mlflow')}, and pip install pandas (E50)"
        ) from error
    if folder.exists():
        raise RequestError(f"file: {folder} is already there; name a new folder")
    assert bundle.path is not None
    logging.getLogger("mlflow").setLevel(logging.ERROR)  # advice on signatures, which frames need none of
    with tempfile.TemporaryDirectory(dir=_parent(folder)) as place:
        made = Path(place, "model")
        mlflow.pyfunc.save_model(
            str(made),
            loader_module=__name__,
            data_path=str(bundle.path),
            pip_requirements=[f"coldstart-cli=={__version__}"],
            metadata={"strategy": bundle.card.strategy, "model": bundle.card.model},
        )
        theirs = mlflow.pyfunc.load_model(str(made)).predict(raw)
        ours = Model(bundle).predict(raw)
        if not theirs.equals(ours):
            raise JobError("export: mlflow answers otherwise than predict; nothing was written")
        made.rename(folder)
    return len(ours)


def _parent(folder: Path) -> Path:
    """
    Raises:
        RequestError: where there is no folder to write into.
    """
    if not folder.parent.is_dir():
        raise RequestError(f"file: {folder.parent} is no folder; make it, or name another")
    return folder.parent


class Model:
    """What MLflow asks: a data frame or list of inputs, answered with a data frame."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle

    def predict(self, model_input: Any, params: Mapping[str, Any] | None = None) -> Any:
        """A row for each input: label and probability, further labels, p(CLASS); or the value.

        Args:
            model_input: as `Bundle.predict` takes it.
            params: of `OPTIONS`.

        Raises:
            RequestError: for an input that cannot be read, or a parameter that is none.
        """
        import pandas

        unknown = [*(params or {}).keys() - OPTIONS.keys()]
        if unknown:
            raise RequestError(f"params: {unknown[0]} is none; choose from {', '.join(OPTIONS)}")
        asked = {**OPTIONS, **(params or {})}
        prediction = self.bundle.predict(model_input, threshold=asked["threshold"])
        n = len(prediction.labels) if prediction.values is None else len(prediction.values)
        found = []
        for i, row in enumerate(rows([""] * n, prediction)):
            more = further(prediction, i, asked["top_k"], probabilities=asked["probabilities"])
            found.append(flat({**{key: value for key, value in row.items() if key != "input"}, **more}))
        return pandas.DataFrame(found)


def _load_pyfunc(path: str) -> Model:
    """What MLflow calls: the bundle's folder in its model -> who answers."""
    return Model(Bundle.load(path))
