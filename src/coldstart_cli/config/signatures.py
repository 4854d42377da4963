"""The parameters of a `_target_`, read from source: names, annotations and docstrings, without an import.

`building.py` imports a target to call it, which may need torch and take seconds. Where only the keys are
needed, they are read here; a test keeps both equal. A public name leads through the package's face to the
module that defines it. Annotations are evaluated as far as messages need them: a class of the package becomes
an empty class of the same name.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
import operator
import re
import typing
from collections import abc
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import annotated_types

from coldstart_cli.package import ROOT
from coldstart_cli.renamed import RENAMED

_BUILT_IN = {t.__name__: t for t in (int, float, str, bool, list, dict, tuple, object)}
_LIBRARIES: Mapping[str, Any] = {
    "typing": typing, "collections.abc": abc, "annotated_types": annotated_types
}  # fmt: skip
_ARITHMETIC: Mapping[type[ast.operator], Any] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Pow: operator.pow,
    ast.LShift: operator.lshift,
}  # fmt: skip
_NONE = re.compile(r"\bNone\b")  # as YAML writes it
_SECTIONS = ("Args:", "Attributes:")
Definition = ast.ClassDef | ast.FunctionDef


class Unreadable(Exception):
    """The source has something that this reader cannot follow."""


@dataclass(frozen=True, slots=True)
class Signature:
    """The parameters that a target takes from YAML.

    Attributes:
        name: of the class or function.
        module: in which it is defined.
        parameters: annotation of each keyword-only parameter.
        lines: the docstring's description of each.
    """

    name: str
    module: str
    parameters: Mapping[str, Any]
    lines: Mapping[str, str]


@functools.cache
def signature(target: str) -> Signature | None:
    """The parameters of `target`, or None where its source is not found or cannot be followed."""
    module, _, name = RENAMED.get(target, target).rpartition(".")
    try:
        source, definition = _defined(module, name)
        if not isinstance(definition, Definition):
            return None
        lines: dict[str, str] = {}
        parameters: dict[str, Any] = {}
        for place, annotated in _parameters(source, definition):
            parameters |= {n: _value(a, place) for n, a in annotated.items()}
        for told in _documented(source, definition):
            # The target's own words win over those of what it shares or inherits.
            lines = {**_lines(told), **lines}
    except Unreadable:
        return None
    return Signature(definition.name, source.name, parameters, lines)


class _Source:
    """A module's syntax tree: the names that it defines, and where its other names come from."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.defined: dict[str, ast.AST] = {}
        self.imported: dict[str, tuple[str, str]] = {}
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, SyntaxError) as error:
            raise Unreadable(name) from error
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                # A relative import: each dot beyond the first goes up one package.
                above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
                module = ".".join([*above, *([node.module] if node.module else [])])
                self.imported |= {a.asname or a.name: (module, a.name) for a in node.names}
            # A face is written as a literal table, so it can be read without being called.
            elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "face":
                places: dict[str, str] = ast.literal_eval(node.args[1])
                # The table maps a module to its names; here a name to its module.
                self.imported |= {n: (f"{name}.{m}", n) for m, names in places.items() for n in names.split()}
        for node in tree.body:
            if isinstance(node, Definition):
                self.defined[node.name] = node
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                self.defined[node.targets[0].id] = node.value
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
                self.defined[node.target.id] = node.value


