"""Where the package lies."""

from __future__ import annotations

from pathlib import Path

import pytest

import coldstart_cli
from coldstart_cli import package
from coldstart_cli.errors import RequestError


def test_the_package_knows_its_folder_and_its_configs(repository: Path) -> None:
    assert Path(coldstart_cli.__file__).parent == package.ROOT
    assert package.packaged_conf() == repository / "conf"


def test_the_page_of_errors_is_found_in_a_checkout_and_inside_an_installed_package(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert package.errors_page() == repository / "docs" / "errors.md"
    root = tmp_path / "site" / "lib" / "coldstart_cli"
    (root / "docs").mkdir(parents=True)
    monkeypatch.setattr(package, "ROOT", root)
    with pytest.raises(RequestError, match=r"errors.md: is missing; install coldstart-cli again"):
        package.errors_page()
    (root / "docs" / "errors.md").touch()
    assert package.errors_page() == root / "docs" / "errors.md"


def test_configs_inside_an_installed_package_are_found_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "site" / "coldstart_cli"
    (root / "conf").mkdir(parents=True)
    monkeypatch.setattr(package, "ROOT", root)
    with pytest.raises(RequestError, match=r"conf: the configurations are missing; install coldstart-cli"):
        package.packaged_conf()
    (root / "conf" / "__init__.py").touch()
    assert package.packaged_conf() == root / "conf"


def test_extras_are_had_from_the_clone_or_by_the_name_of_what_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert package.getting("hf,onnx") == "pip install -e '.[hf,onnx]' in the clone"
    monkeypatch.setattr(package, "ROOT", tmp_path / "site" / "lib" / "coldstart_cli")
    assert package.getting("hf") == "pip install 'coldstart-cli[hf]'"
