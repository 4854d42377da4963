"""Every way of installing gives a `coldstart` that finds its configurations; the source calls nothing unsafe.

Each test builds from a copy, so that nothing left from another build gets in, and installs without
isolation and without dependencies into an environment that sees the packages of this one.
"""

from __future__ import annotations

import ast
import itertools
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.reliability import Tries

PIP = ("--quiet", "--disable-pip-version-check", "--no-index", "--no-deps", "--no-build-isolation")
UNSAFE = {
    "pickle.load", "pickle.loads", "pickle.Unpickler", "marshal.load", "marshal.loads", "shelve.open",
    "dill.load", "dill.loads", "cloudpickle.load", "cloudpickle.loads", "joblib.load", "pandas.read_pickle",
    "yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.full_load", "yaml.Loader", "yaml.UnsafeLoader",
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "subprocess.getoutput",
    "subprocess.getstatusoutput", "hydra.utils.instantiate", "hydra.utils.call", "hydra.utils.get_method",
    "hydra.utils.get_object", "hydra.utils.get_class", "numpy.load", "torch.jit.load", "torch.hub.load",
    "shutil.unpack_archive", "tempfile.mktemp",
}  # fmt: skip
IMPORTS = {"importlib.import_module": ["src/coldstart_cli/config/building.py", "src/coldstart_cli/faces.py"]}
"""What may be called in the files named alone: there the targets of configs are checked before."""


def run(*command: str | Path, cwd: Path) -> str:
    """Output of a command that must succeed, in an environment that does not know this checkout."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PIP_CONSTRAINT")}
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture
def project(repository: Path, tmp_path: Path) -> Path:
    """A copy of what the package is built from."""
    return copied(repository, tmp_path)


@pytest.fixture(scope="module")
def wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy; what is installed otherwise holds the same files."""
    return build(copied(repository, tmp_path_factory.mktemp("wheel")), "--wheel")


