"""From a composed config to objects: trusted targets only, names and types from signatures.

`check` validates a whole tree and builds nothing; `build` makes the objects. A mapping with `_target_`
is a call; its keys are the callable's keyword-only parameters, all of them and no others, so that every value
is in YAML and none in Python. Parameters that several callables share are a TypedDict, which each takes as
`**name: Unpack[TheDict]` (PEP 692). Positional parameters are facts of the run (`encoder`, `n_outputs`,
...), injected by name. A target must make what its place requires: `strategy` a Strategy, and a parameter
what its annotation says; so no config can call a function just because its package is trusted.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import typing
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import entry_points
from typing import Any

from coldstart_cli.config.annotations import classes, mismatch, shown, with_article
from coldstart_cli.errors import RequestError, suggestion
from coldstart_cli.package import getting
from coldstart_cli.renamed import REPLACED

TRUSTED = (
    "coldstart_cli",
    *sorted(
        point.value.partition(":")[0].partition(".")[0] for point in entry_points(group="coldstart.plugins")
    ),
)
"""Packages whose classes a config may name: ours, and plug-ins that the user installed."""
DEEPEST = 32
"""Most levels of a node; a composed config has six."""


def check(node: object, key: str, kind: type, trust: Sequence[str]) -> None:
    """Validates names, types and ranges of everything below `node`.

    Args:
        kind: what its target must make: a class, or a protocol, recognised by its methods.

    Raises:
        RequestError: for the first error, naming its key.
    """
    trusted = (*TRUSTED, *trust)
    if not isinstance(node, Mapping) or "_target_" not in node:
        raise RequestError(
            f"{key}: {shown(node)} does not describe {with_article(kind.__name__)}; "
            "give a config with a _target_"
        )
    # All names before any import: importing a module runs its code.
    _check_names(node, key, trusted, DEEPEST)
    _check_values(node, key, kind, trusted)


def build(node: object, key: str, kind: type, trust: Sequence[str], runtime: Mapping[str, object]) -> Any:
    """Makes the object that `node` describes; `key` is its place in the config, for messages.

    Args:
        kind: as in `check`.
        runtime: facts of the run by parameter name; a callable is given those that it names.

    Raises:
        RequestError: where the tree is invalid, or a constructor refuses a value.
    """
    check(node, key, kind, trust)
    return _built(node, key, (*TRUSTED, *trust), runtime)


def _built(node: object, key: str, trusted: tuple[str, ...], runtime: Mapping[str, object]) -> Any:
    if isinstance(node, Mapping):
        values = {n: _built(v, f"{key}.{n}", trusted, runtime) for n, v in node.items() if n != "_target_"}
        if "_target_" not in node:
            return values
        target = located(node["_target_"], key, trusted)
        facts, _ = parameters_of(target)
        try:
            return target(**{name: runtime[name] for name in facts if name in runtime}, **values)
        except ValueError as error:
            raise RequestError(_placed(str(error), key)) from error
    if isinstance(node, list):
        return [_built(value, f"{key}[{i}]", trusted, runtime) for i, value in enumerate(node)]
    return node


def runtime_parameters(node: Mapping[str, Any], key: str, trust: Sequence[str]) -> set[str]:
    """The names of the run's facts that the target of `node`, or of a node in it, takes."""
    facts, _ = parameters_of(located(node["_target_"], key, (*TRUSTED, *trust)))
    nested = (value for value in node.values() if isinstance(value, Mapping) and "_target_" in value)
    return set(facts).union(*(runtime_parameters(value, key, trust) for value in nested))


def _placed(message: str, key: str) -> str:
    """A constructor's message names its own parameter; this adds the key of the node."""
    if "." in key:  # a second model, such as strategy.teacher, is chosen by another key
        message = re.sub(r"^model(?=:)", key, message).replace("model=", f"model@{key}=")
        message = message.replace("model.", f"{key}.")
    head, colon, _ = message.partition(":")
    if not colon:
        return f"{key}: {message}"
    # a data set passes on messages of the model's preprocess
    said = "." in head or head in (key.split(".")[0], "model")
    return message if said else f"{key}.{message}"


def _check_names(node: object, key: str, trusted: tuple[str, ...], deepest: int) -> None:
    """Refuses untrusted targets of the whole tree before anything is imported."""
    if not deepest:
        raise RequestError(f"{key[:60]}: is more than {DEEPEST} levels deep; write a flatter config")
    if isinstance(node, Mapping):
        if "_target_" in node:
            target = node["_target_"]
            if not isinstance(target, str) or not _is_below(target, trusted):
                raise RequestError(
                    f"{key}._target_: {shown(target)} is not trusted; targets are in {', '.join(trusted)} "
                    "and installed plug-ins, train and adapt take others with trust=[their_package] (E23)"
                )
        for name, value in node.items():
            _check_names(value, f"{key}.{name}", trusted, deepest - 1)
    elif isinstance(node, list):
        for i, value in enumerate(node):
            _check_names(value, f"{key}[{i}]", trusted, deepest - 1)


