"""The only module that knows Hydra: overrides in, resolved configs out, and its errors in one line."""

from __future__ import annotations

import contextlib
import copy
import functools
import itertools
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override
from hydra.core.plugins import Plugins
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, OmegaConfBaseException
from omegaconf.resolvers import oc

from coldstart_cli.config.catalog import nearest_group, search_roots
from coldstart_cli.config.key import EVALUATED
from coldstart_cli.config.search_space import Searched, searched
from coldstart_cli.config.settled import settled
from coldstart_cli.config.typed import in_quotes
from coldstart_cli.config.untrusted import (
    check_changed_hydra,
    check_configs,
    check_hydra,
    check_loggers,
    check_typed,
)
from coldstart_cli.errors import RequestError, suggestion
from coldstart_cli.package import packaged_conf
from coldstart_cli.renamed import renamed, warn_of_renamed

CONF = "coldstart_cli.conf"
Config = dict[str, Any]

_CALLERS = OmegaConf.has_resolver("oc.env")
OmegaConf.clear_resolver("oc.env")  # configs may come from anybody, and must not read the environment


@contextlib.contextmanager
def environment_hidden() -> Iterator[None]:
    """Hides the environment from configs during a call from Python, but not from the caller's own later on.

    A caller that has initialized Hydra finds it unchanged afterwards.
    """
    OmegaConf.clear_resolver("oc.env")
    # Hydra keeps one global instance and refuses to be initialized twice.
    theirs = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        yield
    finally:
        GlobalHydra.instance().clear()
        if theirs is not None:
            GlobalHydra.instance().initialize(theirs)
        if _CALLERS and not OmegaConf.has_resolver("oc.env"):
            OmegaConf.register_new_resolver("oc.env", oc.env)


def run_jobs(overrides: Sequence[str], flags: Sequence[str], job: Callable[[Config], float | None]) -> None:
    """Makes Hydra compose `train` and call `job` with the resolved config, once for each point of a sweep.

    A sweeper that searches is given what `job` returns for a point.

    Args:
        flags: Hydra's own, such as `-m` or `--cfg job`.

    Raises:
        RequestError: where the composition fails.
    """
    OmegaConf.clear_resolver("oc.env")  # a call from Python gives it back to its caller
    if not flags:
        with translated(overrides), hydra.initialize_config_module(CONF, version_base="1.3"):
            config = _composed(overrides)
        job(config)
        return
    _check_fixed(overrides)
    failures: list[Exception] = []

    def task(config: DictConfig) -> float | None:
        try:
            return job(resolved(config, HydraConfig.get().runtime.choices))
        except Exception as error:  # Hydra would print it in its own way
            failures.append(error)
        return None

    arguments = sys.argv
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises instead of printing and exiting
    sys.argv = ["coldstart", *flags, *overrides]
    try:
        with translated(overrides):
            hydra.main(version_base="1.3", config_path=f"pkg://{CONF}", config_name="train")(task)()
            if failures:
                raise failures[0]
    finally:
        sys.argv = arguments


def _check_fixed(overrides: Sequence[str]) -> None:
    """Checks what is composed without the swept keys, before Hydra's own machinery acts on it."""
    with translated(overrides):
        parsed = OverridesParser.create().parse_overrides(list(overrides))
    for override in parsed:
        if override.is_sweep_override() and override.key_or_group.split(".")[0] == "hydra":
            raise RequestError(f"{override.key_or_group}: Hydra itself cannot be swept; give it one value")
    fixed = [str(o.input_line) for o in parsed if not o.is_sweep_override()]
    # A config that only some jobs choose may say something of Hydra too, which acts on it before the job.
    folders = any(o.startswith("hydra.searchpath=") for o in fixed)
    groups = [o for o in parsed if o.is_discrete_sweep() and "." not in o.key_or_group]
    chosen = [_settings(o) for o in groups] if folders else []
    with translated(overrides), hydra.initialize_config_module(CONF, version_base="1.3"):
        _composed(fixed)
        for setting in itertools.chain(*chosen):
            _composed([*fixed, setting])


