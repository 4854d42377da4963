"""`Bundle.predict` and `coldstart predict` say the same of the same raw inputs."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from coldstart_cli.bundles.bundle import Bundle, Prediction
from coldstart_cli.bundles.predicting.predicting import Asked, predict, rows, write
from coldstart_cli.cli import main
from coldstart_cli.errors import RequestError
from tests.kit.adapted import made
from tests.kit.places import REPOSITORY

EARLIER = REPOSITORY / "tests" / "data" / "flat_layout" / "bundle"
Command = Callable[..., list[dict[str, Any]]]
FAR = pytest.mark.filterwarnings("ignore:input. .* lie far outside what the network:RuntimeWarning")
"""Rows of any size are asked about, also those that `predict` finds odd, which has a test of its own."""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torch_settings: None) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("coldstart_cli.experiment.parts._sources", {})  # kept by relative path


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """The rows that `coldstart predict --json` prints."""

    def call(path: str, bundle: str = "bundle") -> list[dict[str, Any]]:
        capsys.readouterr()
        code = main(["predict", f"bundle={bundle}", f"input={path}", "--json"])
        out, err = capsys.readouterr()
        assert code == 0, err
        return [json.loads(line) for line in out.splitlines()]

    return call


def told(prediction: Prediction) -> list[dict[str, Any]]:
    """The same rows, without the place of each input."""
    n = len(prediction.labels) if prediction.values is None else len(prediction.values)
    return [dict(list(row.items())[1:]) for row in rows([""] * n, prediction)]


def without_places(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "input"} for row in found]


def test_a_table_is_read_by_the_bundles_recipe_however_it_comes(command: Command) -> None:
    shutil.copytree(EARLIER, "bundle")
    Path("two.csv").write_text("b,a\n2,1\n-3,9\n")
    expected = without_places(command("two.csv"))
    assert [(row["label"], round(row["probability"], 3)) for row in expected] == [("x", 0.974), ("y", 0.958)]
    bundle = Bundle.load("bundle")
    for raw in (
        [{"a": 1, "b": 2}, {"b": -3.0, "a": "9", "extra": None}],
        [[1, 2], (9, -3)],
        [np.array([1, 2]), np.array([9, -3])],
        np.array([[1, 2], [9, -3]]),
        np.array([["1", "2"], ["9", "-3"]]),
        torch.tensor([[1, 2], [9, -3]]),
        ({"a": a, "b": np.int64(b)} for a, b in ((1, 2), (9, -3))),
    ):
        assert told(bundle.predict(raw)) == expected
    assert bundle.predict([[1, 2]], threshold=0.99).labels == [None]
    nothing = bundle.predict([])
    assert (
        nothing.labels == [] and nothing.probabilities is not None and nothing.probabilities.shape == (0, 2)
    )


def test_a_frame_is_read_by_the_names_of_its_columns() -> None:
    pandas = pytest.importorskip("pandas")
    bundle = Bundle.load(EARLIER)
    frame = pandas.DataFrame({"b": [2, -3, None], "more": ["u", "v", "w"], "a": [1, 9, 4]})
    with pytest.warns(RuntimeWarning, match=r"1 values are missing in columns .* \(b 1\)"):
        expected = told(bundle.predict([[1, 2], [9, -3], [4, None]]))
    for same in (frame, frame.astype({"b": "Int64"})):  # the latter has pandas' own missing value
        with pytest.warns(RuntimeWarning, match=r"\(b 1\)"):
            assert told(bundle.predict(same)) == expected


def test_a_frame_of_polars_is_known_by_its_method() -> None:
    class Frame(list[object]):
        def to_dicts(self) -> list[dict[str, int]]:
            return [{"b": 2, "a": 1}]

    assert Bundle.load(EARLIER).predict(Frame()).labels == ["x"]


TABLE = "size,colour,zone,label\n" + "".join(
    f"{'' if i == 5 else i + 20 * (i % 2)},{('red', 'blue', '')[i % 3]},{i % 4},{'xy'[i % 2]}\n"
    for i in range(24)
)
cells = st.fixed_dictionaries(
    {
        "size": st.none() | st.floats(-1e6, 1e6) | st.integers(-1000, 1000),
        "colour": st.sampled_from(["red", "blue", "", None]),
        "zone": st.sampled_from([0, 1, 2.0, "3", None]),
    }
).filter(lambda row: any(value not in ("", None) for value in row.values()))  # such a row is refused


@pytest.fixture
def table_bundle() -> Bundle:
    Path("table.csv").write_text(TABLE)
    return made(
        "dataset=tabular", "dataset.root=table.csv", "dataset.categories=[zone]", "dataset.keep=[zone]",
        "model=mlp",
        "model.hidden=[4]", "strategy=nearest_centroid",
    )  # fmt: skip


@FAR
def test_the_command_says_the_same_of_tables_with_categories_and_gaps(
    table_bundle: Bundle, command: Command
) -> None:
    @settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(cells, min_size=1, max_size=5))
    def check(table: list[dict[str, Any]]) -> None:
        with open("new.csv", "w", newline="") as file:
            writer = csv.DictWriter(file, ["zone", "size", "colour"])
            writer.writeheader()
            writer.writerows(table)
        assert told(table_bundle.predict(table)) == without_places(command("new.csv"))

    check()


@FAR
def test_many_rows_are_predicted_in_the_parts_of_the_command(table_bundle: Bundle, command: Command) -> None:
    table = [{"size": i, "colour": "red", "zone": i % 4} for i in range(600)]
    Path("new.csv").write_text("size,colour,zone\n" + "".join(f"{i},red,{i % 4}\n" for i in range(600)))
    assert told(table_bundle.predict(table)) == without_places(command("new.csv"))


def test_an_unknown_category_of_a_file_counts_as_missing_and_is_told(
    table_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("new.csv").write_text("size,colour,zone\n1,green,1\n2,green,9\n1,,1\n")
    capsys.readouterr()
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # as on the command line
        assert main(["predict", "bundle=bundle", "input=new.csv", "--json"]) == 0
    out, err = capsys.readouterr()
    assert err.startswith("new.csv: 2 values are of no known category") and err.count("\n") == 1
    assert "new.csv row 2: column colour is 'green', none of its categories; new.csv row 3" in err
    first, _, third = map(json.loads, out.splitlines())
    assert {**first, "input": ""} == {**third, "input": ""}


@pytest.mark.parametrize(
    ("raw", "line"),
    [
        ([{"size": 1, "colour": "red"}], "input: has no column 'zone' (dataset.columns[2])"),
        ([[1, "re", 1]], "input row 0: column colour is 're', none of its categories; did you mean red?"),
        ([[1, "red", 1], [1, "red", 7]], "input row 1: column zone is '7', none of its categories; known: 0"),
        ([[1, "red"]], "input row 0: has 2 values for 3 columns; give size, colour, zone in this order"),
        (np.zeros((2, 4)), "input row 0: has 4 values for 3 columns"),
        (np.zeros(3), "input: has shape (3,); give (n, 3)"),
        ([["large", "red", 1]], "input row 0: column size is 'large', no finite number; repair it"),
        ([[True, "red", 1]], "input row 0: column size is 'true', no finite number"),
        ([[float("inf"), "red", 1]], "input row 0: column size is 'inf', no finite number"),
        ([[[1], "red", 1]], "input row 0: column size is '[1]', no finite number"),
        ({"size": 1, "colour": "red", "zone": 1}, "input: one mapping is not a table"),
        ("table.csv", "input: 'table.csv' is not a list of rows"),
        ([1, 2, 3], "input row 0: 1 is not a row"),
        (7, "input: 7 is not a list of rows"),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_read_is_named_in_one_line(table_bundle: Bundle, raw: object, line: str) -> None:
    with pytest.raises(RequestError) as caught:
        table_bundle.predict(raw)
    said = str(caught.value)
    assert said.startswith(line) and "\n" not in said and ";" in said and "on_bad" not in said


def test_a_regression_answers_in_the_unit_of_its_target(command: Command) -> None:
    x = np.linspace(-1, 1, 12)
    Path("prices.csv").write_text("x,price\n" + "".join(f"{v:.6f},{1e6 + 5000 * v:.3f}\n" for v in x))
    bundle = made(
        "dataset=tabular", "dataset.root=prices.csv", "dataset.label_column=null",
        "dataset.target_column=price", "dataset.keep=[x]", "model=mlp", "model.hidden=[4]", "strategy=r2d2",
    )  # fmt: skip
    found = bundle.predict([[0.25], [-0.5]])
    assert found.values is not None and (found.values - 1e6).abs().max() < 1e5 and found.classes == ()
    Path("new.csv").write_text("x\n.25\n-.5\n")
    assert told(found) == without_places(command("new.csv"))


def test_texts_are_told_alike(tiny_bert: Path, command: Command) -> None:
    texts = [f"w{4 * c + i % 4} w{4 * c + (i + 1) % 4}{' w50' * i}" for c in range(3) for i in range(4)]
    Path("texts.csv").write_text(
        "text,label\n" + "".join(f"{text},{'abc'[i // 4]}\n" for i, text in enumerate(texts))
    )
    bundle = made("dataset=text", "dataset.root=texts.csv", "model=hf_text_frozen",
                  f"model.path={tiny_bert}", "strategy=nearest_centroid")  # fmt: skip
    Path("new.txt").write_text("\n".join(texts) + "\n")
    expected = without_places(command("new.txt"))
    for raw in (texts, np.array(texts), [{"text": text, "id": 1} for text in texts]):
        assert told(bundle.predict(raw)) == expected
    for wrong, line in (
        ("w1 w2", "input: 'w1 w2' is not a list of texts"),
        (["w1", 5], "input row 1: 5 is not a text; give a list of str"),
        (["w1", " "], "input row 1: it has no text; write one"),
        ([{"words": "w1"}], "input: has no column 'text' (dataset.text_column)"),
    ):
        with pytest.raises(RequestError) as caught:
            bundle.predict(wrong)
        assert str(caught.value).startswith(line)


@pytest.fixture
def pictures() -> list[Path]:
    g = np.random.default_rng(0)
    paths = []
    for name, grey in (("dark", 40), ("light", 200)):
        Path("pictures", name).mkdir(parents=True)
        for i in range(3):
            pixels = np.clip(g.normal(grey, 20, (20, 30, 3)), 0, 255).astype(np.uint8)
            paths.append(Path("pictures", name, f"{i}.png"))
            Image.fromarray(pixels).save(paths[-1])
    return paths


def test_images_are_told_alike(pictures: list[Path], command: Command) -> None:
    bundle = made(
        "dataset=image_folder", "dataset.root=pictures", "dataset.size=16", "model=conv4", "model.hidden=8",
        "strategy=nearest_centroid",
    )  # fmt: skip
    expected = without_places(command("pictures"))
    assert len({row["probability"] for row in expected}) == 6
    opened = [Image.open(path) for path in pictures]
    arrays = [np.asarray(image) for image in opened]
    for raw in (
        pictures,
        [str(path) for path in pictures],
        [path.read_bytes() for path in pictures],
        opened,
        arrays,
        np.stack(arrays),
    ):
        assert told(bundle.predict(raw)) == expected
    grey = bundle.predict(np.stack(arrays)[..., 0]), bundle.predict(np.stack(arrays)[..., :1])
    assert told(grey[0]) == told(grey[1]) and len(grey[0].labels) == 6
    for wrong, line in (
        ("pictures", "input: 'pictures' is not a list of images"),
        (["nothing.png"], "nothing.png: it is not a file; repair or remove it"),
        (
            np.zeros((2, 3, 8, 9), np.uint8),
            "input row 0: an image is uint8 of shape (3, 8, 9); give uint8",
        ),
        (np.zeros((2, 8, 8)), "input row 0: an image is float64 of shape (8, 8)"),
        ([7], "input row 0: 7 is not an image"),
    ):
        with pytest.raises(RequestError) as caught:
            bundle.predict(wrong)
        assert str(caught.value).startswith(line), caught.value


def test_an_image_in_memory_is_turned_as_its_exif_says_and_stays_as_it_is(pictures: list[Path]) -> None:
    bundle = made(
        "dataset=image_folder", "dataset.root=pictures", "dataset.size=16", "model=conv4", "model.hidden=8",
        "strategy=nearest_centroid",
    )  # fmt: skip
    pixels = np.zeros((20, 20, 3), np.uint8)
    pixels[:10] = 255
    turned = Image.Exif()
    turned[0x0112] = 6
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG", exif=turned)
    Path("turned.png").write_bytes(content.getvalue())
    with Image.open("turned.png") as image:
        expected = told(bundle.predict(["turned.png"]))
        assert told(bundle.predict([image])) == expected != told(bundle.predict([pixels]))
        assert (np.asarray(image) == pixels).all() and image.getexif()[0x0112] == 6


def test_arrays_are_told_alike(command: Command) -> None:
    g = np.random.default_rng(0)
    y = np.repeat(["a", "b"], 5)
    x = g.normal((y == "a")[:, None] * 3.0, 0.5, (10, 4))
    np.savez("points.npz", x=x, y=y)
    bundle = made("dataset=arrays", "dataset.root=points.npz", "model=mlp", "model.hidden=[4]",
                  "strategy=nearest_centroid")  # fmt: skip
    expected = without_places(command("points.npz"))
    for raw in (x, x.tolist(), x.astype(np.float32), torch.from_numpy(x), np.asfortranarray(x)):
        assert told(bundle.predict(raw)) == expected
    for wrong, line in (
        (np.zeros((2, 5)), "input: examples of x have shape (5,), the model reads (4,)"),
        (np.zeros((2, 3, 8, 8), np.uint8), "input: examples of x have shape (3, 8, 8) of uint8, the model"),
        ([[1.0, 2, 3, 4], [1.0]], "input: is not an array of numbers"),
        (np.full((2, 4), np.nan), "input row 0: x is not finite; repair it"),
        (np.full((1, 4), 1e300), "input row 0: x is not finite; repair it"),
        ([["a"] * 4], "input: x is <U1 of shape (1, 4); give numbers"),
    ):
        with pytest.raises(RequestError) as caught:
            bundle.predict(wrong)
        assert str(caught.value).startswith(line), caught.value


def test_labels_stand_in_csv_as_they_are_unless_a_spreadsheet_reads_it() -> None:
    row = {"input": "d row 2", "label": "-1", "probability": 0.5}
    written = []
    for spreadsheet in (False, True):
        out = io.StringIO()
        asked = Asked(form="csv", threshold=None, top_k=1, probabilities=False, keep=(), batch_size=1,
                      spreadsheet=spreadsheet)  # fmt: skip
        write(iter([dict(row)]), asked, out)
        written.append(out.getvalue().splitlines()[1])
    assert written == ["d row 2,-1,0.5", "d row 2,'-1,0.5"]


def test_standard_input_is_answered_line_by_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second row is written once the first is answered: waiting for a full batch would never end."""
    shutil.copytree(EARLIER, "bundle")
    read, write_end = os.pipe()
    told = io.StringIO()
    rest = [b"-3,9\n"]

    class Out(io.StringIO):
        def flush(self) -> None:
            if rest and self.getvalue():
                os.write(write_end, rest.pop())
                os.close(write_end)

    told = Out()
    os.write(write_end, b"b,a\n2,1\n")
    with os.fdopen(read) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        asked = Asked(form="text", threshold=None, top_k=1, probabilities=False, keep=(), batch_size=256,
                      spreadsheet=False)  # fmt: skip
        predict(Bundle.load("bundle"), "-", asked, told, on_bad="stop")
    assert [line.split("\t")[0] for line in told.getvalue().splitlines()] == ["x", "y"]


def test_an_input_that_holds_nothing_is_said_and_standard_input_is_not(
    monkeypatch: pytest.MonkeyPatch, torch_settings: None
) -> None:
    monkeypatch.setattr("coldstart_cli.bundles.bundle.read_raw", lambda *_, **__: iter(()))
    asked = Asked(
        form="text", threshold=0.0, top_k=1, probabilities=False, keep=(), batch_size=9, spreadsheet=False
    )
    bundle, out = Bundle.load(EARLIER), io.StringIO()
    with pytest.warns(RuntimeWarning, match=r"^empty\.txt: holds no input, so nothing was answered$"):
        predict(bundle, "empty.txt", asked, out, on_bad="stop")
    predict(bundle, "-", asked, out, on_bad="stop")
    assert out.getvalue() == ""