@functools.cache
def _source(module: str) -> _Source:
    top, *below = module.split(".")
    if top == ROOT.name:
        folders = [ROOT]
    else:
        try:
            spec = importlib.util.find_spec(top)  # of a name without dots: finds without importing
        except (ImportError, ValueError) as error:
            raise Unreadable(module) from error
        folders = [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []
        if spec and spec.origin and not below and not folders:
            return _Source(module, Path(spec.origin))
    for folder in folders:
        place = folder.joinpath(*below)
        # A package or a module, as Python would look for them.
        for path in (place / "__init__.py", place.with_suffix(".py")):
            if path.is_file():
                return _Source(module, path)
    raise Unreadable(module)


def _defined(module: str, name: str, deepest: int = 8) -> tuple[_Source, ast.AST]:
    """Where a name is defined, followed through faces and imports."""
    source = _source(module)
    if name in source.defined:
        return source, source.defined[name]
    if name not in source.imported or not deepest:
        raise Unreadable(f"{module}.{name}")
    return _defined(*source.imported[name], deepest - 1)


def _parameters(
    source: _Source, definition: Definition
) -> Iterator[tuple[_Source, Mapping[str, ast.expr | None]]]:
    """The keyword-only parameters; of a class without `__init__`, its fields or those of what it inherits."""
    if isinstance(definition, ast.FunctionDef):
        yield source, {a.arg: a.annotation for a in definition.args.kwonlyargs}
        for place, shared in _unpacked(source, definition):
            for above, parent in (*_parents(place, shared), (place, shared)):
                yield above, _fields(parent)
        return
    for part in definition.body:
        if isinstance(part, ast.FunctionDef) and part.name == "__init__":
            yield from _parameters(source, part)
            return
    if any("dataclass" in ast.unparse(decorator) for decorator in definition.decorator_list):
        yield source, _fields(definition)
    else:
        for place, parent in _parents(source, definition):
            yield from _parameters(place, parent)


def _fields(definition: ast.ClassDef) -> dict[str, ast.expr | None]:
    return {
        p.target.id: p.annotation
        for p in definition.body
        if isinstance(p, ast.AnnAssign) and isinstance(p.target, ast.Name)
    }


def _unpacked(source: _Source, definition: ast.FunctionDef) -> Iterator[tuple[_Source, ast.ClassDef]]:
    """The TypedDict of `**values: Unpack[Shared]` (PEP 692)."""
    rest = definition.args.kwarg
    if rest and isinstance(rest.annotation, ast.Subscript) and isinstance(rest.annotation.slice, ast.Name):
        place, found = _defined(source.name, rest.annotation.slice.id)
        if isinstance(found, ast.ClassDef):
            yield place, found


def _documented(source: _Source, definition: Definition) -> Iterator[Definition]:
    """What can document the parameters: the target, its `__init__`, what these share, and its parents."""
    yield definition
    if isinstance(definition, ast.FunctionDef):
        for place, shared in _unpacked(source, definition):
            yield from _documented(place, shared)
    else:
        for part in definition.body:
            if isinstance(part, ast.FunctionDef) and part.name == "__init__":
                yield from _documented(source, part)
        for place, parent in _parents(source, definition):
            yield from _documented(place, parent)


def _parents(source: _Source, definition: ast.ClassDef) -> Iterator[tuple[_Source, ast.ClassDef]]:
    for parent in definition.bases:
        if isinstance(parent, ast.Name) and parent.id in {*source.defined, *source.imported}:
            try:
                place, found = _defined(source.name, parent.id)
            except Unreadable:
                continue
            if isinstance(found, ast.ClassDef):
                yield place, found


def _lines(definition: Definition) -> dict[str, str]:
    """Parameter -> its description, as a reader of YAML takes it."""
    return {n: _NONE.sub("null", text) for n, text in documented(ast.get_docstring(definition) or "").items()}


def documented(docstring: str, sections: Container[str] = _SECTIONS) -> dict[str, str]:
    """Name -> its description, without the last full stop, from sections such as `Args:` of a docstring."""
    found: dict[str, str] = {}
    names: list[str] = []
    inside, margin = False, 0
    for line in docstring.splitlines():
        indent, text = len(line) - len(line.lstrip()), line.strip()
        if not indent:
            inside, margin = text in sections, 0
        elif inside and text:
            margin = margin or indent
            if indent == margin:
                head, _, text = text.partition(": ")
                names = [name.strip() for name in head.split(",")]
            for name in names:
                found[name] = f"{found.get(name, '')} {text}".strip()
    return {name: text.rstrip(".") for name, text in found.items()}


def _value(node: ast.AST | None, source: _Source) -> Any:
    """An annotation, evaluated."""
    if node is None:
        return Any
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str):  # an annotation in quotes; a Literal's are read in `_subscripted`
            return _value(ast.parse(node.value, mode="eval").body, source)
        return node.value
    if isinstance(node, ast.Name):
        return _named(node.id, source)
    if isinstance(node, ast.BinOp):
        left, right = _value(node.left, source), _value(node.right, source)
        if isinstance(node.op, ast.BitOr):
            return typing.Union[left, right]  # noqa: UP007  # `None | X` of two values
        if type(node.op) in _ARITHMETIC:
            return _ARITHMETIC[type(node.op)](left, right)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand, source)
    if isinstance(node, ast.Subscript):
        return _subscripted(node, source)
    if isinstance(node, ast.Call):
        return _value(node.func, source)(*(_argument(a, source) for a in node.args))
    raise Unreadable(ast.dump(node))


def _argument(node: ast.AST, source: _Source) -> Any:
    """A value in a Literal or a limit, where a text is itself and not an annotation in quotes."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(_argument(part, source)) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return _argument(node.value, source)
    if isinstance(node, ast.Name) and node.id in source.defined:
        return _argument(source.defined[node.id], source)
    return _value(node, source)


def _subscripted(node: ast.Subscript, source: _Source) -> Any:
    outer = _value(node.value, source)
    inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    literal = outer in (typing.Literal, typing.Annotated)
    arguments = tuple((_argument if literal else _value)(item, source) for item in inner)
    if outer is typing.Annotated:
        arguments = (_value(inner[0], source), *arguments[1:])
    return outer[arguments if len(arguments) > 1 else arguments[0]]


def _named(name: str, source: _Source) -> Any:
    if name in source.defined:
        found = source.defined[name]
        return _stub(name) if isinstance(found, Definition) else _value(found, source)
    module, original = source.imported.get(name, ("", name))
    if module in _LIBRARIES:
        return getattr(_LIBRARIES[module], original)
    if module.partition(".")[0] in (ROOT.name, source.name.partition(".")[0]):
        place, found = _defined(module, original)
        return _stub(original) if isinstance(found, Definition) else _value(found, place)
    if name in _BUILT_IN:
        return _BUILT_IN[name]
    return _stub(original)


def module_of(target: str) -> str | None:
    """The module that a public name leads to, from the face of its package only."""
    package, _, name = RENAMED.get(target, target).rpartition(".")
    try:
        source = _source(package)
    except Unreadable:
        return None
    return source.imported[name][0] if name in source.imported else package


def public_names(package: str) -> list[str]:
    """The names of a package's face, in their order."""
    try:
        return list(_source(package).imported)
    except Unreadable:
        return []


def alias(module: str, name: str) -> Any:
    """An annotation that a module defines by name, such as `Format = Literal["pt2", "onnx"]`.

    Raises:
        Unreadable: where it does not exist.
    """
    source, node = _defined(module, name)
    return _value(node, source)


@functools.cache
def _stub(name: str) -> type:
    """An empty class in place of one that is not imported."""
    return type(name, (), {})
