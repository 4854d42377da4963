"""Pages whose commands are run, and what they print compared with what stands on the page.

    python -m tests.kit.pages docs/faq.md ...            says what differs
    python -m tests.kit.pages --write docs/tutorials/*   writes what was printed into the page

One shell reads a page from top to bottom, in a temporary folder that holds `docs`, as a clone does; `$C` is
the clone.

- ```console: lines that begin with `$ ` are commands (one that ends in a backslash goes on); the lines below
  are what they print, on both streams. `...` in a line of its own stands for any lines.
- A block of another kind with title="NAME" is a file that the reader saves, at this place of the page.
- ```console below `<!-- not run: REASON -->` is not run; ```text and all others are not either.
- `<!-- page: slow, needs COLDSTART_DATA, needs onnxruntime -->` anywhere says what the page takes.

Progress (`... about 3 s to go`, `evaluating 5/20`), which a terminal overwrites, is left out. What differs
from run to run is not compared: times, memory, bytes, versions, dates, the machine's name, hashes of runs,
temporary paths, the width of blanks (`plain`). Numbers with a decimal point may differ by .05 or 5 %, for
other processors round otherwise; all else is compared letter by letter.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
FENCE = re.compile(
    r"(?:<!-- not run: (?P<reason>.*?) -->\n)?^```(?P<info>.*)\n(?P<body>(?:.*\n)*?)```$", re.M
)
PROGRESS = re.compile(r" to go$|^(?:evaluating|training) [\d,]+/[\d,]+")
MARK = "\x1e"  # between what one command printed and the next one
UNITS = r"(?:s|ms|min|minutes?|hours?|h|[kM]?B|[KMG]iB|bytes|calls|FLOP|texts/s)"
DIFFERS = (
    (r"^seconds +about .*", "seconds TIME"),  # of --dry-run
    (r"\d{4}-\d\d-\d\d_[\d-]+_\d+", "DATE"),
    (r"-s(\d+)-[0-9a-f]{8}\b", r"-s\1-HASH"),
    (r"\b[0-9a-f]{8}(?=-learning_curve|/records)", "HASH"),
    (r"\b(cpu|cuda): [^,)]+, \d+ threads?", r"\1: MACHINE"),
    (r"\b\d+\.\d+\.\d+(\+\w+)?\b", "VERSION"),
    (r"(?<![\w.])\d[\d.,]*(e-?\d+)? (?=" + UNITS + r"\b)", "TIME "),
    (r"\b\d(\.\d+)?e-\d+\b", "ROUNDING"),
    (r"\b[\d.]+x (?=faster|slower)", "TIMES "),
)
DECIMAL = re.compile(r"(?<![\w.])\d+\.\d+")


@dataclass(frozen=True)
class Command:
    """A command of a page: what is typed, what should be printed, and where this stands in the text."""

    typed: str
    expected: str
    start: int
    end: int


@dataclass(frozen=True)
class File:
    """A file that the reader saves."""

    name: str
    body: str


@dataclass(frozen=True)
class Page:
    """A page, as it is read: its text, its steps, why some blocks are not run, and what it needs."""

    text: str
    steps: tuple[Command | File, ...]
    not_run: tuple[str, ...]
    needs: tuple[str, ...]
    slow: bool

    @property
    def commands(self) -> tuple[Command, ...]:
        return tuple(step for step in self.steps if isinstance(step, Command))


def read(text: str) -> Page:
    """The page that a text of Markdown is."""
    steps: list[Command | File] = []
    not_run = []
    for block in FENCE.finditer(text):
        name = re.search(r'title="([^"]+)"', block["info"])
        if block["reason"]:
            not_run.append(block["reason"])
        elif block["info"] == "console":
            steps += _commands(block["body"], block.start("body"))
        elif name:
            steps.append(File(name[1], block["body"]))
    head = re.search(r"<!-- page: (.*?) -->", text)
    words = head[1].split(", ") if head else []
    needs = tuple(word.removeprefix("needs ") for word in words if word.startswith("needs "))
    return Page(text, tuple(steps), tuple(not_run), needs, "slow" in words)


def _commands(body: str, start: int) -> Iterator[Command]:
    typed: list[str] = []
    expected: list[str] = []
    at = start
    for line in [*body.splitlines(keepends=True), "$ "]:
        if typed and typed[-1].endswith("\\\n"):
            typed.append(line)
        elif line.startswith("$ "):
            if typed:
                text, printed = "".join(typed), "".join(expected)
                yield Command(text[2:].rstrip("\n"), printed, at + len(text), at + len(text + printed))
                at += len(text + printed)
            typed, expected = [line], []
        else:
            expected.append(line)


def run(
    page: Page, folder: Path, timeout: float = 1200, programs: Path | None = None
) -> list[tuple[str, int]]:
    """Runs a page's commands in a folder; what each printed, and its exit code.

    Args:
        programs: a folder whose programs come before those that are installed.

    Raises:
        RuntimeError: The shell ended before the last command, or did not end in time.
    """
    folder.joinpath("docs").symlink_to(REPOSITORY / "docs")
    lines: list[str] = []
    for step in page.steps:
        end = f"printf '\\n{MARK}%s{MARK}' $?"
        lines += [_saved(step)] if isinstance(step, File) else [step.typed, end]
    environment = {
        **os.environ,
        "C": str(REPOSITORY),
        "PATH": ":".join([*([str(programs)] if programs else []), str(Path(sys.executable).parent),
                          os.environ["PATH"]]),
        "COLUMNS": "120",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
    }  # fmt: skip
    with tempfile.TemporaryFile("w+b") as printed:
        shell = subprocess.Popen(
            ["bash", "-c", "\n".join(lines)], cwd=folder, env=environment, stdin=subprocess.DEVNULL,
            stdout=printed, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            shell.wait(timeout)
        except subprocess.TimeoutExpired:
            pass
        finally:
            _end(shell)
        printed.seek(0)
        text = printed.read().decode(errors="replace")
    parts = text.replace(str(folder), "DIR").split(MARK)
    if len(parts) != 2 * len(page.commands) + 1:
        raise RuntimeError(
            f"{len(parts) // 2} of {len(page.commands)} commands ended; last: {parts[-1][-500:]}"
        )
    return [(_tidy(parts[i]), int(parts[i + 1])) for i in range(0, len(parts) - 1, 2)]


def _saved(file: File) -> str:
    name = shlex.quote(file.name)
    return f'mkdir -p "$(dirname {name})"; printf %s {shlex.quote(file.body)} > {name}'


def _end(shell: subprocess.Popen[bytes]) -> None:
    """Ends the shell and what it left in the background."""
    try:
        os.killpg(shell.pid, signal.SIGTERM)
    except ProcessLookupError:
        return
    shell.wait(30)


def _tidy(printed: str) -> str:
    lines = [line.split("\r")[-1].rstrip() for line in printed.split("\n")]
    text = "\n".join(line for line in lines if not PROGRESS.search(line)).strip("\n")
    return f"{text}\n" if text else ""


def plain(text: str) -> list[str]:
    """The lines of an output without what differs from run to run."""
    lines = _without_timed_columns(text.splitlines())
    for pattern, word in DIFFERS:
        lines = [re.sub(pattern, word, line) for line in lines]
    return [" ".join(line.split()) for line in lines]


def _without_timed_columns(lines: list[str]) -> list[str]:
    """Tables: numbers below a heading that ends in s, ms or MB, right-aligned with it."""
    ends: list[int] = []
    made = []
    for line in lines:
        if found := [m.end() for m in re.finditer(r"(?:,? m?s|\bMB)(?=  |$)", line)]:
            ends = found
        elif not line.strip():
            ends = []
        else:
            for end in reversed(ends):
                line = re.sub(r"\S+$", "TIME", line[:end]) + line[end:] if len(line) >= end else line
        made.append(line)
    return made


def same(expected: str, printed: str) -> bool:
    """Whether an output says what stands on the page."""
    wanted, found = plain(expected), plain(printed)
    if "..." not in wanted:
        return len(wanted) == len(found) and all(map(_same_line, wanted, found))
    cut = wanted.index("...")
    head, rest = wanted[:cut], "\n".join(wanted[cut + 1 :])
    if len(found) < cut or not all(map(_same_line, head, found)):
        return False
    return any(same(rest, "\n".join(found[i:])) for i in range(cut, len(found) + 1))


def _same_line(wanted: str, found: str) -> bool:
    if DECIMAL.sub("N", wanted) != DECIMAL.sub("N", found):
        return False
    pairs = zip(map(float, DECIMAL.findall(wanted)), map(float, DECIMAL.findall(found)), strict=True)
    return all(abs(a - b) <= max(0.05, 0.05 * max(a, b)) + 1e-9 for a, b in pairs)


def differences(page: Page, printed: list[tuple[str, int]]) -> list[str]:
    """What was printed otherwise than it stands on the page, command by command."""
    return [
        f"$ {command.typed}\nstands on the page:\n{command.expected}was printed (exit code {code}):\n{text}"
        for command, (text, code) in zip(page.commands, printed, strict=True)
        if not same(command.expected, text)
    ]


def written(page: Page, printed: list[tuple[str, int]]) -> str:
    """The page's text with what was printed where it says something else; the rest stays as it is."""
    text = page.text
    for command, (found, _) in reversed(list(zip(page.commands, printed, strict=True))):
        if not same(command.expected, found):
            text = text[: command.start] + found + text[command.end :]
    return text


def main(words: list[str]) -> int:
    """Runs pages one after another; 1 where one prints something else (with --write: never)."""
    failed = False
    for path in [Path(word) for word in words if word != "--write"]:
        page = read(path.read_text(encoding="utf-8"))
        with tempfile.TemporaryDirectory(prefix="page-") as folder:
            printed = run(page, Path(folder))
        found = differences(page, printed)
        counts = f"{len(page.commands)} commands, {len(found)} print something else"
        print(f"{path}: {counts}, {len(page.not_run)} blocks are not run", *found, sep="\n")
        if "--write" in words:
            now = read(path.read_text(encoding="utf-8"))  # its prose may have changed meanwhile
            if [one.typed for one in now.commands] != [one.typed for one in page.commands]:
                print(f"{path}: its commands have changed meanwhile; nothing is written")
            else:
                path.write_text(written(now, printed), encoding="utf-8")
        else:
            failed = failed or bool(found)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
