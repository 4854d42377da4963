"""A bundle as a model of MLflow answers what the bundle answers, and holds no pickle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from coldstart_cli.bundles.bundle import Bundle
from coldstart_cli.errors import RequestError
from tests.kit.adapted import SMALL, call

pytest.importorskip("mlflow", reason="needs the extra mlflow")
pandas = pytest.importorskip("pandas")
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
)


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torch_settings: None) -> Path:
    """A bundle `b` of a table, in the working folder."""
    monkeypatch.chdir(tmp_path)
    g = np.random.default_rng(0)
    lines = [f"{g.normal(3 * (i % 2)):.3f},{g.normal():.3f},{'xy'[i % 2]}" for i in range(16)]
    Path("t.csv").write_text("\n".join(["a,b,label", *lines]) + "\n")
    return tmp_path


def test_mlflow_answers_what_the_bundle_answers(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import mlflow.pyfunc

    data = ("dataset=tabular", "dataset.root=t.csv", "bundle=b", "strategy=logistic", "model=features")
    assert call(capsys, "adapt", "hardware=cpu", "hardware.threads=1", *data)[0] == 0
    code, out, err = call(capsys, "export", "bundle=b", "format=mlflow", "file=m")
    assert code == 0, err
    assert "m: a model of MLflow, without a pickle" in out and "its 16 answers" in out
    assert not [*Path("m").rglob("*.pkl")] and Path("m/data/b/card.json").is_file()
    frame = pandas.read_csv("t.csv").drop(columns="label")
    model, own = mlflow.pyfunc.load_model("m"), Bundle.load("b").predict(frame)
    found = model.predict(frame, params=None)
    assert found["label"].tolist() == own.labels and own.probabilities is not None
    assert found["probability"].tolist() == pytest.approx(own.probabilities.max(1).values.tolist(), abs=1e-6)
    inner = model.unwrap_python_model() if hasattr(model, "python_model") else model._model_impl
    more = inner.predict(frame, {"top_k": 2, "probabilities": True, "threshold": 1.0})
    assert list(more) == ["label", "probability", "label_2", "probability_2", "p(x)", "p(y)"]
    assert more["label"].isna().all()
    with pytest.raises(RequestError, match=r"^params: top is none; choose from threshold"):
        inner.predict(frame, {"top": 2})
    code, _, err = call(capsys, "export", "bundle=b", "format=mlflow", "file=m")
    assert code == 2 and err.startswith("file: m is already there")
    code, _, err = call(capsys, "export", "bundle=b", "format=mlflow", "file=no/m")
    assert code == 2 and err.startswith("file: no is no folder")


def test_arrays_go_through_mlflow_as_they_are(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    g = np.random.default_rng(0)
    np.savez("p.npz", x=g.normal(size=(8, 4)).astype(np.float32), y=g.normal(size=8))
    words = ("strategy=scratch", "dataset=arrays", "dataset.root=p.npz", "dataset.target=real", "bundle=r")
    code, _, err = call(capsys, "adapt", *SMALL, *words)
    assert code == 0, err
    code, out, err = call(capsys, "export", "bundle=r", "format=mlflow", "file=m")
    assert code == 0 and "its 8 answers" in out, err
