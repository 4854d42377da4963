"""`coldstart label-next`: which rows of a pool to label next, as a table with an empty column to fill in."""

from __future__ import annotations

import csv
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import yaml
from annotated_types import Ge
from numpy.typing import NDArray
from torch import Tensor, nn

from coldstart_cli.bundles.bundle import Bundle
from coldstart_cli.bundles.labelling import picking
from coldstart_cli.config.building import build
from coldstart_cli.core.tasks import Inputs, joined, map_inputs, n_examples
from coldstart_cli.datasets.episodes.functions import map_shapes
from coldstart_cli.datasets.own.folders import below
from coldstart_cli.datasets.own.image_folder import ImageRecipe, settled_for
from coldstart_cli.datasets.own.image_list import is_list
from coldstart_cli.datasets.own.layouts import fresh_recipe, read_raw
from coldstart_cli.datasets.own.raw import Raw, Recipe
from coldstart_cli.datasets.own.table_rows import TableRecipe
from coldstart_cli.datasets.own.tabular import with_columns
from coldstart_cli.datasets.readers.equality import essence, hashes_of
from coldstart_cli.datasets.readers.problems import OnBad, Problems
from coldstart_cli.datasets.readers.tables import MISSING
from coldstart_cli.errors import RequestError
from coldstart_cli.experiment.parts import encoder_for, reading_preprocess
from coldstart_cli.files.durable import text_file
from coldstart_cli.hardware import Hardware
from coldstart_cli.models.network import Encoder
from coldstart_cli.models.preprocess import Preprocess
from coldstart_cli.models.pretrained.features import Pretrained
from coldstart_cli.package import packaged_conf
from coldstart_cli.safe_text import printable

AT_ONCE = 256
_SETTLED = ("labelled", "size", "channels")
"""Keys of a recipe that say more than was asked: what a model reads of images."""
TYPICAL, UNCERTAIN = "typical", "uncertain"


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelNextPlan:
    """What `label-next` is asked for; see conf/label_next.yaml."""

    input: str | None
    n: Annotated[int, Ge(1)]
    bundle: str | None
    labelled: str | None
    output: str
    seed: Annotated[int, Ge(0)]
    on_bad: OnBad


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposed:
    """What was proposed, of what.

    Attributes:
        output: the file that was written.
        proposed: rows in it.
        by: `typical` or `uncertain`, beside diverse.
        pool: rows that were read.
        repeated, labelled: of them, those that repeat another one, exactly or nearly; and those that have a
            label already, or repeat a row that has one.
        layout: of the pool.
        label_column: to fill in.
        go_on: the command that goes on once it is filled in, as words; none where there is none.
        said: what else a reader should know.
    """

    output: str
    proposed: int
    by: str
    pool: int
    repeated: int
    labelled: int
    layout: str
    label_column: str
    go_on: tuple[str, ...]
    said: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Reader:
    """What reads examples and sees what is alike; the bundle, or None, is what has learned from labels."""

    recipe: Recipe
    preprocess: Preprocess
    encoder: nn.Module | None
    bundle: Bundle | None


@dataclass(frozen=True, slots=True)
class _Pool:
    """Examples, where each was read, its columns, what it is equal to, and whether it has a label."""

    inputs: Inputs
    places: Sequence[str]
    rows: Sequence[Mapping[str, Any]]
    keys: Sequence[object]
    has_label: NDArray[np.bool_]


def plan_of(values: Mapping[str, Any]) -> LabelNextPlan:
    """The values of conf/label_next.yaml, checked."""
    plan: LabelNextPlan = build(values, "label_next", LabelNextPlan, [], {})
    return plan


