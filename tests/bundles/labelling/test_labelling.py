"""A pool becomes a table to fill in: what it holds, what it leaves out, what it refuses."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from coldstart_cli.bundles.labelling.labelling import TYPICAL, UNCERTAIN, LabelNextPlan, proposed
from coldstart_cli.bundles.requests import label_next
from coldstart_cli.errors import RequestError
from tests.kit.adapted import adapt, call
from tests.kit.places import REPOSITORY

EARLIER = REPOSITORY / "tests" / "data" / "flat_layout" / "bundle"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torch_settings: None) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("coldstart_cli.experiment.parts._sources", {})  # kept by relative path


def plan(**changes: Any) -> LabelNextPlan:
    values = {
        "input": "pool.csv", "n": 4, "bundle": str(EARLIER), "labelled": None, "output": "out.csv", "seed": 0,
        "on_bad": "stop", **changes,
    }  # fmt: skip
    return LabelNextPlan(**values)


def pool(n: int = 30, path: str = "pool.csv") -> list[list[str]]:
    generator = np.random.default_rng(0)
    rows = [[f"{a:.3f}", f"{b:.3f}", str(i)] for i, (a, b) in enumerate(generator.normal(4, 4, (n, 2)))]
    Path(path).write_text("\n".join(",".join(row) for row in [["a", "b", "id"], *rows]) + "\n")
    return rows


def written(path: str = "out.csv") -> list[list[str]]:
    return list(csv.reader(Path(path).read_text().splitlines()))


def test_with_a_bundle_the_unsure_rows_are_proposed_with_their_columns() -> None:
    rows = pool()
    found = proposed(plan(), None)
    head, *taken = written()
    assert head == ["a", "b", "id", "label"] and all([*row[:3]] in rows and row[3] == "" for row in taken)
    assert (found.by, found.proposed, found.pool, found.label_column) == (UNCERTAIN, 4, 30, "label")
    assert "labelled=table.csv" in found.said[0]


def test_what_repeats_or_has_a_label_is_never_proposed() -> None:
    rows = pool()
    Path("pool.csv").write_text(
        "a,b,id,label\n"
        + "".join(f"{','.join(row)},{'x' if i < 5 else ''}\n" for i, row in enumerate(rows))
        + f"{rows[0][0]},{rows[0][1]},again,\n{rows[9][0]},{rows[9][1]},again,\n"
    )
    Path("done.csv").write_text(f"a,b,id,label\n{','.join(rows[20])},y\n")
    found = proposed(plan(n=99, labelled="done.csv"), None)
    assert (found.pool, found.labelled, found.repeated, found.proposed) == (32, 7, 1, 24)
    ids = {row[2] for row in written()[1:]}
    assert (
        ids == {str(i) for i in range(5, 30) if i != 20}
        and "99 are asked for, 24 different rows" in found.said[0]
    )
    with pytest.raises(RequestError, match="has a label already"):
        proposed(plan(labelled="pool.csv", output="other.csv"), None)


def test_a_table_needs_neither_bundle_nor_labels() -> None:
    pool()
    words = ["input=pool.csv", "dataset=tabular", "dataset.ignore=[id]", "n=5", "hardware=cpu"]
    found = label_next(words, [])
    assert (found.by, found.output, found.layout) == (TYPICAL, "to_label.csv", "tabular")
    assert len(written("to_label.csv")) == 6
    again = label_next([*words, "output=b.csv"], [])
    assert again.proposed == 5 and written("b.csv") == written("to_label.csv")
    with pytest.raises(RequestError, match=r"^output: b\.csv is already there"):
        label_next([*words, "output=b.csv"], [])


def test_few_labels_that_are_named_leave_room_for_typical_rows(capsys: pytest.CaptureFixture[str]) -> None:
    pool()
    Path("done.csv").write_text("a,b,id,label\n1,2,p,x\n8,9,q,y\n")
    code, _, err = adapt(
        capsys, "dataset=tabular", "dataset.root=done.csv", "dataset.ignore=[id]", "model=features"
    )
    assert code == 0, err
    assert proposed(plan(bundle="b", labelled="done.csv"), None).by == TYPICAL
    found = proposed(plan(bundle="b", output="c.csv"), None)  # the file that it has learned from is known
    assert found.by == TYPICAL and found.said == ()
    Path("done.csv").unlink()
    found = proposed(plan(bundle="b", output="d.csv"), None)
    assert found.by == UNCERTAIN and "labelled=done.csv leaves them out" in found.said[0]


@pytest.mark.filterwarnings("default::RuntimeWarning")  # which the command prints
def test_what_is_filled_in_goes_on_by_the_command_that_is_printed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    pool()
    words = [
        "input=pool.csv",
        "dataset=tabular",
        "dataset.ignore=[id]",
        "n=8",
        "hardware=cpu",
        "output=o 1.csv",
    ]
    found = label_next(words, [])
    assert found.go_on == (
        "choose", "dataset=tabular", "dataset.labelled=[o 1.csv]", "dataset.ignore=[id]", "bundle=DIR",
    )  # fmt: skip
    fill("o 1.csv", left=2)
    asked = (*found.go_on[1:-1], "strategy=logistic", "hardware=cpu", "bundle=b")
    code, out, err = call(capsys, "adapt", *asked)
    assert code == 0 and "6 examples" in out and err.startswith("o 1.csv: 2 of 8 rows have no label"), err
    assert "note: o 1.csv: 2 of 8 rows have no label yet and are left out; fill in label\n" in out
    again = proposed(plan(bundle="b", output="second.csv"), None)
    assert again.labelled == 8 and again.go_on == (
        "adapt", "dataset=tabular", "dataset.labelled=[o 1.csv,second.csv]", *found.go_on[3:-1], "bundle=b",
    )  # fmt: skip
    fill("second.csv", left=0)
    code, out, err = call(capsys, *again.go_on, "hardware=cpu")
    assert code == 0 and "version 2, since version 1 (bundle=b/versions/1): 4 examples added" in out, err
    assert not {row[2] for row in written("second.csv")[1:]} & {row[2] for row in written("o 1.csv")[1:]}


def fill(path: str, left: int) -> None:
    """Labels, of which the last so many stay empty."""
    head, *rows = written(path)
    label = head.index("label")
    for i, row in enumerate(rows[: len(rows) - left]):
        row[label] = "xy"[i % 2]
    Path(path).write_text("\n".join(map(",".join, [head, *rows])) + "\n")


def test_images_are_proposed_by_their_files() -> None:
    generator = np.random.default_rng(0)
    Path("images").mkdir()
    for i in range(6):
        Image.fromarray(generator.integers(0, 255, (16, 16), dtype=np.uint8)).save(f"images/{i}.png")
    with pytest.raises(RequestError, match=r"^model: none is named that sees what images show"):
        label_next(["input=images", "n=2"], [])
    found = label_next(["input=images", "n=2", "model=conv4", "hardware=cpu"], [])
    head, *rows = written("to_label.csv")
    assert head == ["file", "label"] and all(Path(row[0]).is_file() for row in rows) and len(rows) == 2
    assert "its weights are random" in found.said[0]


def test_images_that_a_list_names_are_proposed_and_read_back_with_their_labels(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("images").mkdir()
    for i in (0, 2, 5):
        Image.new("L", (16, 16), 40 * i).save(f"images/{i}.png")
    Path("images/pool.csv").write_text("file\n0.png\n2.png\n5.png\n")
    asked = ["dataset=image_folder", "model=conv4", "hardware=cpu"]
    found = label_next([*asked, "input=images/pool.csv", "n=3"], [])
    _, *rows = written("to_label.csv")
    assert found.pool == 3 and {row[0] for row in rows} == {"images/0.png", "images/2.png", "images/5.png"}
    filled = [f"{file},{'dark' if i % 2 else 'light'}" for i, (file, _) in enumerate(rows)]
    Path("to_label.csv").write_text("\n".join(["file,label", *filled]) + "\n")
    settings = ("strategy=nearest_centroid", "untrained=true", "dataset.root=to_label.csv", "bundle=b")
    code, out, err = call(capsys, "adapt", *asked, *settings)
    assert code == 0, err
    assert "2 classes, 3 examples" in out
    code, out, err = call(capsys, "evaluate", "bundle=b", "input=to_label.csv", "label_column=label")
    assert code == 0 and "b on to_label.csv: 3 rows of 2 classes" in out, err


def test_what_cannot_be_read_is_refused_in_a_line() -> None:
    pool()
    np.savez("x.npz", x=np.zeros((3, 2)))
    for words, said in (
        (
            ["input=x.npz", "dataset=arrays", "dataset.root=x.npz"],
            "dataset: label-next reads a pool",
        ),
        (["input=pool.csv", f"bundle={EARLIER}", "model=mlp"], "model: the bundle says"),
        (["input=pool.csv", f"bundle={EARLIER}", "output=x.txt"], "output: x.txt will hold CSV"),
        (["input=pool.csv", f"bundle={EARLIER}", "n=0"], "label_next.n: 0 is out of range"),
        (["n=3"], "input: no pool is named"),
    ):
        with pytest.raises(RequestError) as error:
            label_next(words, [])
        assert str(error.value).startswith(said)
