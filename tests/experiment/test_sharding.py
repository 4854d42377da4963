"""A strategy divided between two processes learns what one process learns, and is whole again afterwards."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from coldstart_cli.config import composition
from coldstart_cli.config.building import TRUSTED, located
from coldstart_cli.errors import RequestError
from coldstart_cli.experiment.assembly import assemble
from coldstart_cli.experiment.sharding import encoders
from coldstart_cli.processes import launch
from coldstart_cli.runs.run import Run
from coldstart_cli.testing.tiny_language_model import tiny_texts
from tests.kit import divided
from tests.kit.places import STRATEGIES

TINY = (
    "experiment=smoke", "dataset.n_query=4", "dataset.n_unlabelled=3", "dataset.n_way=3", "baseline=null",
    "model.hidden=8", "training.steps=4", "hardware.threads=1", "optimizer.clip_norm=1.0", "logger=[]",
    "evaluation.n_tasks=2", "optimizer.schedule=constant", "optimizer=adam", "hardware=cpu_x2",
    "training.log_every=1", "training.validation.every=2", "training.validation.n_tasks=2",
    "hardware.shard=true",
)  # fmt: skip

STOPPED = 7
"""Questions after which a run is stopped: between two steps, and in the midst of a validation's tasks."""

pytestmark = pytest.mark.usefixtures("torch_settings")


@cache
def strategy_node(name: str) -> dict[str, Any]:
    """Of a config: which strategy is chosen changes nothing else in it."""
    ((_, config),) = composition.points([f"strategy={name}"])
    node: dict[str, Any] = config["strategy"]
    return node


def tiny(strategy: str, *overrides: str) -> dict[str, Any]:
    """A config whose batches of five examples two processes cannot share alike."""
    ((_, config),) = composition.points([*TINY, *overrides])
    config["strategy"] = copy.deepcopy(strategy_node(strategy))
    _set(config["strategy"], {"batch_size": 5, "source_training": True})
    if strategy == "adabn":  # it serves no other norm
        config["model"]["norm"] = "batch"
    if "teacher" in config["strategy"]:
        config["strategy"]["teacher"] = config["model"]
    return config


def _set(node: dict[str, Any], values: dict[str, Any]) -> None:
    node.update({key: value for key, value in values.items() if key in node})


def by_one(config: dict[str, Any]) -> dict[str, Any]:
    return {**config, "hardware": {**config["hardware"], "processes": 1, "shard": False}}


def shardable() -> dict[str, dict[str, Any]]:
    """One config of each class that says so of itself, but those over pretrained models."""
    found: dict[str, dict[str, Any]] = {}
    for name in STRATEGIES:
        target = strategy_node(name)["_target_"]
        kind = located(target, "strategy", TRUSTED)
        if target in found or not getattr(kind, "shardable", True) or needs_model(kind) != "any":
            continue
        config = tiny(name)
        strategy = assemble(by_one(config)).strategy  # its values may take back what its class says
        if strategy.shardable and strategy.learns_from_source:
            found[target] = config
    return {target.rpartition(".")[2]: config for target, config in found.items()}


def needs_model(kind: object) -> object:
    return getattr(kind, "needs_model", "any")


@pytest.mark.timeout(600)
def test_two_processes_that_share_weights_train_as_one_and_continue_one_another(tmp_path: Path) -> None:
    """Of convolutions, and of rows that are odd; all asked of one pair, as to start it takes longest."""
    configs = {"finetune": tiny("finetune"), "wide": tiny("finetune", "model=mlp", "model.hidden=[801]")}
    one, short, long = (started(tmp_path / name, configs["finetune"]) for name in ("one", "short", "long"))
    divided.train_run(by_one(configs["finetune"]), str(one.path), None)
    divided.train_run(by_one(configs["finetune"]), str(long.path), STOPPED)
    assert latest(long)["step"] == 3
    jobs = [(configs["finetune"], str(short.path), STOPPED), (configs["finetune"], str(long.path), None)]
    train_and_compare(configs, tmp_path, jobs=jobs)
    assert latest(short)["step"] == 3
    with pytest.warns(RuntimeWarning, match="was trained on 2 processes and continues with 1"):
        divided.train_run(by_one(configs["finetune"]), str(short.path), None)
    for run in (short, long):
        assert latest(run)["step"] == latest(one)["step"] == 4
        for part in ("strategy", "optimizers", "best"):
            same(latest(run)[part], latest(one)[part], run.path.name)
        same(run.checkpoints.best()["strategy"], one.checkpoints.best()["strategy"], run.path.name)
        # What is saved is plain: another coldstart reads it, and knows nothing of shares.
        assert all(type(tensor) is Tensor for tensor in latest(run)["strategy"].values())
    said_of_each(configs["wide"], (tmp_path / "forecast").read_text())


def started(path: Path, config: dict[str, Any]) -> Run:
    run = Run(path)
    path.mkdir()
    run.create(config, {})
    return run


def latest(run: Run) -> dict[str, Any]:
    state = run.checkpoints.latest()
    assert state is not None
    return state