def points(overrides: Sequence[str]) -> Iterator[tuple[list[str], Config]]:
    """The points of a sweep with their overrides, as Hydra's basic sweeper makes them, before any is run."""
    OmegaConf.clear_resolver("oc.env")
    with translated(overrides), hydra.initialize_config_module(CONF, version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        parsed = OverridesParser.create(config_loader=loader).parse_overrides(list(overrides))
        # Hydra's own words are the same at every point, where the colon of file:// would be quoted
        own = [str(o.input_line) for o in parsed if o.key_or_group.startswith("hydra.")]
        varied = [o for o in parsed if not o.key_or_group.startswith("hydra.")]
        settings = {o.get_key_element(): _settings(o) for o in varied}  # of two equal keys the last counts
    for point in itertools.product(*settings.values()):
        # initialized each time, since the caller may compose something else in between
        with translated(overrides), hydra.initialize_config_module(CONF, version_base="1.3"):
            config = _composed([*own, *point])
        yield [*own, *point], config


def globbed(overrides: Sequence[str]) -> bool:
    """Whether a sweep names its configs by a pattern, `strategy=glob(*)`."""
    with translated(overrides):
        parsed = OverridesParser.create().parse_overrides(list(overrides))
    return any(isinstance(override.value(), Glob) for override in parsed)


def _settings(override: Override) -> list[str]:
    """`key=value` for each value that an override gives its key.

    Raises:
        RequestError: for an interval, which is not a list of values.
    """
    key = override.get_key_element()
    if not override.is_sweep_override():
        return [f"{key}={override.get_value_element_as_str()}"]
    if not override.is_discrete_sweep():
        raise RequestError(
            f"{key}: an interval is not a list of values; write the values, or search it by coldstart tune"
        )
    return [f"{key}={value}" for value in override.sweep_string_iterator()]


def values_of(name: str, overrides: Sequence[str]) -> Config:
    """The values of conf/<name>.yaml, which is one command's, with `<name>.key=value` or `key=value` applied.

    Raises:
        RequestError: for a key that the file does not have.
    """
    stripped = [o.removeprefix(f"{name}.") for o in overrides]
    with translated(overrides):
        config = copy.deepcopy(_plan(name))
        for override in OverridesParser.create().parse_overrides(stripped):
            key = override.key_or_group
            if key not in config:
                known = [str(k) for k in config if k != "_target_"]
                raise RequestError(f"{name}.{key}: there is no such key; {suggestion(key, known)} (E20)")
            config[key] = override.value()
    return _container(config)


@functools.cache
def _plan(name: str) -> DictConfig:
    with hydra.initialize_config_module(CONF, version_base="1.3"):
        return hydra.compose(name, [])


def search_space(overrides: Sequence[str]) -> tuple[list[str], dict[str, Searched]]:
    """(what is fixed, key -> what is searched), by the grammar of Hydra's sweeps.

    Raises:
        RequestError: for an empty interval.
    """
    fixed: list[str] = []
    space: dict[str, Searched] = {}
    with translated(overrides), hydra.initialize_config_module(CONF, version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        parsed = OverridesParser.create(config_loader=loader).parse_overrides(list(overrides))
        for override in parsed:
            if not override.is_sweep_override():
                fixed.append(str(override.input_line))
                continue
            space[override.key_or_group] = searched(override)
    return fixed, space


def changed(base: Config, overrides: Sequence[str], search_path: Sequence[str]) -> Config:
    """A run's config with overrides: a chosen group replaces the whole node, dotted ones apply after that.

    Raises:
        RequestError: where an override belongs to the training, or its key does not exist.
    """
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    for override in parsed:
        root = re.split(r"[.@]", override.key_or_group)[0]
        root = "baseline" if override.package == "baseline" else root
        if root not in EVALUATED:
            raise RequestError(
                f"{override.key_or_group}: belongs to the training of this run; evaluate changes "
                f"{', '.join(EVALUATED)}, train with other values by coldstart train"
            )
    groups = [o for o in parsed if _is_group(o)]
    loggers = _completed(base["logger"], search_path)
    check_loggers(base["logger"], [o.key_or_group for o in parsed], base["outputs"])
    config = OmegaConf.create({**base, "logger": loggers, "again": False, "trust": []})
    if groups:
        lines = [*search_path, *(str(o.input_line) for o in groups)]
        with translated(lines), hydra.initialize_config_module(CONF, version_base="1.3"):
            fresh = _composed(lines)
        for override in groups:
            name = override.package or override.key_or_group
            config[name] = fresh[name]
            if name in base["names"]:
                config["names"][name] = str(override.value())
    # A struct refuses new keys, so that a misspelt one is not added silently.
    OmegaConf.set_struct(config, True)
    for override in parsed:
        if not _is_group(override):
            key = override.key_or_group
            if OmegaConf.select(config, key, throw_on_missing=False, default=_ABSENT) is _ABSENT:
                raise RequestError(f"{key}: there is no such key; {suggestion(key, _keys(config))} (E20)")
            OmegaConf.update(config, key, override.value(), merge=False)
    return _container(config)


def _completed(loggers: Config, search_path: Sequence[str]) -> Config:
    """A run's loggers with keys that were added since; where a run is logged is not part of it."""
    try:
        with hydra.initialize_config_module(CONF, version_base="1.3"):
            fresh = _composed([*search_path, f"logger=[{','.join(loggers)}]"])["logger"]
    except (HydraException, OmegaConfBaseException):  # the user's own, without its folder
        return loggers
    return {name: {**fresh.get(name, {}), **node} for name, node in loggers.items()}


def resolved(config: DictConfig, choices: Mapping[str, Any]) -> Config:
    """The config as plain values without interpolations; `names` says which configs were chosen.

    Raises:
        RequestError: for an interpolation without a target, and as `settled`.
    """
    container = _container(config)
    container.pop("hydra", None)
    container.setdefault("logger", {})  # logger=[] composes no node at all
    return settled(container, choices)


@contextlib.contextmanager
def translated(overrides: Sequence[str]) -> Iterator[None]:
    """Turns errors of Hydra and OmegaConf into one line."""
    try:
        yield
    except MissingConfigException as error:
        raise RequestError(_missing(error)) from error
    except OverrideParseException as error:
        raise RequestError(
            f"{error.override}: is not an override; write key=value, quote values with spaces or commas"
        ) from error
    except (HydraException, OmegaConfBaseException) as error:
        raise RequestError(_composition(error, overrides)) from error
    except OSError as error:  # a name too long for a file, or a folder that cannot be read
        raise RequestError(f"config: {error.strerror} ({str(error.filename)[-60:]}); name another") from error
    except ValueError as error:
        # Hydra raises this one as a plain ValueError.
        if "Config group override" not in str(error):
            raise
        none = next((o for o in overrides if o.endswith("=null")), "a group")
        raise RequestError(f"{none}: a group cannot be null; leave it out, or name one") from error


def search_path(folders: Sequence[str]) -> list[str]:
    """Hydra's override for configs outside the package: --config-dir and installed plug-ins.

    Raises:
        RequestError: where a folder does not exist, or its configs do what configs must not.
    """
    for folder in folders:
        check_configs(Path(folder))
    places = [root.resolve() for root in search_roots(folders) if root != packaged_conf()]
    if not places:
        return []
    made = f"hydra.searchpath=[{','.join(in_quotes(f'file://{place}') for place in places)}]"
    _search_paths.add(made)
    return [made]


_search_paths: set[str] = set()
"""What `search_path` has made: folders that were looked into. No other search path is composed."""


def _composed(overrides: Sequence[str]) -> Config:
    check_typed([o for o in overrides if o not in _search_paths])
    config = hydra.compose("train", list(overrides), return_hydra_config=True)
    node: Any = OmegaConf.to_container(config.hydra, resolve=False)
    plugins = {f"{found.__module__}.{found.__qualname__}" for found in Plugins.instance().discover()}
    check_hydra(node, overrides, config.get("trust"), plugins)
    if any(o.startswith("hydra.searchpath=") for o in overrides):
        check_changed_hydra(node, _hydra_without_folders(overrides, node), overrides)
    choices = dict(config.hydra.runtime.choices)
    with contextlib.suppress(KeyError):
        OmegaConf.set_struct(config, False)
        del config["hydra"]
    return resolved(config, choices)


def _hydra_without_folders(overrides: Sequence[str], found: Config) -> Config:
    """The `hydra` node that this package and the installed plug-ins compose by themselves.

    Args:
        found: the node with the user's own folders. A launcher of theirs is compared with the installed
            config that makes the same class.
    """
    groups = [o for o in overrides if o.startswith("hydra/")]
    node = _hydra_node(groups) or _hydra_node([])
    assert node is not None  # without overrides it is the package's own
    loader = GlobalHydra.instance().config_loader()
    for group in ("launcher", "sweeper"):
        target = found[group]["_target_"]
        if node[group]["_target_"] != target:
            names = loader.get_group_options(f"hydra/{group}")
            others = (_hydra_node([f"hydra/{group}={name}"]) for name in names)
            node[group] = next(
                (n[group] for n in others if n and n[group]["_target_"] == target), node[group]
            )
    return node


def _hydra_node(groups: Sequence[str]) -> Config | None:
    """The `hydra` node with these launchers and the like; None where one is not installed."""
    try:
        composed = hydra.compose("train", [*search_path([]), *groups], return_hydra_config=True)
    except (HydraException, OmegaConfBaseException):
        return None
    node: Any = OmegaConf.to_container(composed.hydra, resolve=False)
    return dict(node)


def _container(config: DictConfig) -> Config:
    with translated([]):
        container = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    assert isinstance(container, dict)
    warn_of_renamed(container)
    return {str(key): renamed(value) for key, value in container.items()}


def _missing(error: MissingConfigException) -> str:
    missing = str(error.missing_cfg_file)
    group, name, options = nearest_group(missing, [str(option) for option in error.options or []])
    if group and options:
        return f"{group}: there is no {name!r}; {suggestion(name, options)} (coldstart ls {group}) (E21)"
    return f"{missing}: there is no such config; see coldstart ls (E21)"


def _composition(error: Exception, overrides: Sequence[str]) -> str:
    text = str(error)
    # Hydra's exceptions have no field for the key, so it is read from their text.
    override = re.search(r"Could not override '([^']+)'", text)
    if override and isinstance(error.__cause__, ConfigAttributeError):
        key = override.group(1)
        known = _known_keys(overrides)
        parent = key.rpartition(".")[0]
        near = [k for k in known if k.rpartition(".")[0] == parent] or known
        return f"{key}: there is no such key; {suggestion(key, near)} (E20)"
    group = re.search(r"Could not override '([^']+)'\.\s*No match in the defaults list", text)
    if group and group.group(1) == "prompt":  # which is listed among the groups
        return "prompt: it is a part of a model; write prompt@model.prompt=NAME with model=causal_lm"
    if group:
        return (
            f"{group.group(1)}: there is no such group; {suggestion(group.group(1), _known_keys(overrides))}"
        )
    if several := re.match(r"Ambiguous value for argument '(.+?)'", text):
        return f"{several[1]}: several values are a sweep; add -m, or write one list in brackets"
    first = " ".join(text.split())
    return f"config: {first[:240]}; see coldstart train --cfg job"


def _known_keys(overrides: Sequence[str]) -> list[str]:
    """The keys of the config that the chosen groups compose without the override that failed."""
    # A name before = that has no dot is a group's; a folder of --config-dir is found by the search path.
    groups = [o for o in overrides if re.fullmatch(r"[\w/@]+=[\w/]+|hydra\.searchpath=.*", o)]
    for chosen in (groups, []):
        GlobalHydra.instance().clear()
        with (
            contextlib.suppress(HydraException, OmegaConfBaseException),
            hydra.initialize_config_module(CONF, version_base="1.3"),
        ):
            return _keys(hydra.compose("train", chosen))
    return []


def _keys(config: DictConfig, above: str = "") -> list[str]:
    keys = []
    for name in map(str, config):
        key = above + name
        keys.append(key)
        if OmegaConf.is_interpolation(config, name) or OmegaConf.is_missing(config, name):
            continue
        if OmegaConf.is_dict(config[name]):
            keys += _keys(config[name], f"{key}.")
    return keys


def _is_group(override: Override) -> bool:
    return "." not in override.key_or_group and override.key_or_group not in ("again", "trust")


_ABSENT = object()