def _check_values(node: object, key: str, wanted: Any, trusted: tuple[str, ...]) -> None:
    """`wanted`: the annotation of the place of `node`."""
    if isinstance(node, list):
        for i, value in enumerate(node):
            _check_values(value, f"{key}[{i}]", wanted, trusted)
    if not isinstance(node, Mapping):
        return
    parameters: Mapping[str, Any] = {}
    if "_target_" in node:
        target = located(node["_target_"], key, trusted)
        _check_kind(target, key, wanted)
        _check_installed(target, key)
        _, parameters = parameters_of(target)
        given = set(node) - {"_target_"}
        for name in sorted(given - set(parameters)):
            raise RequestError(
                f"{key}.{name}: {_name(target)} has no such parameter; {suggestion(name, parameters)} (E20)"
            )
        for name in sorted(set(parameters) - given):
            raise RequestError(f"{key}.{name}: missing; {_name(target)} needs it, give {key}.{name}=VALUE")
        for name, annotation in parameters.items():
            if not (isinstance(node[name], Mapping) and "_target_" in node[name]):
                wrong = mismatch(node[name], annotation)
                if wrong:
                    raise RequestError(f"{key}.{name}: {wrong} (E22)")
    for name, value in node.items():
        _check_values(value, f"{key}.{name}", parameters.get(name, wanted), trusted)


def _check_kind(target: Callable[..., Any], key: str, wanted: Any) -> None:
    """Refuses a target that does not make what its place requires."""
    kinds = [kind for kind in classes(wanted) if kind not in (bool, int, float, str, type(None))]
    # A class makes itself; a function what its return annotation says.
    made = [target] if inspect.isclass(target) else classes(typing.get_type_hints(target).get("return"))
    made = [one for one in made if one is not type(None)]
    if made and all(any(_provides(one, kind) for kind in kinds) for one in made):
        return
    asked = " or ".join(with_article(kind.__name__) for kind in kinds) or "an object for this place"
    raise RequestError(f"{key}._target_: {_name(target)} does not make {asked}; name one that does")


def _provides(made: type, kind: type) -> bool:
    if getattr(kind, "_is_protocol", False):
        methods = [name for name in vars(kind) if not name.startswith("_") or name == "__call__"]
        return all(any(name in vars(parent) for parent in made.__mro__) for name in methods)
    return issubclass(made, kind)


def _check_installed(target: Callable[..., Any], key: str) -> None:
    """Refuses a class whose `packages`, those of the optional `extra` that it names, are not installed."""
    absent = [name for name in getattr(target, "packages", ()) if importlib.util.find_spec(name) is None]
    if absent:
        extra = getattr(target, "extra", "")
        raise RequestError(f"{key}: the package {absent[0]} is not installed; {getting(extra)} (E50)")


def located(target: str, key: str, trusted: tuple[str, ...]) -> Callable[..., Any]:
    """Imports a target; refuses what a trusted module only imports (coldstart_cli.runs.run.os)."""
    if target in REPLACED:
        raise RequestError(f"{key}._target_: {target} {REPLACED[target]}")
    module_name, _, name = target.rpartition(".")
    try:
        found = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise RequestError(
            f"{key}._target_: {shown(target)} cannot be imported ({str(error)[:120]!r}); check its name"
        ) from error
    # A trusted module may have imported anything, even os.system: the place of definition counts.
    defined_in = getattr(found, "__module__", None) or ""
    if not callable(found) or not _is_below(f"{defined_in}.", trusted):
        raise RequestError(
            f"{key}._target_: {shown(target)} is not defined in {', '.join(trusted)}; "
            "name the place of its definition"
        )
    try:
        parameters_of(found)
    except (NameError, TypeError, ValueError) as error:  # built in, or annotated for type checkers only
        raise RequestError(
            f"{key}._target_: {shown(target)} has no signature to read; choose another"
        ) from error
    return typing.cast("Callable[..., Any]", found)


def _is_below(name: str, packages: Sequence[str]) -> bool:
    return any(name.startswith(f"{package}.") for package in packages)


def parameters_of(target: Callable[..., Any]) -> tuple[list[str], dict[str, Any]]:
    """(the run's facts: positional parameters; hyper-parameters: keyword-only, with their annotations)."""
    function = target.__init__ if inspect.isclass(target) else target
    # include_extras keeps Annotated, where the ranges are.
    hints = typing.get_type_hints(function, include_extras=True)
    facts, values = list[str](), dict[str, Any]()
    for name, parameter in inspect.signature(target).parameters.items():
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            values[name] = hints.get(name, Any)
        elif parameter.kind is inspect.Parameter.VAR_KEYWORD:
            values |= _unpacked(hints.get(name))
        else:
            facts.append(name)
    return facts, values


def _unpacked(annotation: Any) -> dict[str, Any]:
    """The parameters of `**name: Unpack[TheDict]`; any other `**name` gives none."""
    if typing.get_origin(annotation) is not typing.Unpack:
        return {}
    return typing.get_type_hints(typing.get_args(annotation)[0], include_extras=True)


def _name(target: Callable[..., Any]) -> str:
    return getattr(target, "__name__", str(target))
