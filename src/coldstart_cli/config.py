"""From a composed config to objects: trusted targets only, names and types from signatures.

`check` validates a whole tree and builds nothing; `build` makes the objects. A mapping with `_target_`
is a call; its keys are the callable's keyword-only parameters, all of them and no others, so that YAML
holds every value and Python none. Positional parameters are facts of the run (`encoder`, `n_outputs`,
...), injected by name.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import operator
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import entry_points
from typing import Any

from annotated_types import DocInfo

from coldstart_cli.errors import RequestError, suggestion

TRUSTED = (
    "coldstart_cli",
    "torch.optim",
    "torch.nn",
    *sorted(
        point.value.partition(":")[0].partition(".")[0] for point in entry_points(group="coldstart.plugins")
    ),
)
"""Packages whose classes a config may name: ours, torch's, and plug-ins that the user installed."""


def check(node: object, key: str, trust: Sequence[str]) -> None:
    """Validates names, types and ranges of everything below `node`.

    Raises:
        RequestError: at the first thing wrong, naming its key.
    """
    _check_names(node, key, (*TRUSTED, *trust))
    _check_values(node, key, (*TRUSTED, *trust))


def build(node: object, key: str, trust: Sequence[str], runtime: Mapping[str, object]) -> Any:
    """Makes the object that `node` describes; `key` is where it stands, for messages.

    Args:
        runtime: facts of the run by parameter name; a callable takes those it names.

    Raises:
        RequestError: where the tree is invalid, or a constructor refuses a value.
    """
    check(node, key, trust)
    return _built(node, key, (*TRUSTED, *trust), runtime)


def _built(node: object, key: str, trusted: tuple[str, ...], runtime: Mapping[str, object]) -> Any:
    if isinstance(node, Mapping):
        values = {n: _built(v, f"{key}.{n}", trusted, runtime) for n, v in node.items() if n != "_target_"}
        if "_target_" not in node:
            return values
        target = _located(node["_target_"], key, trusted)
        facts, _ = _parameters(target)
        try:
            return target(**{name: runtime[name] for name in facts if name in runtime}, **values)
        except ValueError as error:
            raise RequestError(_placed(str(error), key)) from error
    if isinstance(node, list):
        return [_built(value, f"{key}[{i}]", trusted, runtime) for i, value in enumerate(node)]
    return node


def runtime_parameters(node: Mapping[str, Any], key: str, trust: Sequence[str]) -> set[str]:
    """The names of the run's facts that the target of `node`, and of any node in it, asks for."""
    facts, _ = _parameters(_located(node["_target_"], key, (*TRUSTED, *trust)))
    nested = (value for value in node.values() if isinstance(value, Mapping) and "_target_" in value)
    return set(facts).union(*(runtime_parameters(value, key, trust) for value in nested))


def _placed(message: str, key: str) -> str:
    """A constructor names its own parameter; the key says where that stands."""
    if "." in key:  # a model that is not the run's, such as strategy.teacher, is chosen by another name
        message = re.sub(r"^model(?=:)", key, message).replace("model=", f"model@{key}=")
        message = message.replace("model.", f"{key}.")
    head, colon, _ = message.partition(":")
    if not colon:
        return f"{key}: {message}"
    # a data set passes on what the model's preprocess says of itself
    said = "." in head or head in (key.split(".")[0], "model")
    return message if said else f"{key}.{message}"


def _check_names(node: object, key: str, trusted: tuple[str, ...]) -> None:
    """Refuses untrusted targets of the whole tree before anything is imported."""
    if isinstance(node, Mapping):
        if "_target_" in node:
            target = node["_target_"]
            if not isinstance(target, str) or not _is_below(target, trusted):
                raise RequestError(
                    f"{key}._target_: {_shown(target)} is not trusted; targets lie in {', '.join(trusted)}, "
                    "name others on the command line with trust=[their_package]"
                )
        for name, value in node.items():
            _check_names(value, f"{key}.{name}", trusted)
    elif isinstance(node, list):
        for i, value in enumerate(node):
            _check_names(value, f"{key}[{i}]", trusted)


def _check_values(node: object, key: str, trusted: tuple[str, ...]) -> None:
    if isinstance(node, list):
        for i, value in enumerate(node):
            _check_values(value, f"{key}[{i}]", trusted)
    if not isinstance(node, Mapping):
        return
    if "_target_" in node:
        target = _located(node["_target_"], key, trusted)
        _check_installed(target, key)
        _, parameters = _parameters(target)
        given = set(node) - {"_target_"}
        for name in sorted(given - set(parameters)):
            raise RequestError(
                f"{key}.{name}: {_name(target)} has no such parameter; {suggestion(name, parameters)}"
            )
        for name in sorted(set(parameters) - given):
            raise RequestError(f"{key}.{name}: missing; {_name(target)} needs it, give {key}.{name}=VALUE")
        for name, annotation in parameters.items():
            if not (isinstance(node[name], Mapping) and "_target_" in node[name]):
                wrong = mismatch(node[name], annotation)
                if wrong:
                    raise RequestError(f"{key}.{name}: {wrong}")
    for name, value in node.items():
        _check_values(value, f"{key}.{name}", trusted)


