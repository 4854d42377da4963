"""Names that configs knew earlier: runs, bundles and YAML files of before a move keep working.

tests/data/flat_layout holds what coldstart wrote while its modules lay in one folder, by these commands.
"""

from __future__ import annotations

import re
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from coldstart_cli.bundles.bundle import Bundle
from coldstart_cli.cli import main
from coldstart_cli.config import composition
from coldstart_cli.config.building import check
from coldstart_cli.core.strategy import Strategy
from coldstart_cli.errors import RequestError
from coldstart_cli.renamed import FIRST, RENAMED, REPLACED, as_first_named, renamed
from coldstart_cli.runs.run import Run, read_config, run_name
from tests.kit.places import REPOSITORY

EARLIER = REPOSITORY / "tests" / "data" / "flat_layout"
SHORT = ("experiment=smoke", "training.steps=4", "training.validation.every=2")
SHIFT = (
    "dataset=glyph_shift", "dataset.n_query=2", "training.validation.n_query=2", "evaluation.n_query=2",
    "dataset.n_unlabelled=1", "evaluation.k_shots=[1]", "strategy.memory_size=16", "model=conv4_small",
    "model.hidden=4", "model.groups=2", "strategy.lr=0.05", "strategy.head_lr=null",
)  # fmt: skip
COMMANDS = {
    "maml-sinusoid-mlp-s0-9e5fdd76": ("strategy=maml", "model=mlp", "model.hidden=[4]", "dataset=sinusoid"),
    "coral-glyph_shift-conv4_small-s0-8a1ea0ab": ("strategy=coral", *SHIFT),
    "mmd-glyph_shift-conv4_small-s0-d8a201ca": ("strategy=mmd", "strategy.unbiased=false", *SHIFT),
    "ccsa-glyph_shift-conv4_small-s0-3ee50e04": ("strategy=ccsa", *SHIFT),
}


@pytest.fixture
def earlier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with runs, a bundle and a table of before the move."""
    shutil.copytree(EARLIER, tmp_path / "outputs")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "outputs"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_same_command_finds_a_run_of_before_the_move(
    name: str, earlier: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(path for path in earlier.rglob("*") if "plots" not in path.parts)
    assert main(["train", *COMMANDS[name], *SHORT, "--quiet"]) == 0
    assert capsys.readouterr().out.strip() == f"outputs/{name}"
    after = sorted(path for path in earlier.rglob("*") if "plots" not in path.parts and path.name != ".lock")
    assert after == before


def test_a_run_of_before_the_move_is_evaluated_again(
    earlier: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = earlier / "ccsa-glyph_shift-conv4_small-s0-3ee50e04"
    assert main(["evaluate", f"run={run}", "evaluation.n_tasks=3", "--quiet"]) == 0
    assert len(list((run / "evaluations").iterdir())) == 2
    shutil.rmtree(earlier / "maml-sinusoid-mlp-s0-9e5fdd76")  # a regression is compared apart
    capsys.readouterr()
    assert main(["compare", str(earlier), "--csv"]) == 0
    rows = capsys.readouterr().out.splitlines()[1:]
    assert {row.split(",")[4] for row in rows} >= {"coral", "mmd", "ccsa"}


def test_a_bundle_of_before_the_move_answers_as_it_did(
    earlier: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = earlier.parent / "two.csv"
    table.write_text("a,b\n1,2\n9,-3\n")
    assert main(["predict", f"bundle={earlier / 'bundle'}", "input=two.csv"]) == 0
    assert capsys.readouterr().out == "x\t0.974\ttwo.csv row 2\ny\t0.958\ttwo.csv row 3\n"
    assert Bundle.load(earlier / "bundle").card.build.strategy["_target_"] == (
        "coldstart_cli.strategies.NearestCentroid"
    )


def test_configs_of_a_user_may_have_the_earlier_names(tmp_path: Path) -> None:
    (tmp_path / "strategy").mkdir()
    text = (REPOSITORY / "conf" / "strategy" / "maml.yaml").read_text()
    earlier = text.replace("coldstart_cli.strategies.MAML", "coldstart_cli.strategies.maml.MAML")
    assert earlier != text
    (tmp_path / "strategy" / "mine.yaml").write_text(earlier)
    overrides = [*composition.search_path([str(tmp_path)]), "strategy=mine"]
    said = "strategy._target_: coldstart_cli.strategies.maml.MAML is now called coldstart_cli.strategies."
    with pytest.warns(RuntimeWarning, match=re.escape(said)):
        ((_, config),) = composition.points(overrides)
    check(config["strategy"], "strategy", Strategy, [])


def test_configs_of_the_package_have_the_names_of_today(repository: Path) -> None:
    for path in (repository / "conf").rglob("*.yaml"):
        node = yaml.safe_load(path.read_text())
        assert renamed(node) == node, path


def test_every_name_of_today_can_be_imported_and_lies_at_the_face_of_a_package() -> None:
    for now in RENAMED.values():
        package, _, name = now.rpartition(".")
        assert package.count(".") == 1
        found = getattr(__import__(package, fromlist=[name]), name)
        assert found.__module__.startswith(package) and found.__name__ == name


def test_every_change_of_names_can_be_undone_for_a_hash() -> None:
    for first, now in RENAMED.items():
        assert as_first_named({"_target_": first}) == {"_target_": first}
        assert renamed({"_target_": FIRST[now]}) == {"_target_": now}


def test_a_run_of_the_first_format_reads_with_the_names_of_today() -> None:
    config = Run(REPOSITORY / "tests" / "data" / "run_format_1").config
    assert config["strategy"]["_target_"] == "coldstart_cli.strategies.MAML"
    assert config["training"]["validation"]["_target_"] == "coldstart_cli.experiment.ValidationPlan"


def test_the_name_of_a_run_does_not_depend_on_the_names_of_its_classes() -> None:
    config = read_config(EARLIER / "maml-sinusoid-mlp-s0-9e5fdd76" / "config.yaml")
    assert run_name(config, "f") == run_name(as_first_named(config), "f")


targets = st.sampled_from([*RENAMED, *RENAMED.values(), "mine.Thing"])
nodes: Any = st.recursive(
    st.integers() | st.text(max_size=5) | st.fixed_dictionaries({"_target_": targets}),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(nodes)
def test_renaming_twice_is_renaming_once(node: Any) -> None:
    with warnings.catch_warnings():
        assert renamed(renamed(node)) == renamed(node) == renamed(as_first_named(node))
        assert as_first_named(renamed(node)) == as_first_named(node)


def test_a_class_that_is_no_more_says_what_replaced_it() -> None:
    for target in REPLACED:
        with pytest.raises(RequestError, match=r"^strategy\._target_: .* was replaced by .*; train anew"):
            check({"_target_": target, "weight": 1.0}, "strategy", Strategy, [])
