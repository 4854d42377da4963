"""What `adapt` learns from and is scored on: read as one task, as the run's own data, or as published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch

from coldstart_cli.core.tasks import n_examples
from coldstart_cli.datasets.own import input_range
from coldstart_cli.datasets.own.labelled import Labelled
from coldstart_cli.datasets.own.layouts import LAYOUTS, read_labelled, recipe_like, without_labels
from coldstart_cli.datasets.own.names import named
from coldstart_cli.datasets.own.one_task import OneTask, SourceClasses, with_shared_labels
from coldstart_cli.datasets.own.shared import OwnData, wording_of
from coldstart_cli.datasets.own.shift import InputRange
from coldstart_cli.datasets.own.stated_splits import Parted, parted
from coldstart_cli.errors import RequestError
from coldstart_cli.experiment.parts import reading_preprocess, source_of
from coldstart_cli.files.durable import read_json
from coldstart_cli.runs.run import Run


def read_task(config: Mapping[str, Any], run: Run | None, source: SourceClasses) -> Parted:
    """What is learned from and what is scored; those for a trained run are read as its own were.

    Args:
        source: classes of the run, which a task without labels has.

    Raises:
        RequestError: where the data set is not your own, or has one class alone.
    """
    found = _read(config, run, source)
    learned = found.learned
    if len(learned.classes) == 1 and not len(learned):
        raise RequestError(
            f"dataset.descriptions: names one class alone, {learned.classes[0]}; name two or more"
        )
    if len(learned.classes) == 1:
        raise RequestError(
            f"dataset.root: all {len(learned)} examples are of one class, {learned.classes[0]}; give two "
            "classes or more (E13)"
        )
    return found


def _read(config: Mapping[str, Any], run: Run | None, source: SourceClasses) -> Parted:
    node = config["dataset"]
    layout = str(node["_target_"]).rpartition(".")[2]
    ours = str(node["_target_"]).startswith("coldstart_cli.") and layout in LAYOUTS
    if not ours:
        return _published(config)
    recipe = read_json(run.path / "environment.json", "run").get("recipe") if run is not None else None
    recipe = recipe_like(recipe, layout, node)
    preprocess = reading_preprocess(config)
    wording = wording_of(cast("OwnData", node), preprocess)
    unlabelled_alone = node["unlabelled"] is not None and run is not None
    if node["root"] is None and (wording.rows or unlabelled_alone):
        labelled = _without_labels(recipe, preprocess, node, run, source, sorted(wording.rows))
        return Parted(named(labelled, preprocess, wording), None, ())
    labelled = read_labelled(
        recipe, preprocess, node["root"], unlabelled=node["unlabelled"], on_bad=node["on_bad"]
    )
    labelled = named(labelled, preprocess, wording)
    return parted(with_shared_labels(labelled) if node.get("shared_labels") else labelled)


def _published(config: Mapping[str, Any]) -> Parted:
    """A published data set of texts: learned from its training part, scored on its test part."""
    source = source_of(config)
    labelled = getattr(source, "labelled", None)
    if not isinstance(labelled, Labelled):
        raise RequestError(
            f"dataset: {config['names']['dataset']} is not data of your own; choose image_folder, text, "
            "tabular or arrays with dataset.root=PATH"
        )
    return parted(labelled, getattr(source, "published", None))


def _without_labels(
    recipe: Mapping[str, Any],
    preprocess: Any,
    node: Mapping[str, Any],
    run: Run | None,
    source: SourceClasses,
    described: Sequence[str],
) -> Labelled:
    """A task without labels: its classes are those that are described, or else those of the run's source.

    Raises:
        RequestError: where the run's classes are not those of new tasks, so that nothing says what there is.
    """
    known = described or source.names
    if not known:
        assert run is not None
        why = source.lack or f"{run.path} has classes that new tasks do not share"
        raise RequestError(
            f"dataset.root: is not named, and {why}; name labelled examples (dataset.root=PATH)"
        )
    found = without_labels(recipe, preprocess, node["unlabelled"], classes=known, on_bad=node["on_bad"])
    if found.unlabelled is not None and not n_examples(found.unlabelled):
        raise RequestError(
            f"dataset.unlabelled: no example of {node['unlabelled']} can be read; see what they are"
        )
    return found


def task_of(labelled: Labelled, seed: int, source: SourceClasses, *, trained: bool) -> OneTask:
    """The task, with the source's classes or outputs where they are its own."""
    if labelled.classes:
        return OneTask(labelled, seed, source.rows(labelled.classes))
    # a regression has the outputs of the source, which its head has learned
    outputs = torch.arange(labelled.objective.n_outputs) if trained else None
    return OneTask(labelled, seed, outputs)


def source_classes(config: Mapping[str, Any], run: Run | None) -> SourceClasses:
    """What the classes of a run's source are called, where new tasks share them.

    A run of an earlier version does not say: its source is read again, if it is still what it was.
    """
    if run is None:
        return SourceClasses()
    known = read_json(run.path / "environment.json", "run")
    if "source_classes" in known:
        return SourceClasses(tuple(known["source_classes"]))
    node = run.config["dataset"]
    if node.get("split_by") in ("class", "task"):  # then new tasks have classes of their own
        return SourceClasses()
    try:
        source = source_of({**config, "dataset": node})
        if source.shares_labels and source.fingerprint == known["fingerprint"]:
            return SourceClasses(source.pool("train").names)
        if source.fingerprint == known["fingerprint"]:
            return SourceClasses()
    except (RequestError, ValueError):
        pass
    return SourceClasses(
        lack=f"{run.path} is of an earlier version, which did not note its classes, and its data are not "
        "there as they were: its head is left out; train it again with again=true"
    )


def ranges_for(run: Run | None, learned: Labelled) -> dict[str, InputRange]:
    """Of what the network was trained on: the run's source, if it is known, else what is learned from."""
    known = {} if run is None else read_json(run.path / "environment.json", "run").get("input_ranges", {})
    return input_range.from_json(known) if known else input_range.ranges_of(learned.inputs)


def shift_of(ranges: Mapping[str, InputRange], found: Parted) -> str | None:
    """A line where any of the task's inputs lie far outside these ranges."""
    of_test = None if found.test is None else found.test.inputs
    for inputs in (found.learned.inputs, found.learned.unlabelled, of_test):
        shift = None if inputs is None else input_range.shift_from(ranges, inputs)
        if shift is not None:
            return shift
    return None
