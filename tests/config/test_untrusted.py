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
        ("a: ${b}\n" * 17, "holds more than 16 interpolations"),
        ("a: !!python/name:os.system\n", "holds a YAML tag"),
        ("a: [\n", "is no YAML"),
    ],
)
def test_a_folder_of_configs_is_looked_at_before_it_is_used(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "strategy").mkdir()
    (tmp_path / "strategy" / "good.yaml").write_text("a: ${b}\n")
    check_configs(tmp_path)
    (tmp_path / "strategy" / "theirs.yaml").write_text(text)
    with pytest.raises(RequestError, match=rf"^--config-dir: .*theirs.yaml {words}.*; mend or remove it$"):
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
        ({"job": {"env_set": {"A": "b"}}}, "hydra.job.env_set: a config sets no environment"),
        ({"launcher": {"_target_": "evil.Launcher"}}, "hydra.launcher._target_: 'evil.Launcher' is none of"),
        ({"job_logging": {"handlers": [{"class": "evil.Handler"}]}}, "hydra.job_logging.handlers.class: "),
        ({"job_logging": {"()": "evil.make"}}, "hydra.job_logging.(): 'evil.make' is not a logging handler"),
    ],
)
def test_hydra_is_asked_for_nothing_but_itself(node: dict[str, Any], line: str) -> None:
    check_hydra({"launcher": {"_target_": "hydra._internal.core_plugins.x"}, "job": None}, [], [])
    with pytest.raises(RequestError) as caught:
        check_hydra(node, [], [])
    assert str(caught.value).startswith(line)


def test_trust_counts_on_the_command_line_alone() -> None:
    check_hydra({}, ["trust=[mine]"], ["mine"])
    with pytest.raises(RequestError, match=r"^trust: stands in a config; write it on the command line"):
        check_hydra({}, ["seed=1"], ["mine"])


def test_loggers_of_a_run_send_where_the_command_line_says() -> None:
    theirs = {"mlflow": {"tracking_uri": "https://theirs.example"}}
    for given in (["logger"], ["logger.mlflow.tracking_uri"]):
        check_loggers(theirs, given, "outputs")
    check_loggers({"mlflow": {"tracking_uri": "sqlite:///outputs/mlflow.db"}}, [], "outputs")
    check_loggers({"wandb": {"mode": "offline", "entity": None}}, [], "outputs")
    with pytest.raises(RequestError, match=r"^logger\.mlflow\.tracking_uri: https://theirs\.example is an"):
        check_loggers(theirs, ["seed"], "outputs")


def test_a_search_path_names_folders_alone() -> None:
    check_typed(["hydra.searchpath=[file:///tmp/mine]", "seed=1"])
    with pytest.raises(RequestError, match="names more than folders; name a folder by --config-dir"):
        check_typed(["hydra.searchpath=[pkg://evil]"])