def copied(repository: Path, where: Path) -> Path:
    copy = where / "project"
    for folder in ("src", "conf"):
        leave_out = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(repository / folder, copy / folder, ignore=leave_out)
    (copy / "docs").mkdir()
    for file in ("pyproject.toml", "README.md", "LICENSE", "docs/errors.md"):
        shutil.copy(repository / file, copy / file)
    return copy


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """The interpreter of a new environment which sees the packages installed here."""
    folder = tmp_path / "environment"
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    there = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path).strip()
    Path(there, "packages_of_the_tests.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def install(python: Path, *what: str | Path) -> None:
    # --ignore-installed: an installation of this package in the environment of the tests is left alone
    command = [sys.executable, "-m", "pip", "--python", python, "install", *PIP, "--ignore-installed"]
    run(*command, *what, cwd=python.parent)


def build(project: Path, kind: str) -> Path:
    run(
        sys.executable,
        "-m",
        "build",
        "--no-isolation",
        kind,
        "--outdir",
        project.parent / "dist",
        cwd=project,
    )
    (made,) = (project.parent / "dist").glob("*.whl" if kind == "--wheel" else "*.tar.gz")
    return made


def assert_works(python: Path, conf: Path, repository: Path) -> None:
    """The command, run elsewhere, lists the configurations of `conf`, and all that the repository has."""
    elsewhere = python.parents[1] / "elsewhere"
    elsewhere.mkdir()
    for command in ([python.parent / "coldstart"], [python, "-m", "coldstart_cli"]):
        listed = json.loads(run(*command, "ls", "--json", cwd=elsewhere))
        files = {Path(row["path"]).relative_to(conf) for rows in listed.values() for row in rows}
        kept = repository / "conf"
        assert files == {p.relative_to(kept) for p in kept.rglob("*.yaml") if p.parent != kept}
    code = "import importlib.resources as r; print(r.files('coldstart_cli.conf') / 'train.yaml')"
    assert Path(run(python, "-c", code, cwd=elsewhere).strip()) == conf / "train.yaml"
    code = "import sys, coldstart_cli.conf; print('torch' in sys.modules or 'hydra' in sys.modules)"
    assert run(python, "-c", code, cwd=elsewhere).strip() == "False"
    # Hydra's own way of finding it, down to a composed job
    composed = run(python.parent / "coldstart", "train", "strategy=protonet", "--cfg", "job", cwd=elsewhere)
    assert "ProtoNet" in composed
    assert run(python.parent / "coldstart", "explain", "E12", cwd=elsewhere).startswith("E12: ")


def installed_conf(python: Path) -> Path:
    (conf,) = python.parents[1].glob("lib/*/site-packages/coldstart_cli/conf")
    return conf


def test_editable_install_works_from_another_directory(project: Path, python: Path, repository: Path) -> None:
    install(python, "--editable", project)
    assert_works(python, project / "conf", repository)
    code = "from coldstart_cli.strategies import MAML; from coldstart_cli.datasets import glyphs"
    run(python, "-c", code, cwd=python.parents[1] / "elsewhere")


def recorded(lines: str) -> dict[str, str]:
    """The package's files and their digests, of a RECORD."""
    rows = [line.split(",") for line in lines.splitlines()]
    return {name: digest for name, digest, *_ in rows if name.startswith("coldstart_cli/") and digest}


def in_wheel(wheel: Path) -> dict[str, str]:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/RECORD"))
        return recorded(archive.read(name).decode())


def test_wheel_works_from_another_directory(wheel: Path, python: Path, repository: Path) -> None:
    install(python, wheel)
    assert_works(python, installed_conf(python), repository)
    laws = ("--pyargs", "coldstart_cli.testing", "--strategy", "protonet", "-k", "adapt_changes_nothing")
    assert "1 passed" in run(python, "-m", "pytest", *laws, cwd=python.parents[1] / "elsewhere")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    for folder, kept in (("coldstart_cli", "src/coldstart_cli"), ("coldstart_cli/conf", "conf")):
        for path in (repository / kept).rglob("*"):
            if path.suffix in (".py", ".yaml", ".txt", ".typed", ".html", ".css", ".js"):
                assert f"{folder}/{path.relative_to(repository / kept)}" in names


def test_install_from_the_folder_is_that_of_the_wheel(project: Path, python: Path, wheel: Path) -> None:
    install(python, project)
    (record,) = installed_conf(python).parents[1].glob("coldstart_cli-*.dist-info/RECORD")
    assert recorded(record.read_text()) == in_wheel(wheel)
    assert (python.parent / "coldstart").is_file()


def test_wheel_from_sdist_is_that_of_the_folder(project: Path, wheel: Path, tmp_path: Path) -> None:
    sdist = build(project, "--sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    shutil.rmtree(project)
    shutil.move(unpacked, project)
    found = in_wheel(build(project, "--wheel"))
    assert found == in_wheel(wheel) and len(found) > 400


def test_pyproject_lists_every_package(repository: Path) -> None:
    settings = tomllib.loads((repository / "pyproject.toml").read_text())
    source = repository / "src"
    folders = {path.parent for path in (source / "coldstart_cli").rglob("*.py")}
    found = {".".join(folder.relative_to(source).parts) for folder in folders}
    found |= {"coldstart_cli.conf", "coldstart_cli.docs"}
    assert set(settings["tool"]["setuptools"]["packages"]) == found
    assert all((folder / "__init__.py").is_file() for folder in folders)


def test_version_is_the_same_everywhere(repository: Path) -> None:
    from coldstart_cli import __version__

    settings = tomllib.loads((repository / "pyproject.toml").read_text())
    assert settings["project"]["version"] == __version__


def test_constraints_pin_every_direct_dependency(repository: Path) -> None:
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    lines = (repository / "constraints.txt").read_text().splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    pinned = {canonicalize_name(pin.name): next(iter(pin.specifier)) for pin in pins}
    assert all(pin.operator == "==" for pin in pinned.values())
    extras = itertools.chain.from_iterable(project["optional-dependencies"].values())
    for line in [*project["dependencies"], *extras]:
        wanted = Requirement(line)
        assert pinned[canonicalize_name(wanted.name)].version in wanted.specifier


def called_names(tree: ast.Module) -> Iterator[tuple[str, ast.Call]]:
    """Every call by its full name, imports under another name resolved."""
    origin: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            origin |= {a.asname or a.name.split(".")[0]: a.name if a.asname else a.name.split(".")[0]
                       for a in node.names}  # fmt: skip
        elif isinstance(node, ast.ImportFrom):
            origin |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            head, dot, rest = ast.unparse(node.func).partition(".")
            yield origin.get(head, head) + dot + rest, node


def forbidden_calls(text: str) -> list[str]:
    """What a piece of source calls that could run code out of data or a shell."""
    found = []
    for name, call in called_names(ast.parse(text)):
        keywords = {word.arg: ast.unparse(word.value) for word in call.keywords}
        safe_load = name == "numpy.load" and keywords.get("allow_pickle") == "False"
        if (
            (name in UNSAFE and not safe_load)
            or name in IMPORTS
            or (name == "torch.load" and keywords.get("weights_only") != "True")
            or keywords.get("shell", "False") != "False"
            or keywords.get("trust_remote_code", "False") != "False"
            or keywords.get("allow_pickle", "False") != "False"
            or (name.endswith((".extractall", ".extract")) and keywords.get("filter") != "'data'")
        ):
            found.append(f"line {call.lineno}: {name}")
    return found


@pytest.mark.fault("S9")
def test_source_has_no_forbidden_call(repository: Path, tries: Tries) -> None:
    files = sorted(
        path for folder in ("src", "benchmarks", "reference") for path in (repository / folder).rglob("*.py")
    )
    assert len(files) > 10
    found = {str(file.relative_to(repository)): forbidden_calls(file.read_text()) for file in files}
    for name, allowed in IMPORTS.items():
        for file in allowed:
            assert found[file].pop().endswith(name), file
    tries.n = len(files)
    tries.failures += [f"{file} {call}" for file, calls in found.items() for call in calls]


@pytest.mark.parametrize(
    "text",
    [
        "import pickle as p\np.load(f)",
        "from yaml import load\nload(f)",
        "import torch\ntorch.load(f)",
        "import torch\ntorch.load(f, weights_only=False)",
        "import numpy as np\nnp.load(f)",
        "from hydra.utils import instantiate as build\nbuild(c)",
        "import hydra\nhydra.utils.instantiate(c)",
        "import subprocess\nsubprocess.run(c, shell=True)",
        "eval(text)",
        "archive.extractall(folder)",
        "archive.extract(member, folder, filter='tar')",
        "import numpy as np\nnp.load(f, allow_pickle=True)",
        "from numpy import load\nload(f)",
        "from numpy.lib import format as npy\nnpy.read_array(f, allow_pickle=True)",
        "from subprocess import Popen as start\nstart(c, shell=True)",
        "import subprocess\nsubprocess.run(c, shell=shell)",
        "exec(text)",
        "compile(text, 'x', 'exec')",
        "__import__(name)",
        "from importlib import import_module\nimport_module(name)",
        "import os\nos.system(c)",
        "import pickle\npickle.Unpickler(f).load()",
        "import marshal\nmarshal.loads(b)",
        "import joblib\njoblib.load(f)",
        "import yaml\nyaml.unsafe_load(f)",
        "import torch\ntorch.hub.load(repo, 'model')",
        "import shutil\nshutil.unpack_archive(f)",
        "AutoModel.from_pretrained(path, trust_remote_code=True)",
        "from hydra.utils import call\ncall(c)",
    ],
)
def test_forbidden_calls_are_seen(text: str) -> None:
    assert forbidden_calls(text)


@pytest.mark.parametrize(
    "text",
    [
        "import torch\ntorch.load(f, weights_only=True)",
        "model.eval()",
        "import yaml\nyaml.safe_load(f)",
        "import numpy as np\nnp.load(f, allow_pickle=False)",
        "archive.extractall(folder, filter='data')",
        "import re\nre.compile(text)",
    ],
)
def test_harmless_calls_are_not_seen_as_forbidden_calls(text: str) -> None:
    assert not forbidden_calls(text)
