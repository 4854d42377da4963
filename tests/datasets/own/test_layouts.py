"""Layouts by the name that a recipe says: what a recipe asks, and labelled and raw examples of each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from coldstart_cli.datasets.own import layouts
from coldstart_cli.datasets.own.raw import Recipe
from coldstart_cli.datasets.readers.problems import Problems
from coldstart_cli.errors import RequestError
from coldstart_cli.models.preprocess import Plain, Preprocess

Settings = Callable[[str], dict[str, Any]]


def files(layout: str, folder: Path) -> Path:
    """Two examples of each of the classes a and b."""
    if layout == "arrays":
        np.savez(folder / "d.npz", x=np.arange(8.0).reshape(4, 2), y=list("aabb"))
        return folder / "d.npz"
    if layout == "image_folder":
        for i, name in enumerate("aabb"):
            (folder / "images" / name).mkdir(parents=True, exist_ok=True)
            pixels = np.full((8, 8), 60 * i, dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "images" / name / f"{i}.png")
        return folder / "images"
    column, cells = ("x", "1234") if layout == "tabular" else ("text", ["hi you", "hi me", "so", "so so"])
    rows = [f"{cell},{name}" for cell, name in zip(cells, "aabb", strict=True)]
    (folder / "d.csv").write_text("\n".join([f"{column},label", *rows]) + "\n")
    return folder / "d.csv"


@pytest.mark.parametrize("layout", layouts.LAYOUTS)
def test_raw_examples_are_read_as_the_labelled_ones_were(
    layout: str, tmp_path: Path, settings: Settings, bag: Preprocess, own_cache: Path
) -> None:
    preprocess = bag if layout == "text" else Plain()
    recipe = layouts.fresh_recipe(layout, settings(layout))
    root = str(files(layout, tmp_path))
    labelled = layouts.read_labelled(recipe, preprocess, root, unlabelled=None, on_bad="stop")
    assert labelled.classes == ("a", "b") and labelled.targets.tolist() == [0, 0, 1, 1]
    assert labelled.recipe["layout"] == layout
    parts = list(layouts.read_raw(labelled.recipe, preprocess, root, problems=Problems("stop"), chunk=3))
    assert [len(part) for part in parts] == [3, 1]
    of = (lambda inputs: inputs["counts"]) if layout == "text" else (lambda inputs: inputs)
    assert torch.equal(torch.cat([of(part.inputs) for part in parts]), of(labelled.inputs))

    task = layouts.without_labels(labelled.recipe, preprocess, root, classes=["x", "y", "z"], on_bad="stop")
    assert len(task) == 0 and task.objective.n_outputs == 3 and task.classes == ("x", "y", "z")
    assert torch.equal(of(task.unlabelled), of(labelled.inputs))


def test_values_in_memory_are_read_as_files(tmp_path: Path, settings: Settings) -> None:
    root = str(files("tabular", tmp_path))
    recipe = layouts.fresh_recipe("tabular", settings("tabular"))
    labelled = layouts.read_labelled(recipe, Plain(), root, unlabelled=None, on_bad="stop")
    (raw,) = layouts.raw_values(labelled.recipe, Plain(), [{"x": 1}, {"x": 4}], chunk=8)
    assert torch.equal(raw.inputs, labelled.inputs[[0, 3]])  # type: ignore[index, arg-type]
    with pytest.raises(RequestError, match="input row 1: "):
        list(layouts.raw_values(labelled.recipe, Plain(), [{"x": 1}, {"x": "word"}], chunk=8))


def test_a_recipe_asks_what_its_layout_knows(settings: Settings) -> None:
    node = settings("tabular")
    fresh = layouts.fresh_recipe("tabular", {**node, "label_column": "kind"})
    assert fresh["layout"] == "tabular" and fresh["label_column"] == "kind" and fresh["columns"] is None
    assert "n_way" not in fresh and "root" not in fresh


def test_new_files_say_where_they_hold_what_and_the_run_what_it_learned(settings: Settings) -> None:
    node = settings("tabular")
    columns = [{"name": "x", "kind": "number", "mean": 1.0, "deviation": 2.0}]
    known: Recipe = {**layouts.fresh_recipe("tabular", node), "columns": columns, "ignore": ["id"]}
    new = layouts.recipe_like(known, "tabular", {**node, "label_column": "kind", "ignore": []})
    assert new["columns"] == columns and new["ignore"] == ["id"] and new["label_column"] == "kind"
    fresh = layouts.fresh_recipe("text", settings("text"))
    assert layouts.recipe_like(known, "text", settings("text")) == fresh  # another layout says nothing
    assert layouts.recipe_like(None, "text", settings("text")) == fresh
    earlier = {key: value for key, value in known.items() if key != "decimal"}
    assert layouts.recipe_like(earlier, "tabular", node)["decimal"] == "point"


def test_another_name_is_no_layout() -> None:
    with pytest.raises(RequestError, match=r"^recipe: tabula is not a layout; did you mean tabular"):
        layouts.read_raw({"layout": "tabula"}, Plain(), "x", problems=Problems("stop"), chunk=1)


def test_no_example_at_all_is_refused(tmp_path: Path, settings: Settings, bag: Preprocess) -> None:
    (tmp_path / "d.csv").write_text("text,label\n,a\n")
    recipe = layouts.fresh_recipe("text", settings("text"))
    with (
        pytest.warns(RuntimeWarning, match="left out"),
        pytest.raises(RequestError, match=r"^dataset.unlabelled: no example of .* can be read"),
    ):
        layouts.without_labels(recipe, bag, str(tmp_path / "d.csv"), classes=["a"], on_bad="skip")