def proposed(plan: LabelNextPlan, config: Mapping[str, Any] | None) -> Proposed:
    """Reads the pool, takes `n` rows, and writes them.

    Args:
        config: data set and model, where no bundle says how the pool is read.

    Raises:
        RequestError: for what cannot be read, and where nothing is left to propose.
    """
    assert plan.input is not None
    output = Path(plan.output).expanduser()
    if output.exists():
        raise RequestError(f"output: {output} is already there; name a new file")
    if output.suffix.lower() != ".csv":
        raise RequestError(f"output: {output} will hold CSV; name it .csv")
    reader = _of_bundle(plan.bundle) if config is None else _of_config(config, plan.input)
    pool = _read(reader, plan.input, plan.on_bad)
    learned = [plan.labelled] if plan.labelled is not None else _learned_from(reader)
    learned += [] if config is None else config["dataset"].get("labelled", [])
    read = [_read(reader, path, plan.on_bad) for path in learned]
    known = None if not read else _both(read)
    seen = {key for key, own in zip(pool.keys, pool.has_label, strict=True) if own}
    seen |= set() if known is None else {*known.keys}
    first: dict[object, int] = {}
    for i, key in enumerate(pool.keys):
        first.setdefault(key, i)
    free = np.array([i for key, i in first.items() if key not in seen], dtype=np.int64)
    if not len(free):
        raise RequestError(f"input: every row of {plan.input} has a label already; name further ones")
    n_labelled = sum(key in seen for key in pool.keys)
    picked, by = _picked(reader, pool, known, free, plan)
    column = _label_column(reader.recipe)
    rows = [pool.rows[i] for i in picked]
    if not any(rows):
        rows = list(_files(reader.recipe, plan.input, [pool.places[i] for i in picked]))
    _write(output, rows, column)
    return Proposed(
        output=plan.output,
        proposed=len(picked),
        by=by,
        pool=len(pool.places),
        repeated=len(pool.places) - n_labelled - len(free),
        labelled=n_labelled,
        layout=str(reader.recipe["layout"]),
        label_column=column,
        go_on=_go_on(reader, plan, learned),
        said=_said(plan, reader, len(picked), learned),
    )


def _learned_from(reader: _Reader) -> list[str]:
    """The files that the bundle has learned from, where all of them are there and hold rows with labels."""
    if reader.bundle is None or reader.recipe["layout"] not in ("text", "tabular"):
        return []
    data = reader.bundle.card.data
    files = [*([] if data.root is None else [data.root]), *data.labelled]
    return files if all(Path(file).expanduser().exists() for file in files) else []


def _typed(value: object) -> str:
    """A value as one types it."""
    if isinstance(value, list | tuple):
        return f"[{','.join(map(str, value))}]"
    return value if isinstance(value, str) else json.dumps(value)


def _both(parts: Sequence[_Pool]) -> _Pool:
    """All rows of several places, whose inputs are compared by content alone."""
    first, *others = parts
    for more in others:
        inputs = joined(first.inputs, more.inputs)
        has_label = np.concatenate([first.has_label, more.has_label])
        places, rows = [*first.places, *more.places], [*first.rows, *more.rows]
        first = _Pool(inputs, places, rows, [*first.keys, *more.keys], has_label)
    return first


def _go_on(reader: _Reader, plan: LabelNextPlan, learned: Sequence[str]) -> tuple[str, ...]:
    """Words of the command that goes on once the labels are filled in; none for arrays, which have no table.

    With a bundle they are those by which it was adapted, and `adapt` keeps its strategy; else `choose` finds
    one.
    """
    layout, card = str(reader.recipe["layout"]), None if reader.bundle is None else reader.bundle.card
    if layout == "arrays":
        return ()
    root = learned[0] if card is None and learned else None if card is None else card.data.root
    known = learned[1:] if card is None else [*card.data.labelled, *learned]
    further = [path for path in dict.fromkeys(known) if path != root] + [plan.output]
    usual = yaml.safe_load((packaged_conf() / "dataset" / f"{layout}.yaml").read_text())
    asked = {
        key: value
        for key, value in reader.recipe.items()
        if key in usual and key not in _SETTLED and usual[key] != value
    }
    words = [f"dataset={layout}", *([] if root is None else [f"dataset.root={root}"])]
    words += [f"dataset.labelled=[{','.join(further)}]"]
    words += [f"dataset.{key}={_typed(value)}" for key, value in asked.items()]
    if card is None:
        return ("choose", *words, "bundle=DIR")
    run = [] if card.run is None else [f"run=outputs/{card.run}"]
    return ("adapt", *run, *words, f"bundle={plan.bundle}")