def _check_installed(target: Callable[..., Any], key: str) -> None:
    """Refuses a class whose `packages`, those of the optional `extra` it names, are not there."""
    absent = [name for name in getattr(target, "packages", ()) if importlib.util.find_spec(name) is None]
    if absent:
        extra = getattr(target, "extra", "")
        raise RequestError(
            f"{key}: the package {absent[0]} is not installed; pip install 'coldstart-cli[{extra}]'"
        )


def _located(target: str, key: str, trusted: tuple[str, ...]) -> Callable[..., Any]:
    """Imports a target; refuses what only passes through a trusted name (coldstart_cli.cli.os)."""
    module_name, _, name = target.rpartition(".")
    try:
        found = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise RequestError(
            f"{key}._target_: {_shown(target)} cannot be imported ({str(error)[:120]!r}); check its name"
        ) from error
    defined_in = getattr(found, "__module__", None) or ""
    if not callable(found) or not _is_below(f"{defined_in}.", trusted):
        raise RequestError(
            f"{key}._target_: {_shown(target)} is not defined in {', '.join(trusted)}; "
            "name the place of its definition"
        )
    try:
        _parameters(found)
    except (NameError, TypeError, ValueError) as error:  # built in, or annotated for type checkers only
        raise RequestError(
            f"{key}._target_: {_shown(target)} has no signature to read; choose another"
        ) from error
    return typing.cast("Callable[..., Any]", found)


def _is_below(name: str, packages: Sequence[str]) -> bool:
    return any(name.startswith(f"{package}.") for package in packages)


def _parameters(target: Callable[..., Any]) -> tuple[list[str], dict[str, Any]]:
    """(the run's facts: positional parameters; hyper-parameters: keyword-only, with their annotations)."""
    signature = inspect.signature(target)
    function = target.__init__ if inspect.isclass(target) else target
    hints = typing.get_type_hints(function, include_extras=True)
    facts = [n for n, p in signature.parameters.items() if p.kind is not inspect.Parameter.KEYWORD_ONLY]
    values = {
        name: hints.get(name, Any)
        for name, parameter in signature.parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    return facts, values


def mismatch(value: object, annotation: Any) -> str | None:
    """What is wrong with `value` for a parameter so annotated and what to give instead, or None."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is Any:
        return None
    if origin is typing.Annotated:
        told = next((a.documentation for a in arguments[1:] if isinstance(a, DocInfo)), None)
        if value is None and told is not None:
            return f"is null; give {told}"
        return mismatch(value, arguments[0]) or _out_of_range(value, arguments[1:])
    if origin is typing.Literal:
        if value in arguments and type(value) in {type(a) for a in arguments}:
            return None
        return f"{_shown(value)} is no choice; {suggestion(str(value), [str(a) for a in arguments])}"
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        problems = [mismatch(value, a) for a in arguments if a is not type(None)]
        return None if None in problems else problems[0]
    if origin in (list, Sequence):
        if not isinstance(value, list):
            return f"{_shown(value)} is no list; write [a, b]"
        return next((wrong for item in value if (wrong := mismatch(item, arguments[0]))), None)
    if origin in (dict, Mapping):
        if not isinstance(value, Mapping):
            return f"{_shown(value)} is no mapping; write {{name: value}}"
        return next((wrong for item in value.values() if (wrong := mismatch(item, arguments[1]))), None)
    return _wrong_type(value, annotation)


def _wrong_type(value: object, annotation: Any) -> str | None:
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
    if annotation not in names:
        if not isinstance(annotation, type) or not isinstance(value, None | bool | int | float | str | list):
            return None  # an object of the run or a nested target; its own check comes
        return f"{_shown(value)} is no {annotation.__name__}; give a config with a _target_"
    fits = isinstance(value, annotation) or (annotation is float and isinstance(value, int))
    if isinstance(value, bool) and annotation is not bool:
        fits = False
    if isinstance(value, float) and value != value:
        fits = False
    return None if fits else f"{_shown(value)} is not {names[annotation]}; give {names[annotation]}"


def _out_of_range(value: object, limits: Sequence[Any]) -> str | None:
    """Reads annotated_types' Ge, Gt, Le, Lt and Len by their attributes."""
    if value is None:
        return None
    signs: dict[str, tuple[str, Callable[[Any, Any], bool]]] = {
        "ge": ("at least", operator.ge),
        "gt": ("above", operator.gt),
        "le": ("at most", operator.le),
        "lt": ("below", operator.lt),
    }
    for limit in limits:
        for name, (words, holds) in signs.items():
            bound = getattr(limit, name, None)
            if bound is not None and not holds(value, bound):
                return f"{_shown(value)} is out of range; give a value {words} {bound}"
        shortest = getattr(limit, "min_length", None)
        if shortest is not None and len(typing.cast("list[Any]", value)) < shortest:
            return f"{_shown(value)} is too short; give at least {shortest}"
    return None


def _name(target: Callable[..., Any]) -> str:
    return getattr(target, "__name__", str(target))


def _shown(value: object) -> str:
    text = "null" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
