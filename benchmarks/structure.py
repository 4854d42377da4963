"""The shape of the source in figures: `python -m benchmarks.structure [SOURCE]`.

SOURCE is a folder `src` of this or another checkout, to hold two of them side by side. Frames are those of
Python between the command line and a place, counted in a training of two steps.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

PACKAGE = "coldstart_cli"
PLAIN = ["train", "strategy=maml", "experiment=smoke", "dataset=sinusoid", "model=mlp", "--quiet"]
TRACE = """
import json, sys
from pathlib import Path
wanted = set(sys.argv[1].split(","))
found = []
def look(frame, event, argument):
    code = frame.f_code
    if event == "call" and code.co_name in wanted and "coldstart_cli" in code.co_filename and not found:
        frames = []
        while frame is not None:
            if "coldstart_cli/" in frame.f_code.co_filename:
                frames.append((frame.f_code.co_filename, frame.f_code.co_name))
            frame = frame.f_back
        found.append(frames)
sys.setprofile(look)
from coldstart_cli.cli import main
sys.argv = ["coldstart", *sys.argv[2:]]
main()
sys.setprofile(None)
print(json.dumps(found[0] if found else []))
"""


def modules(source: Path) -> dict[str, ast.Module]:
    """Module name -> its syntax tree."""
    found = {}
    for path in sorted((source / PACKAGE).rglob("*.py")):
        parts = path.relative_to(source).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = ast.parse(path.read_text())
    return found


def imports(name: str, tree: ast.Module, known: set[str]) -> Iterator[str]:
    """The modules of the package that a module imports, each once."""
    seen = set()
    for node in ast.walk(tree):
        targets = []
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == PACKAGE:
            targets = [f"{node.module}.{alias.name}" for alias in node.names]
            targets = [target if target in known else node.module for target in targets]
        elif isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names if alias.name.split(".")[0] == PACKAGE]
        seen |= {target for target in targets if target != name}
    yield from sorted(seen)


def package_of(name: str) -> str:
    """The first level below the package: `training` for coldstart_cli.training.outer_loops."""
    return ".".join(name.split(".")[1:2])


def longest(trees: dict[str, ast.Module], source: Path) -> tuple[tuple[int, str], tuple[int, str]]:
    """(lines, name) of the longest module and of the longest function."""
    files = {name: source.joinpath(*name.split(".")) for name in trees}
    lengths = []
    for name, path in files.items():
        file = path.with_suffix(".py") if path.with_suffix(".py").exists() else path / "__init__.py"
        lengths.append((len(file.read_text().splitlines()), name))
    functions = [
        ((node.end_lineno or 0) - node.lineno + 1, f"{name}.{node.name}")
        for name, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
    ]
    return max(lengths), max(functions)


def frames(source: Path, function: str, *arguments: str) -> list[list[str]]:
    """The package's frames above the first call of a function, innermost first."""
    environment = {**os.environ, "PYTHONPATH": str(source)}
    with tempfile.TemporaryDirectory() as folder:
        ended = subprocess.run(
            [sys.executable, "-c", TRACE, function, *arguments, f"outputs={folder}/outputs"],
            capture_output=True,
            text=True,
            env=environment,
            cwd=folder,
            check=False,
        )
    rows: list[list[str]] = json.loads(ended.stdout.splitlines()[-1])
    return rows


def comments(source: Path) -> float:
    """Share of lines of code that are, or end in, a comment."""
    import io
    import tokenize

    n, commented = 0, set()
    for path in (source / PACKAGE).rglob("*.py"):
        text = path.read_text()
        n += sum(1 for line in text.splitlines() if line.strip())
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.COMMENT and "noqa" not in token.string and "type:" not in token.string:
                commented.add((path, token.start[0]))
    return len(commented) / n


def main() -> None:
    source = Path(sys.argv[1] if len(sys.argv) > 1 else "src").resolve()
    trees = modules(source)
    files = {name for name in trees if name.count(".")}
    packages = {package_of(name) for name in files}
    pairs = [(name, other) for name, tree in trees.items() for other in imports(name, tree, set(trees))]
    between = {(package_of(a), package_of(b)) for a, b in pairs if package_of(a) != package_of(b)}
    module, function = longest(trees, source)
    folders = {str(Path(*name.split(".")[:-1])) for name in files}
    crowd = max(sum(1 for n in files if str(Path(*n.split(".")[:-1])) == f) for f in folders)
    print(f"modules: {len(files)}, in {len(folders)} folders; most in one folder: {crowd}")
    print(f"imports between modules: {len(pairs)}")
    print(f"arrows between the {len(packages)} names of the first level: {len(between)}")
    print(f"longest module: {module[1]}, {module[0]} lines")
    print(f"longest function: {function[1]}, {function[0]} lines")
    code = sum(len(ast.unparse(tree).splitlines()) for tree in trees.values())
    print(f"lines of code without comments: {code}")
    print(f"lines that are or hold a comment: {100 * comments(source):.1f} %")
    rows = frames(source, "scores_after", *PLAIN)
    places = len({file for file, _ in rows})
    print(f"from `coldstart train strategy=maml` to MAML's loss: {len(rows)} frames in {places} files")


if __name__ == "__main__":
    main()
