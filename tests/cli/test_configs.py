"""`coldstart ls`, `cat` and `cp`."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from coldstart_cli.cli import main
from coldstart_cli.config import catalog
from coldstart_cli.package import ROOT, packaged_conf

SOURCE = ROOT.parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(SOURCE)}


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A --config-dir with a strategy, a nested experiment and a launcher."""
    folder = tmp_path / "own"
    for name, text in {
        "strategy/mine.yaml": "# @package _group_\n\n# Mine: \x1b[31mred\nlr: 1\n",
        "strategy/maml.yaml": "# hides nothing\n",
        "strategy/_part.yaml": "# a part\n",
        "strategy/bare.yaml": "lr: 1  # a comment, but no description\n",
        "experiment/paper/of_ones_own.yaml": "# @package _global_\n# Table 1\nseed: 1\n",
        "hydra/launcher/cluster.yaml": "# The cluster\n",
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_packaged_conf_is_the_folder_of_the_repository(repository: Path) -> None:
    assert packaged_conf() == repository / "conf"


def test_ls_lists_every_file_of_conf_with_a_description(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ls", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    files = {p for p in (repository / "conf").rglob("*.yaml") if p.parent != repository / "conf"}
    assert {Path(row["path"]) for rows in listed.values() for row in rows} == files
    assert {"strategy", "model", "dataset", "optimizer"} <= set(listed)
    assert not [row["path"] for rows in listed.values() for row in rows if not row["description"]]


def test_ls_of_a_group_lists_that_group_alone(capsys: pytest.CaptureFixture[str]) -> None:
    main(["ls", "optimizer"])
    out = capsys.readouterr().out
    assert out.startswith("optimizer\n") and "  adam " in out and "maml" not in out


def test_ls_reads_folders_of_ones_own(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["ls", "--json", "--config-dir", str(own)])
    listed = json.loads(capsys.readouterr().out)
    strategies = {row["name"]: row["description"] for row in listed["strategy"]}
    assert strategies["mine"] == r"Mine: \x1b[31mred"  # as text
    assert strategies["maml"].startswith("MAML")  # the first folder on the search path, as in Hydra
    assert strategies["bare"] == ""
    assert "_part" not in strategies
    experiments = {row["name"]: row["description"] for row in listed["experiment"]}
    assert experiments["paper/of_ones_own"] == "Table 1"
    assert "cluster" in [row["name"] for row in listed["hydra/launcher"]]


def test_plugins_are_found_without_being_imported(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site" / "package_of_a_plugin"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('imported')")
    own.rename(package / "conf")
    information = tmp_path / "site" / "theirs-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[coldstart.plugins]\ntheirs = package_of_a_plugin\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert catalog.plugin_confs() == [package / "conf"]
    assert catalog.find("strategy=mine", catalog.search_roots()).path.parent.parent == package / "conf"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["ls", "strategi"], "ls: there is no group 'strategi'; did you mean strategy?"),
        (["ls", "--jsn"], "--jsn: there is no such flag; did you mean --json?"),
        (["ls", "--config-dir", "/nowhere"], "--config-dir: /nowhere is not a folder; name one that"),
        (["cat", "strategy/mamll"], "there is no such configuration; did you mean strategy/maml?"),
        (["cat", "../../etc/passwd"], "../../etc/passwd: there is no such configuration; "),
        (["cat"], "cat: "),
    ],
)
def test_requests_are_refused_in_one_line(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1


@pytest.mark.parametrize("address", ["strategy/maml", "strategy=maml", "strategy/maml.yaml"])
def test_cat_prints_the_file(address: str, repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["cat", address])
    assert capsys.readouterr().out == (repository / "conf/strategy/maml.yaml").read_text()


def test_cp_copies_and_says_what_to_type(
    tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["cp", "strategy/maml", "my/strategy/mine.yaml"]) == 0
    assert Path("my/strategy/mine.yaml").read_bytes() == (repository / "conf/strategy/maml.yaml").read_bytes()
    assert capsys.readouterr().out.endswith("coldstart train --config-dir my strategy=mine\n")
    assert catalog.find("strategy/mine", catalog.search_roots(["my"])).name == "mine"
    main(["cp", "strategy/maml", "elsewhere/"])
    assert Path("elsewhere/maml.yaml").is_file()
    assert "move it into a folder DIR/strategy/" in capsys.readouterr().out


def test_cp_overwrites_only_when_forced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "mine.yaml"
    target.write_text("mine")
    assert main(["cp", "strategy/maml", str(target)]) == 2
    assert re.search("is there already; --force overwrites it", capsys.readouterr().err)
    assert target.read_text() == "mine"
    main(["cp", "strategy/maml", str(target), "--force"])
    assert "_target_" in target.read_text()


def test_cp_refuses_what_hydra_would_not_find(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cp", "strategy/maml", str(tmp_path / "mine.yml")]) == 2
    assert re.search(r"ends in \.yaml", capsys.readouterr().err)
    (tmp_path / "file").touch()
    assert main(["cp", "strategy/maml", str(tmp_path / "file" / "mine.yaml")]) == 2
    assert re.search("choose another place", capsys.readouterr().err)


def test_ls_imports_nothing_heavy() -> None:
    code = (
        "import sys; from coldstart_cli.cli import main; code = main(['ls']);"
        "heavy = {'torch', 'hydra', 'omegaconf', 'rich', 'yaml', 'numpy'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else code)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", ["ls", "cat strategy/maml"])
def test_a_reader_who_leaves_sees_no_traceback(command: str) -> None:
    program = f"{sys.executable} -m coldstart_cli {command}"
    line = ["bash", "-o", "pipefail", "-c", f"{program} | true"]
    done = subprocess.run(line, env=ENVIRONMENT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_letter_without_an_encoding_is_replaced(own: Path) -> None:
    (own / "strategy/mine.yaml").write_text("# Schrödinger\n", encoding="utf-8")
    command = [sys.executable, "-m", "coldstart_cli", "ls", "strategy", "--config-dir", str(own)]
    environment = {**ENVIRONMENT, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "Schr?dinger" in done.stdout
