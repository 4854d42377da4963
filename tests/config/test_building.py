"""From configuration to objects: what is refused, in which words, and what is never imported."""

from __future__ import annotations

import importlib
import math
import os
import pathlib
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import pytest
from annotated_types import Ge
from hypothesis import given, settings
from hypothesis import strategies as st

from coldstart_cli.config.building import build, check, parameters_of, runtime_parameters
from coldstart_cli.core.strategy import Strategy
from coldstart_cli.core.tasks import TaskSource
from coldstart_cli.errors import RequestError
from coldstart_cli.experiment.trainer import TrainingPlan
from coldstart_cli.hardware import Hardware
from coldstart_cli.loggers.logger import Logger
from coldstart_cli.models.network import Encoder
from coldstart_cli.training.optimizers import SGD, Adam, OptimizerFactory

GOOD: dict[str, Any] = {
    "_target_": "coldstart_cli.training.SGD",
    "lr": 0.1,
    "momentum": 0.9,
    "nesterov": False,
    "weight_decay": 0,
    "schedule": "cosine",
    "warmup": 0.1,
    "clip_norm": None,
}
THEIRS = """\
from __future__ import annotations
from typing import Annotated, Literal, TypedDict, Unpack
from annotated_types import Ge

class Thing:
    def __init__(self, fact, *, child, size: int) -> None:
        self.fact, self.child, self.size = fact, child, size

class Shared(TypedDict):
    size: Annotated[int, Ge(1)]
    colour: Literal["red", "blue"]

class More(Shared):
    weight: float

class Sharing:
    def __init__(self, fact, *, own: int, **more: Unpack[More]) -> None:
        self.fact, self.own, self.more = fact, own, more

class Loose:
    def __init__(self, *, size: int, **anything: int) -> None:
        self.size = size

class Refusing:
    def __init__(self, *, size: int) -> None:
        raise ValueError("size: {} is odd; give an even one".format(size))
"""


def refusal(node: object, trust: Sequence[str] = ()) -> str:
    with pytest.raises(RequestError) as caught:
        check(node, "optimizer", OptimizerFactory, trust)
    message = str(caught.value)
    assert "\n" not in message
    assert ";" in message
    return message


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a package of somebody's own that can be imported."""
    (tmp_path / "their_package.py").write_text(THEIRS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "their_package", raising=False)
    importlib.invalidate_caches()
    return "their_package"


def test_check_accepts_what_fits() -> None:
    check(GOOD, "optimizer", OptimizerFactory, [])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lrr": 1.0}, "optimizer.lrr: SGD has no such parameter; did you mean lr?"),
        ({"zzzzz": 1.0}, "optimizer.zzzzz: SGD has no such parameter; known: clip_norm, lr"),
        ({"nesterov": 1}, "optimizer.nesterov: 1 is not true or false; give true or false"),
        ({"lr": True}, "optimizer.lr: True is not a number; give a number"),
        ({"lr": "0.1"}, "optimizer.lr: '0.1' is not a number; give a number"),
        ({"lr": None}, "optimizer.lr: null is not a number; give a number"),
        ({"lr": math.nan}, "optimizer.lr: nan is not a number"),
        ({"lr": 0}, "optimizer.lr: 0 is out of range; give a value above 0"),
        ({"lr": [0.1]}, "optimizer.lr: [0.1] is not a number"),
        ({"momentum": 1.1}, "optimizer.momentum: 1.1 is out of range; give a value at most 1"),
        ({"momentum": -0.1}, "optimizer.momentum: -0.1 is out of range; give a value at least 0"),
        ({"clip_norm": 0.0}, "optimizer.clip_norm: 0.0 is out of range; give a value above 0"),
        ({"clip_norm": "x"}, "optimizer.clip_norm: 'x' is not a number"),
        ({"schedule": "cosin"}, "optimizer.schedule: 'cosin' is not a valid choice; did you mean cosine?"),
        ({"schedule": None}, "optimizer.schedule: null is not a valid choice"),
        (
            {"_target_": "coldstart_cli.training.outer_loops.SDG"},
            "optimizer._target_: 'coldstart_cli.training.outer_loops.SDG' cannot",
        ),
        ({"_target_": 3}, "optimizer._target_: 3 is not trusted"),
    ],
)
def test_check_refuses_with_key_and_remedy(change: dict[str, Any], message: str) -> None:
    assert refusal({**GOOD, **change}).startswith(message)


