"""The page of the public Python API: signatures and docstrings of `coldstart_cli.__all__`."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import coldstart_cli
from coldstart_cli.bundles.evaluating.evaluation import Evaluation
from coldstart_cli.bundles.labelling.labelling import Proposed
from coldstart_cli.choosing.choosing import Row, Verdict
from reference.dataclass_fields import own_docstring, section
from reference.markdown import Unsaid, body, cell, code, fenced, first_sentence, said_of, sections, table

RETURNED = (Verdict, Row, Proposed, Evaluation)
"""What functions return beside the public classes."""

_LINE = 88


def page() -> str:
    """The page.

    Raises:
        Unsaid: for a function, class, method or argument without a sentence.
    """
    public = {name: getattr(coldstart_cli, name) for name in coldstart_cli.__all__}
    functions = {n: f for n, f in public.items() if inspect.isfunction(f)}
    classes = {n: c for n, c in public.items() if n not in functions and not issubclass(c, Exception)}
    errors = {n: c for n, c in public.items() if n not in {**functions, **classes}}
    rows = [
        [f"[`{name}`](#{name.lower()})", cell(first_sentence(own_docstring(one)))]
        for name, one in public.items()
    ]
    parts = [
        "# Python API",
        "What `import coldstart_cli` offers; [From Python](../python.md) shows it at work. Importing it "
        "imports neither torch nor numpy: each name is looked up when it is first used.",
        table(("name", "what"), rows),
        "## Functions",
    ]
    for name, function in functions.items():
        parts += _callable(name, function, "###")
    parts.append("## Classes")
    for name, one in classes.items():
        parts += [*_class(name, one)]
    parts.append("## What functions return")
    for one in RETURNED:
        parts += section(one, "###", RETURNED)
    parts.append("## Errors")
    for name, one in errors.items():
        parts += [f"### {name} {{ #{name.lower()} }}", body(own_docstring(one))]
    return "\n\n".join(parts) + "\n"


def _class(name: str, one: type) -> Iterator[str]:
    said = own_docstring(one)
    shown = [example] if (example := _example(said)) else []
    if dataclasses.is_dataclass(one):
        yield from section(one, "###", RETURNED, example="\n\n".join(shown))
    else:
        yield f"### {name} {{ #{name.lower()} }}"
        yield body(said)
        yield from shown
        attributes = said_of(said, "Attributes")
        yield table(("attribute", "meaning"), [[code(n), cell(text)] for n, text in attributes.items()])
    for below, member in vars(one).items():
        if below.startswith("_"):
            continue
        if isinstance(member, property):
            yield f"#### {name}.{below}"
            yield body(own_docstring(member.fget))
        elif isinstance(member, classmethod) or inspect.isfunction(member):
            yield from _callable(f"{name}.{below}", getattr(one, below), "####")


def _callable(name: str, function: Callable[..., Any], level: str) -> Iterator[str]:
    """A function or method: signature, what it does, arguments, example, errors."""
    said = own_docstring(function)
    yield f"{level} {name} {{ #{name.lower().replace('.', '-')} }}"
    yield fenced(_signature(name, function), "python")
    yield body(said)
    arguments = said_of(said, "Args")
    taken = [n for n in inspect.signature(function).parameters if n != "self"]
    # A method that says what it does in one line may leave its arguments to their names.
    if unsaid := [n for n in taken if n not in arguments] if "." not in name else []:
        raise Unsaid(f"coldstart_cli.{name}: its argument {unsaid[0]} has no line under Args; write one")
    if arguments:
        yield table(("argument", "meaning"), [[code(n), cell(text)] for n, text in arguments.items()])
    if example := _example(said):
        yield example
    if errors := said_of(said, "Raises"):
        yield table(("raises", "when"), [[code(n), cell(text)] for n, text in errors.items()])


def _example(docstring: str) -> str:
    found = sections(docstring).get("Example", "")
    return fenced(inspect.cleandoc(f"\n{found}"), "pycon") if found else ""


def _signature(name: str, function: Callable[..., Any]) -> str:
    """As one writes it, over several lines where it is long."""
    signature = inspect.signature(function)
    shown = f"{name}{_plain(str(signature))}"
    if len(shown) <= _LINE:
        return shown
    before, parameters = "", []
    for one in signature.parameters.values():
        if one.kind is one.KEYWORD_ONLY and before not in ("*", "**") and "*" not in parameters:
            starred = any(p.kind is p.VAR_POSITIONAL for p in signature.parameters.values())
            parameters += [] if starred else ["*"]
            before = "*"
        parameters.append(_plain(str(one)))
    returned = _plain(str(signature).rpartition(") -> ")[2])
    lines = "".join(f"    {parameter},\n" for parameter in parameters if parameter != "self")
    return f"{name}(\n{lines}) -> {returned}"


def _plain(text: str) -> str:
    return text.replace("'", "").replace("(self, ", "(").replace("(self)", "()")