def _said(plan: LabelNextPlan, reader: _Reader, n: int, learned: Sequence[str]) -> tuple[str, ...]:
    said = []
    encoder = reader.encoder
    random = encoder is not None and not isinstance(encoder, Pretrained)
    if reader.bundle is None and random and any(True for _ in (encoder or nn.Module()).parameters()):
        said.append(
            "model: its weights are random, and what looks alike to it need not be alike; choose a "
            "pretrained one"
        )
    if n < plan.n:
        said.append(f"n: {plan.n:,} are asked for, {n:,} different rows without a label are there")
    if reader.bundle is not None and not learned:
        root = reader.bundle.card.data.root
        where = "FILE" if root is None else root
        said.append(
            "rows that the bundle has learned from are not left out, for none are named; "
            f"{shlex.quote(f'labelled={where}')} leaves them out"
        )
    return tuple(said)


def _of_bundle(path: str | None) -> _Reader:
    assert path is not None
    bundle = Bundle.load(path)
    encoder = next((m for m in bundle.module.modules() if isinstance(m, Encoder)), None)
    return _Reader(bundle.card.build.recipe, bundle.preprocess, encoder, bundle)


def _of_config(config: Mapping[str, Any], path: str) -> _Reader:
    hardware: Hardware = build(config["hardware"], "hardware", Hardware, config["trust"], {})
    hardware.prepare(config["seed"])
    node = config["dataset"]
    layout = str(node["_target_"]).rpartition(".")[2]
    preprocess = reading_preprocess(config)
    recipe = fresh_recipe(layout, node)
    if layout == "tabular":
        recipe = with_columns(TableRecipe.from_json(recipe), path).as_json()
    elif layout == "image_folder":
        files = list(below(Path(path).expanduser()))
        recipe = settled_for(preprocess, ImageRecipe.from_json(recipe), files).as_json()
    elif layout != "text":
        raise RequestError(
            "dataset: label-next reads a pool of texts, a table or a folder of images; of arrays it needs a "
            "bundle (bundle=DIR)"
        )
    first = next(iter(read_raw(recipe, preprocess, path, problems=Problems("skip"), chunk=1)), None)
    if first is None:
        raise RequestError(f"input: {path} holds no row that can be read; see what they are")
    torch.manual_seed(config["seed"])
    encoder = encoder_for(config["model"], "model", config["trust"], map_shapes(first.inputs)).eval()
    return _Reader(recipe, preprocess, encoder, None)


def _read(reader: _Reader, path: str, on_bad: OnBad) -> _Pool:
    """All of it at once, for tokens of two calls may differ in length.

    Raises:
        RequestError: for what cannot be read.
    """
    problems = Problems(on_bad, key="on_bad")
    raws: list[Raw] = list(read_raw(reader.recipe, reader.preprocess, path, problems=problems, chunk=1 << 30))
    problems.warn(path, reader.preprocess.max_length)
    if not raws:
        raise RequestError(f"input: {path} holds no row that can be read; see what they are")
    raw = raws[0]
    for more in raws[1:]:
        raw = Raw(joined(raw.inputs, more.inputs), raw.places + more.places, raw.rows + more.rows)
    rows: Sequence[Mapping[str, Any]] = raw.rows or [{} for _ in raw.places]
    if reader.recipe["layout"] == "text" and not any(rows):
        rows = _lines(path, raw.places, reader.recipe)
    column, texts = _label_column(reader.recipe), reader.recipe.get("text_column")
    has_label = [str(row.get(column) or "").strip().casefold() not in MISSING for row in rows]
    keys: Sequence[object] = (
        [essence(str(row[texts])) for row in rows] if texts else hashes_of(raw.inputs, None).tolist()
    )
    return _Pool(raw.inputs, raw.places, rows, keys, np.array(has_label, dtype=bool))