def test_check_names_what_is_missing() -> None:
    without = {name: value for name, value in GOOD.items() if name != "lr"}
    assert refusal(without) == "optimizer.lr: missing; SGD needs it, give optimizer.lr=VALUE"


def test_check_finds_what_is_deep_inside(theirs: str) -> None:
    node = {"_target_": "their_package.Thing", "child": [{"second": {**GOOD, "lr": "x"}}], "size": 1}
    with pytest.raises(RequestError, match=r"^thing\.child\[0\]\.second\.lr: 'x'"):
        check(node, "thing", object, [theirs])


SHARING = {
    "_target_": "their_package.Sharing", "own": 1, "size": 2, "colour": "red", "weight": 0.5
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 0}, "thing.size: 0 is out of range; give a value at least 1"),
        ({"colour": "rad"}, "thing.colour: 'rad' is not a valid choice; did you mean red?"),
        ({"wieght": 1.0}, "thing.wieght: Sharing has no such parameter; did you mean weight?"),
        ({"more": {}}, "thing.more: Sharing has no such parameter; known: colour, own, size, weight"),
    ],
)
def test_check_knows_parameters_that_are_shared(theirs: str, change: dict[str, Any], message: str) -> None:
    check(SHARING, "thing", object, [theirs])
    with pytest.raises(RequestError, match=f"^{re.escape(message)}"):
        check({**SHARING, **change}, "thing", object, [theirs])
    without = {name: value for name, value in SHARING.items() if name != "weight"}
    with pytest.raises(RequestError, match=r"^thing\.weight: missing; Sharing needs it"):
        check(without, "thing", object, [theirs])


def test_parameters_that_are_shared_follow_those_of_ones_own(theirs: str) -> None:
    module = importlib.import_module(theirs)
    facts, values = parameters_of(module.Sharing)
    assert (facts, list(values)) == (["fact"], ["own", "size", "colour", "weight"])
    assert values["size"] == Annotated[int, Ge(1)]
    assert parameters_of(module.Loose) == ([], {"size": int})
    made = build(SHARING, "thing", object, [theirs], {"fact": "known"})
    assert made.more == {"size": 2, "colour": "red", "weight": 0.5}


def test_check_refuses_what_is_deeper_than_any_config() -> None:
    node: object = 1
    for _ in range(5000):
        node = [node]
    assert refusal({**GOOD, "lr": node}).endswith("is more than 32 levels deep; write a flatter config")


UNTRUSTED = [
    "os.system", "pathlib.Path.write_text", "builtins.eval", "subprocess.run", "torch.load", "torch.hub.load",
    "coldstart_cli.cli.command_line.os.system", "torch.nn.Linear", "torch.optim.SGD",
    "coldstart_cli.runs.run.shutil.rmtree", "coldstart_cli.runs.run.Path",
    "coldstart_cli.runs.run.shutil", "coldstart_cli.runs.run.Any",
    "torch.nn.modules.module.functools.partial",
    "torch.nn.modules.module.OrderedDict", "torch.nn.modules.module.os.system", "torch.nn.functional.torch",
    "torch.optim.optimizer.functools", "coldstart_cli_evil.Thing", "torch.nnn.Thing", "torch.optimal.Thing",
    "coldstart_cli", "", ".", "coldstart_cli.", "os", ".coldstart_cli.training.SGD",
    "coldstart_cli..os.system",
]  # fmt: skip


@pytest.mark.parametrize("target", UNTRUSTED)
def test_untrusted_target_is_refused_uncalled(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*args: object, **kwargs: object) -> None:
        raise AssertionError("was called")

    monkeypatch.setattr(os, "system", never)
    monkeypatch.setattr(pathlib.Path, "write_text", never)
    monkeypatch.setattr("shutil.rmtree", never)
    assert refusal({"_target_": target}).startswith("optimizer._target_: ")
    with pytest.raises(RequestError):
        build({**GOOD, "lr": [{"_target_": target}]}, "optimizer", OptimizerFactory, [], {})


