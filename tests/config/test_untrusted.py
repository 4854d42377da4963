"""Configs that somebody else may have written: each is refused by its key, before Hydra acts on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from coldstart_cli.config import untrusted
from coldstart_cli.config.untrusted import check_configs, check_hydra, check_loggers, check_typed
from coldstart_cli.errors import RequestError


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("".join(f"a{i}: ${{b}}\n" for i in range(17)), "holds more than 16 interpolations"),
        ("a: !!python/name:os.system\n", "holds a YAML tag"),
        ("a: [\n", "is not YAML"),
    ],
)
def test_a_folder_of_configs_is_looked_at_before_it_is_used(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "strategy").mkdir()
    (tmp_path / "strategy" / "good.yaml").write_text("a: ${b}\n")
    check_configs(tmp_path)
    (tmp_path / "strategy" / "theirs.yaml").write_text(text)
    with pytest.raises(RequestError, match=rf"^--config-dir: .*theirs.yaml {words}.*; fix or remove it$"):
        check_configs(tmp_path)


def test_a_folder_of_more_files_than_configs_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(untrusted, "MOST_FILES", 2)
    for i in range(3):
        (tmp_path / f"{i}.yaml").write_text("a: 1\n")
    with pytest.raises(RequestError, match="holds more than 2 YAML files"):
        check_configs(tmp_path)


@pytest.mark.parametrize(
    ("node", "line"),
    [
        ({"callbacks": {"x": 1}}, "hydra.callbacks: would run code"),
        ({"job": {"env_set": {"A": "b"}}}, "hydra.job.env_set: a config must not set the environment"),
        (
            {"launcher": {"_target_": "evil.Launcher"}},
            "hydra.launcher._target_: 'evil.Launcher' is no launcher",
        ),
        ({"job_logging": {"handlers": [{"class": "evil.Handler"}]}}, "hydra.job_logging.handlers.class: "),
        (
            {"job_logging": {"()": "evil.make"}},
            "hydra.job_logging.(): 'evil.make' is none of logging.",
        ),
    ],
)
def test_hydra_is_asked_for_nothing_but_itself(node: dict[str, Any], line: str) -> None:
    ours = "hydra._internal.core_plugins.x.Launcher"
    check_hydra({"launcher": {"_target_": ours}, "job": None}, [], [], {ours})
    with pytest.raises(RequestError) as caught:
        check_hydra(node, [], [], {ours})
    assert str(caught.value).startswith(line)


def test_trust_counts_on_the_command_line_alone() -> None:
    check_hydra({}, ["trust=[mine]"], ["mine"], ())
    with pytest.raises(RequestError, match=r"^trust: is set in a config; write it on the command line"):
        check_hydra({}, ["seed=1"], ["mine"], ())


def test_loggers_of_a_run_send_where_the_command_line_says() -> None:
    theirs = {"mlflow": {"tracking_uri": "https://theirs.example"}}
    for given in (["logger"], ["logger.mlflow.tracking_uri"]):
        check_loggers(theirs, given, "outputs")
    check_loggers({"mlflow": {"tracking_uri": "sqlite:///outputs/mlflow.db"}}, [], "outputs")
    check_loggers({"wandb": {"mode": "offline", "entity": None}}, [], "outputs")
    with pytest.raises(RequestError, match=r"^logger\.mlflow\.tracking_uri: https://theirs\.example is an"):
        check_loggers(theirs, ["seed"], "outputs")


@pytest.mark.parametrize("folders", ["pkg://evil", "file:///tmp/mine"])
def test_a_search_path_is_not_typed(folders: str) -> None:
    check_typed(["seed=1"])
    with pytest.raises(RequestError, match=r"^hydra\.searchpath: is not typed; name folders .* --config-dir"):
        check_typed([f"hydra.searchpath=[{folders}]", "seed=1"])