def _lines(path: str, places: Sequence[str], recipe: Recipe) -> list[Mapping[str, Any]]:
    """The texts of a file with one a line, as rows with one column."""
    with Path(path).expanduser().open(encoding=recipe["encoding"]) as file:
        lines = [line.rstrip("\r\n") for line in file]
    return [{recipe["text_column"]: lines[int(place.rpartition(" ")[2]) - 1]} for place in places]


def _label_column(recipe: Recipe) -> str:
    return str(recipe.get("target_column") or recipe.get("label_column") or "label")


def _picked(
    reader: _Reader, pool: _Pool, known: _Pool | None, free: NDArray[np.int64], plan: LabelNextPlan
) -> tuple[list[int], str]:
    """Places of the pool, the most useful first, and what was looked for."""
    x, outputs = _seen(reader, _rows_of(pool.inputs, free))
    n = min(plan.n, len(free))
    if reader.bundle is not None and not _few_labels(reader.bundle, known):
        best = reader.bundle.read(outputs).probabilities
        assert best is not None
        top = best.topk(min(2, best.shape[1])).values
        margins = (top[:, 0] - top[:, -1]).numpy()
        return free[picking.uncertain(x, margins, n, plan.seed)].tolist(), UNCERTAIN
    others = [_seen(reader, known.inputs)[0]] if known is not None else []
    own = np.flatnonzero(pool.has_label)
    if len(own):
        others.append(_seen(reader, _rows_of(pool.inputs, own))[0])
    labelled = np.concatenate(others) if others else x[:0]
    return free[picking.typical(x, labelled, n, plan.seed)].tolist(), TYPICAL


def _few_labels(bundle: Bundle, known: _Pool | None) -> bool:
    """Whether typical examples are worth more than uncertain ones.

    So it is of few labels, where they are named: what is typical is else what has a label already. A
    regression has no margins.
    """
    card = bundle.card
    few = card.data.examples < picking.FEW * len(card.labels)
    return not card.labels or (few and known is not None)


def _rows_of(inputs: Inputs, rows: NDArray[np.int64]) -> Inputs:
    at = torch.from_numpy(rows)
    return map_inputs(lambda tensor: tensor[at], inputs)


def _seen(reader: _Reader, inputs: Inputs) -> tuple[NDArray[np.float32], Tensor]:
    """Features (n, d), and the bundle's outputs (n, n_outputs), or nothing (0,) where there is none.

    A bundle whose predictor has no encoder sees the inputs as they are, or else its own outputs.
    """
    features, outputs = list[Tensor](), list[Tensor]()
    for start in range(0, n_examples(inputs), AT_ONCE):
        part = map_inputs(lambda tensor, start=start: tensor[start : start + AT_ONCE], inputs)  # type: ignore[misc]
        if reader.bundle is not None:
            outputs.append(reader.bundle.outputs(part))
        with torch.no_grad():
            if reader.encoder is not None:
                features.append(reader.encoder(part).float())
            else:
                features.append(part.float().flatten(1) if isinstance(part, Tensor) else outputs[-1])
    return torch.cat(features).numpy(), torch.cat(outputs or [torch.zeros(0)])


def _write(output: Path, rows: Sequence[Mapping[str, Any]], column: str) -> None:
    """The rows as they were read, with the column to fill in as the last."""
    heads = [name for name in dict.fromkeys(name for row in rows for name in row) if name != column]
    with text_file(output) as out:
        table = csv.writer(out, lineterminator="\n")
        table.writerow([*heads, column])
        for row in rows:
            cells = (row.get(name) for name in heads)
            table.writerow([*(printable(c, kept="\n\t") if isinstance(c, str) else c for c in cells), ""])


def _files(recipe: Recipe, path: str, places: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    """Of images their files; of arrays the rows' numbers."""
    folder = Path(path).expanduser()
    for place in places:
        if recipe["layout"] == "image_folder":
            base = folder.parent if is_list(folder) else folder
            file = folder if not base.is_dir() else base / place if (base / place).exists() else place
            yield {"file": str(file)}
        else:
            yield {"row": place}
