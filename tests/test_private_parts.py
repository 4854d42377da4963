"""Private parts of other packages that this one uses for want of a public way: all are in `PRIVATE`."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from typing import NamedTuple

import pytest
import torch
from torch import nn
from torch.utils import _python_dispatch

from tests.kit.places import REPOSITORY

SOURCE = REPOSITORY / "src" / "coldstart_cli"


class Private(NamedTuple):
    """One use.

    Attributes:
        bound: the requirement of pyproject.toml whose versions have it.
        why: there is no public way.
        without: what happens in a version that lacks it.
    """

    file: str
    name: str
    bound: str
    why: str
    without: str


TORCH = "torch>=2.10"
PRIVATE = [
    Private(
        "tracing/dispatch.py", "torch.utils._python_dispatch.TorchDispatchMode", TORCH,
        "torch documents it as the way to see every operation, but gives it no public place",
        "the import fails: FLOPs and replays need another place to import it from",
    ),
    Private(
        "tracing/dispatch.py", "_should_skip_dynamo", TORCH,
        "torch otherwise imports its compiler (1 s) for every mode, to switch it off",
        "is never called: the compiler is imported, and all numbers stay",
    ),
    Private(
        "tracing/recorder.py", "_schema", TORCH,
        "nothing public says which arguments an operation changes in place",
        "the first recording fails with an AttributeError",
    ),
    Private(
        "tracing/compiled.py", "torch._inductor.standalone_compile", TORCH,
        "torch.compile traces Python anew and checks guards at every call; a recording needs neither",
        "hardware.compile=true is refused in one line, as where the compiler fails",
    ),
    Private(
        "training/eager.py", "__dynamo_disable", TORCH,
        "torch's optimizers otherwise import its compiler (1.2 s) on the first step, to switch it off",
        "is never read: the compiler is imported, and all numbers stay",
    ),
    Private(
        "models/network.py", "_parameters", TORCH,
        "a module's dictionaries are copied in a tenth of the time of copy.deepcopy",
        "the first evaluation fails with a KeyError; deepcopy would serve",
    ),
    Private("models/network.py", "_buffers", TORCH, "as `_parameters`", "as `_parameters`"),
    Private("models/network.py", "_modules", TORCH, "as `_parameters`", "as `_parameters`"),
    Private(
        "models/pretrained/features.py", "_no_split_modules", "transformers>=5",
        "nothing public says which modules of a network are its layers",
        "is taken for none: the network is divided as a whole, and needs more memory at once",
    ),
    Private(
        "models/updates/low_rank_layers.py", "_buffers", TORCH,
        "an attribute that is a Parameter would become one of the layer's",
        "factors are not the given ones: outputs are no longer peft's",
    ),
    Private(
        "models/updates/scaled_layers.py", "_buffers", TORCH,
        "as of low_rank_layers", "as of low_rank_layers",
    ),
    Private(
        "models/pretrained/features.py", "_load_from_state_dict", TORCH,
        "torch's documented place to override; a public hook would make `tree_of` copy the slow way",
        "is never called: other weights under a frozen encoder load without an error",
    ),
    *(
        Private(
            f"strategies/building_blocks/{name}.py", "_load_from_state_dict", TORCH,
            "torch's documented place to override",
            "is never called: what was computed of other values answers on",
        )
        for name in ("answers", "in_context")
    ),
    Private(
        "config/building.py", "_is_protocol", "python>=3.11",
        "typing.is_protocol is there from Python 3.13 on",
        "a protocol is taken for a class, and loggers of the user's own are refused",
    ),
]  # fmt: skip
"""Names without a module are attributes, given by name or overridden."""


def uses(text: str) -> Iterator[str]:
    """Private names that a module imports from others, or reads from objects that are not its own."""
    tree = ast.parse(text)
    own = {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute) and _is_own(n.value)}
    own |= {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if _is_private(alias.name))
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (n for n in names if _is_private(n) and not n.startswith("coldstart_cli"))
        elif isinstance(node, ast.Attribute) and _is_private(node.attr) and not _is_own(node.value):
            inherited = isinstance(node.value, ast.Call) and ast.unparse(node.value) == "super()"
            if (inherited or node.attr not in own) and ast.unparse(node) != "os._exit":  # it is documented
                yield node.attr
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("getattr", "setdefault")):
            names = [str(a.value) for a in node.args[:2] if isinstance(a, ast.Constant)]
            yield from (name for name in names if _is_private(name) or name.startswith("__dynamo"))


def _is_own(value: ast.expr) -> bool:
    return isinstance(value, ast.Name) and value.id in ("self", "cls")


def _is_private(name: str) -> bool:
    return any(part[:1] == "_" and part[-2:] != "__" for part in name.split("."))


def test_private_parts_in_use_are_those_of_the_table() -> None:
    table = {(entry.file, entry.name) for entry in PRIVATE}
    found = {(p.relative_to(SOURCE).as_posix(), u) for p in SOURCE.rglob("*.py") for u in uses(p.read_text())}
    assert found <= table, "use a public way, or say in PRIVATE why there is none"
    for file, name in table - found:  # overridden, or named in a way that is not looked for
        assert name in (SOURCE / file).read_text(), f"{file} no longer uses {name}: take it out of PRIVATE"


@pytest.mark.parametrize(
    "text",
    ["import a._b", "from a._b import c", "from a import _b", "a.b._c()", "getattr(a, '_b')",
     "class A:\n    def _f(self): super()._f()", "from __future__ import x\nx._C.y"],
)  # fmt: skip
def test_private_part_is_found_however_it_is_named(text: str) -> None:
    assert list(uses(text))


@pytest.mark.parametrize(
    "text",
    ["self._a", "from coldstart_cli.a import _b", "import __future__", "a.__name__", "getattr(a, 'b')",
     "class A:\n    def f(self, other): self._b = other._b", "os._exit(0)"],
)  # fmt: skip
def test_own_and_public_parts_are_not_taken_for_private(text: str) -> None:
    assert not list(uses(text))


def test_bounds_of_private_parts_are_those_of_the_package() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    of_extras = (one for extra in project["optional-dependencies"].values() for one in extra)
    stated = {*project["dependencies"], *of_extras, f"python{project['requires-python'].split(',')[0]}"}
    assert {entry.bound for entry in PRIVATE} <= stated


def test_private_parts_are_there_in_the_version_that_is_installed() -> None:
    mode = _python_dispatch.TorchDispatchMode
    assert isinstance(mode._should_skip_dynamo(), bool)
    schema = torch.ops.aten.add_.Tensor._schema
    written = schema.arguments[0].alias_info
    assert schema.is_mutable and written is not None and written.is_write
    assert {"_parameters", "_buffers", "_modules"} <= vars(nn.Linear(1, 1)).keys()
    assert callable(nn.Module._load_from_state_dict)