def said_of_each(config: dict[str, Any], forecast: str) -> None:
    """What a dry run says of each process: of the encoder its part, of the head all, and Adam's moments."""
    said = re.search(
        r"of each of 2 processes at its peak: weights ([\d.]+), gradients ([\d.]+), optimizer ([\d.]+), "
        r"whole weights to adapt with ([\d.]+);",
        forecast,
    )
    assert said is not None
    strategy = assemble(by_one(config)).strategy
    (encoder,) = encoders(strategy)
    n, n_all = (sum(p.numel() for p in module.parameters()) for module in (encoder, strategy))
    own, each = (n_all - n / 2) * 4 / 2**20, (n * 4) / 2**20
    assert each > 2
    assert [float(x) for x in said.groups()] == pytest.approx([own, own, 2 * own, each], abs=0.06)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_strategy_that_calls_itself_shardable_is(tmp_path: Path) -> None:
    configs = shardable()
    assert {"FineTune", "Distillation", "NearestCentroid", "DomainAdversarial", "AdaBN"} <= configs.keys()
    configs["relations"] = tiny("relational")  # of a whole batch, which every process then computes
    train_and_compare(configs, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore:.*lm_head:UserWarning")
def test_layers_of_a_pretrained_network_are_gathered_one_by_one(tiny_lm: Path, tmp_path: Path) -> None:
    """Also where their activations are computed again for the gradient, in float32."""
    text = (
        "dataset=text", f"dataset.root={tiny_texts(tmp_path / 'a.csv')}", "model=causal_lm",
        f"model.path={tiny_lm}", "model.preprocess.max_length=16",
    )  # fmt: skip
    without = [o for o in TINY if not o.startswith("model.hidden")]
    configs = {}
    for checkpointing in (False, True):
        more = (*text, f"model.checkpointing={checkpointing}")
        ((_, config),) = composition.points([*without, *more])
        config["strategy"] = copy.deepcopy(strategy_node("finetune"))
        _set(config["strategy"], {"batch_size": 5})
        configs[f"checkpointing={checkpointing}"] = config
    (encoder,) = encoders(assemble(by_one(config)).strategy)
    blocks = encoder.blocks()
    assert [type(block).__name__ for block in blocks] == ["LlamaDecoderLayer"] * 2
    train_and_compare(configs, tmp_path, double=False, rtol=1e-3, atol=1e-5)


def train_and_compare(
    configs: dict[str, dict[str, Any]],
    tmp_path: Path,
    double: bool = True,
    rtol: float = 1e-7,
    atol: float = 1e-8,
    jobs: Sequence[tuple[dict[str, Any], str, int | None]] = (),
) -> None:
    """By one process here, and by a pair, which then has jobs to do; all that they learned and say."""
    _same = partial(same, rtol=rtol, atol=atol)
    in_its_type = divided.in_double if double else lambda work: work()
    alone = {name: in_its_type(partial(divided.trained, by_one(c))) for name, c in configs.items()}
    launch.launch(divided.train_all, (configs, str(tmp_path), double, jobs), 2)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    for name, one in alone.items():
        _same(first[name]["state"], one["state"], name)
        _same(first[name]["optimizers"], one["optimizers"], name)
        for ours, theirs in zip(first[name]["metrics"], one["metrics"], strict=True):
            assert ours == pytest.approx(theirs, rel=10 * rtol, abs=atol), name
        for two in (first[name], second[name]):
            _same(two["said"], one["said"], name)
            _same(two["ended"], one["ended"], name)
            assert two["total"] == pytest.approx(one["total"], rel=rtol), name
        # Heads are held by both; of encoders each holds a part, of weights, gradients and moments alike.
        whole, *parts = (of["counts"] for of in (one, first[name], second[name]))
        assert whole["weights"] == sum(part["weights"] for part in parts), name
        assert max(part["weights"] for part in parts) <= 0.6 * whole["weights"], name
        assert whole["gradients"] == sum(part["gradients"] for part in parts), name
        saved = 2 * (whole["gradients"] - max(part["gradients"] for part in parts))
        assert whole["moments"] - max(part["moments"] for part in parts) >= saved > 0, name


def same(ours: Any, theirs: Any, name: str, rtol: float = 1e-7, atol: float = 1e-8) -> None:
    if isinstance(theirs, dict):
        assert ours.keys() == theirs.keys(), name
        for key in theirs:
            same(ours[key], theirs[key], f"{name} {key}", rtol, atol)
    elif isinstance(theirs, list | tuple):
        for one, other in zip(ours, theirs, strict=True):
            same(one, other, name, rtol, atol)
    elif isinstance(theirs, Tensor):
        assert torch.allclose(ours, theirs, rtol=rtol, atol=atol), (name, ours, theirs)
    else:
        assert ours == theirs, name


@pytest.mark.parametrize(
    ("strategy", "overrides", "why"),
    [
        ("maml", [], "this strategy's training puts tensors in the place of its network's weights, or "),
        ("scratch", [], "nothing learns from the source; "),
        ("fitnets", [], "this strategy's training puts tensors"),
        ("finetune", ["model=mlp", "model.hidden=[]"], "no encoder learns; "),
    ],
)
def test_what_cannot_be_divided_is_refused_before_training(
    strategy: str, overrides: list[str], why: str
) -> None:
    ((_, config),) = composition.points([
        "experiment=smoke", f"strategy={strategy}", "baseline=null", "hardware=cpu_x2", "hardware.shard=true",
        *overrides,
    ])  # fmt: skip
    with pytest.raises(RequestError) as caught:
        assemble(config)
    assert str(caught.value).startswith(f"hardware.shard: true, and {why}")
    assert "or write false" in str(caught.value)