def test_untrusted_target_is_refused_before_any_import(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "imported"
    (tmp_path / "evil_package.py").write_text(f"open({str(mark)!r}, 'w').close()\nclass Thing: pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    imported: list[str] = []
    monkeypatch.setattr(importlib, "import_module", lambda name: imported.append(name))
    first = {**GOOD, "child": [{"_target_": "evil_package.Thing"}]}
    assert "'evil_package.Thing' is not trusted" in refusal(first)
    assert imported == []
    assert "evil_package" not in sys.modules
    assert not mark.exists()


@pytest.mark.parametrize(
    "target",
    [
        "coldstart_cli.errors.RequestError", "coldstart_cli.runs.run.DETERMINING",
        "coldstart_cli.core.tasks.Inputs",
    ],
)  # fmt: skip
def test_target_without_a_signature_is_refused(target: str) -> None:
    assert refusal({"_target_": target}).startswith("optimizer._target_: ")


WRONG_KINDS = [
    ("coldstart_cli.hardware.Hardware", OptimizerFactory, "OptimizerFactory"),
    ("coldstart_cli.training.SGD", Encoder, "Encoder"),
    ("coldstart_cli.models.MLP", Strategy, "Strategy"),
    ("coldstart_cli.datasets.readers.download.fetch", TaskSource, "TaskSource"),
    ("coldstart_cli.datasets.readers.cache.cache_folder", TaskSource, "TaskSource"),
    ("coldstart_cli.cli.main", TaskSource, "TaskSource"),
    ("coldstart_cli.runs.run.Run", Strategy, "Strategy"),
    ("coldstart_cli.files.durable.write_bytes", Logger, "Logger"),
    ("coldstart_cli.loggers.MLflow", Hardware, "Hardware"),
    ("coldstart_cli.processes.streams.set_up", object, "object"),
]


@pytest.mark.parametrize(("target", "kind", "word"), WRONG_KINDS)
def test_target_of_another_kind_is_refused(target: str, kind: type, word: str) -> None:
    with pytest.raises(
        RequestError, match=rf"^key\._target_: \w+ does not make an? {word}; name one that does$"
    ):
        check({"_target_": target}, "key", kind, [])


def test_target_of_another_kind_is_refused_inside_a_node() -> None:
    plan = {
        "_target_": "coldstart_cli.experiment.TrainingPlan",
        "steps": 1,
        "log_every": 1,
        "examples": None,
        "trials": None,
    }
    plan |= {"checkpoint_seconds": 1.0, "validation": GOOD}
    still = {"shift": 0.0, "rotation": 0.0, "scale": 0.0}
    plan["augment"] = {"_target_": "coldstart_cli.training.Augmentation", **still}
    with pytest.raises(
        RequestError, match=r"^training\.validation\._target_: SGD does not make a Validation"
    ):
        check(plan, "training", TrainingPlan, [])
    with pytest.raises(RequestError, match=r"^training\.validation: .* is not a ValidationPlan; "):
        check({**plan, "validation": {"every": 1}}, "training", TrainingPlan, [])
    with pytest.raises(RequestError, match=r"^training\.steps: .* is not a whole number; |does not make"):
        check({**plan, "steps": GOOD}, "training", TrainingPlan, [])


def test_build_makes_objects_and_injects_facts(theirs: str) -> None:
    optimizer = build(GOOD, "optimizer", OptimizerFactory, [], {"n_steps": 10, "encoder": "unused"})
    assert isinstance(optimizer, SGD)
    assert (optimizer.lr, optimizer.clip_norm) == (0.1, None)
    node = {"_target_": "their_package.Thing", "child": GOOD, "size": 3}
    thing = build(node, "thing", object, [theirs], {"n_steps": 10, "fact": "known"})
    assert (thing.fact, thing.size) == ("known", 3)
    assert isinstance(thing.child, SGD)
    assert runtime_parameters(node, "thing", [theirs]) == {"fact", "n_steps"}  # those of nested nodes too
    node["child"] = {"a": [1, {"b": None}]}
    assert build(node, "thing", object, [theirs], {"fact": 1}).child == {"a": [1, {"b": None}]}


def test_build_trusts_what_the_command_line_names(theirs: str) -> None:
    node = {"_target_": "their_package.Refusing", "size": 3}
    assert "trust=[their_package]" in refusal(node)
    check(node, "thing", object, [theirs])


def test_build_puts_a_constructors_refusal_in_place(theirs: str) -> None:
    node = {"_target_": "their_package.Refusing", "size": 3}
    with pytest.raises(RequestError, match=r"^thing\.part\.size: 3 is odd; give an even one$"):
        build(node, "thing.part", object, [theirs], {})
    with pytest.raises(RequestError, match=r"^optimizer\.nesterov: needs momentum, which is 0; "):
        build({**GOOD, "nesterov": True, "momentum": 0}, "optimizer", OptimizerFactory, [], {"n_steps": 1})


def test_build_names_a_model_by_where_it_stands() -> None:
    node = {"_target_": "coldstart_cli.models.Conv4", "hidden": 8, "norm": "group", "groups": 8}
    node["downsample"] = "pool"
    for key, message in [
        ("model", r"^model: Conv4 reads images .* gives \(1,\); choose model=mlp$"),
        ("strategy.teacher", r"^strategy\.teacher: Conv4 reads .*; choose model@strategy\.teacher=mlp$"),
    ]:
        with pytest.raises(RequestError, match=message):
            build(node, key, Encoder, [], {"input_shape": (1,)})
    small = (
        r"^strategy\.teacher\.input_shape: .* choose strategy\.teacher\.downsample=stride or model@strategy"
    )
    with pytest.raises(RequestError, match=small):
        build(node, "strategy.teacher", Encoder, [], {"input_shape": (1, 8, 8)})


def test_build_cannot_override_facts_from_the_config() -> None:
    assert refusal({**GOOD, "n_steps": 5}).startswith("optimizer.n_steps: SGD has no such parameter")


words = st.text(alphabet="abz_. \n\x00${}é", max_size=12)
targets = st.one_of(
    words,
    words.map(lambda word: f"torch.nn.{word}"),
    words.map(lambda word: f"coldstart_cli.training.outer_loops.{word}"),
    st.sampled_from([GOOD["_target_"], "coldstart_cli.training.Adam", "torch.nn.Linear", "x" * 500]),
    st.integers(),
    st.none(),
)
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.just("x" * 900)
)
names = st.sampled_from(["_target_", *list(GOOD)[1:], "beta1", "child"])
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(names.filter(lambda n: n != "_target_"), inner, max_size=4),
        st.builds(lambda target, rest: {**rest, "_target_": target}, targets, st.dictionaries(names, inner)),
        st.builds(lambda name, value: {**GOOD, name: value}, names, inner),
    ),
    max_leaves=8,
)


@given(values)
@settings(max_examples=200, deadline=None)
def test_check_raises_nothing_but_one_line(node: object) -> None:
    try:
        check(node, "key", OptimizerFactory, [])
    except RequestError as error:
        message = str(error)
        assert "\n" not in message
        assert len(message) <= 300
        assert message.startswith("key")
        assert ";" in message


@given(st.dictionaries(st.sampled_from(["lr", "beta1", "warmup"]), scalars, min_size=1))
@settings(max_examples=100, deadline=None)
def test_check_accepts_only_what_the_constructor_can_use(change: dict[str, Any]) -> None:
    node = {
        **{n: v for n, v in GOOD.items() if n not in ("momentum", "nesterov", "_target_")},
        "beta1": 0.9,
        "beta2": 0.99,
        **change,
    }
    try:
        check({"_target_": "coldstart_cli.training.Adam", **node}, "key", OptimizerFactory, [])
    except RequestError:
        return
    assert 0 < node["lr"] <= math.inf
    assert 0 <= node["beta1"] <= 1
    Adam(10, **node)
