"""A strategy on trial: built from its config on a small problem, anew for each change that a law needs."""

from __future__ import annotations

import atexit
import contextlib
import copy
import shutil
import weakref
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, cached_property
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Literal

import torch

from coldstart_cli.config import composition
from coldstart_cli.config.building import TRUSTED, located, runtime_parameters
from coldstart_cli.core.strategy import ModelKind, Strategy
from coldstart_cli.errors import RequestError
from coldstart_cli.experiment.assembly import Experiment, assemble
from coldstart_cli.testing.tiny_clip import tiny_clip, tiny_pictures
from coldstart_cli.testing.tiny_language_model import tiny_language_model, tiny_texts

CPU = ("hardware=cpu", "hardware.threads=1")
SMALL = ("experiment=smoke", "dataset.n_query=4", "baseline=null", *CPU)
IMAGES = ("model.hidden=8", "dataset.n_way=3")
"""What is composed unless a data set is named: three characters and a narrow convolutional network."""
_OF_A_TRIAL = (*IMAGES, "dataset.validation_share=0.85")
"""The same with 43 characters to train on, not 229, for strategies that read the whole pool."""
REGRESSION = ("dataset=sinusoid", "model=mlp", "dataset.n_unlabelled=3")

SHORT = {"n_folds": 2, "fallback_steps": 5, "n_tasks": 4, "gate_penalty": 0.03}
"""Values for a trial's small problem: comparisons are fewer, what is compared trains less, and a penalty
leaves eight units what they need to learn in eighty steps."""


class Trial:
    """One strategy, on a data set so small that a law takes a second.

    Every task has unlabelled examples, for strategies that need them, and a teacher is as small as the run's
    model.

    Args:
        strategy: the name of a config, or the path of a YAML file that describes a strategy.
        dataset: config of a data set; None for the package's small images.
        overrides: further overrides as for `coldstart train`: `model=mlp`, `trust=[my_package]`.

    Raises:
        RequestError: where there is no such file.
    """

    def __init__(self, strategy: str, dataset: str | None = None, overrides: Sequence[str] = ()) -> None:
        chosen, folders = self._chosen("strategy", strategy)
        self.name = chosen.partition("=")[2]
        words = [chosen, *overrides]
        if dataset is not None:
            of_data, more = self._chosen("dataset", dataset)
            words, folders = [of_data, *words], [*folders, *more]
        images = () if any(word.startswith("dataset=") for word in words) else _OF_A_TRIAL
        search = composition.search_path(list(dict.fromkeys(folders)))
        self._words = (*search, *images, "dataset.n_unlabelled=3", *words)

    def __repr__(self) -> str:
        return self.name

    @cached_property
    def strategy(self) -> Strategy:
        """The strategy of `untrained`, for reading its attributes."""
        return self.untrained.strategy

    @cached_property
    def untrained(self) -> Experiment:
        """For laws that adapt and do not train: building one of their own would take longer than they do."""
        return self.experiment()

    @cached_property
    def facts(self) -> set[str]:
        """The facts of a run that its constructor names."""
        return runtime_parameters(self._config["strategy"], "strategy", self._config["trust"])

    def experiment(
        self, *, optimizer_name: str | None = None, regression: bool = False, **parts: Mapping[str, Any]
    ) -> Experiment:
        """A new experiment with the same initial weights.

        Args:
            optimizer_name: a config of the package's in place of the optimizer, such as `sgd`.
            regression: use sinusoids instead of the data set.
            parts: values to change: `training={"steps": 4}`. Those of `strategy` are set wherever the
                strategy, or one that is nested in it, has such a key, and skipped where none has.

        Raises:
            RequestError: where the config cannot be built.
        """
        own = {key: self._config[key] for key in ("strategy", "trust")}
        # A copy: the composed config serves the next law too.
        config = copy.deepcopy({**_composed(*REGRESSION), **own} if regression else dict(self._config))
        if optimizer_name is not None:
            config["optimizer"] = _composed(f"optimizer={optimizer_name}")["optimizer"]
        of_strategy = {"teacher": config["model"], **parts.pop("strategy", {})}
        config["strategy"] = replaced(config["strategy"], of_strategy)
        for part, values in parts.items():
            config[part] = {**config[part], **values}
        return assemble(config)

    def value(self, name: str) -> Any:
        """The value of a hyper-parameter, or None; `transfer.weight` is one of a nested strategy."""
        node: Any = self._config["strategy"]
        for key in name.split("."):
            node = node.get(key)
        return node

    @cached_property
    def _config(self) -> Mapping[str, Any]:
        ((_, composed),) = composition.points([*SMALL, *self._words])
        config = {**composed, "strategy": replaced(composed["strategy"], SHORT)}
        target = config["strategy"]["_target_"]
        # Others are imported where they are trusted.
        strategy = located(target, "strategy", TRUSTED) if target.startswith("coldstart_cli.") else Strategy
        if getattr(strategy, "needs_running_statistics", False):
            return {**config, "model": {**config["model"], "norm": "batch"}}
        kind: ModelKind = getattr(strategy, "needs_model", "any")
        if kind != "any":
            words = [word for word in self._words if word not in _OF_A_TRIAL]
            ((_, config),) = composition.points([*SMALL, *_pretrained(kind), *words])
        return config

    def _chosen(self, group: str, named: str) -> tuple[str, list[str]]:
        """(the override that chooses it, folders of configs to search)."""
        if not named.endswith(".yaml"):
            return f"{group}={named}", []
        file = Path(named).expanduser().resolve()
        if not file.is_file():
            raise RequestError(f"{named}: there is no such file; name a YAML file or a config (coldstart ls)")
        if file.parent.name == group:  # the configs beside it can be chosen, and inherited from
            return f"{group}={file.stem}", [str(file.parents[1])]
        folder = mkdtemp(prefix="coldstart-")  # Hydra looks for it in a folder named like the group
        # Removed with the trial, at the latest when the process ends.
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        Path(folder, group).mkdir()
        shutil.copy(file, Path(folder, group))
        return f"{group}={file.stem}", [folder]


@cache
def _pretrained(kind: Literal["language", "captions"]) -> tuple[str, ...]:
    """A random model of this kind and data that it reads, for as long as the process lasts."""
    folder = Path(mkdtemp(prefix="coldstart-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    own: tuple[str, ...]
    if kind == "language":
        model, data = tiny_language_model(folder), tiny_texts(folder / "texts.csv")
        own = ("model=causal_lm", "dataset=text")
    else:
        model, data = tiny_clip(folder), tiny_pictures(folder / "pictures")
        own = ("model=clip", "model.preprocess.before='w50 w51 '", "dataset=image_folder")
    where = (f"model.path={model}", f"dataset.root={data}")
    return (*own, *where, "model.preprocess.max_length=16", "dataset.n_way=3")


@cache
def _composed(*words: str) -> Mapping[str, Any]:
    """What the package's own configs compose: it takes longer than building, and serves every trial."""
    ((_, config),) = composition.points([*SMALL, *words])
    return config


def replaced(node: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The tree with the given values wherever it has such a key."""
    return {
        key: values[key]
        if key in values and isinstance(below, list) == isinstance(values[key], list)  # a search lists values
        else replaced(below, values)
        if isinstance(below, Mapping)
        else below
        for key, below in node.items()
    }


@contextlib.contextmanager
def torch_as_it_was() -> Iterator[None]:
    """Restores torch's settings, which building hardware changes."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    state = torch.get_rng_state()
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(deterministic)
        torch.set_num_threads(threads)
        torch.set_rng_state(state)
