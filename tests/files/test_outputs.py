"""Places that a user may name for a file, and what is written there."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from coldstart_cli.errors import RequestError
from coldstart_cli.files.outputs import check_output, is_stream, output, write_output


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_a_file_is_replaced_whole_and_keeps_its_permissions(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    path.chmod(0o640)
    with pytest.raises(KeyError), output(path, "file") as partial:
        partial.write_text("half")
        raise KeyError("a crash")
    assert path.read_text() == "old" and names(tmp_path) == ["report.html"]
    write_output(path, b"new", "file")
    assert path.read_text() == "new" and path.stat().st_mode & 0o777 == 0o640


def test_what_is_written_beside_comes_along(tmp_path: Path) -> None:
    (tmp_path / "link.onnx").symlink_to(tmp_path / "real.onnx")
    for name in ("a.onnx", "link.onnx"):
        with output(tmp_path / name, "file") as partial:
            partial.write_text("program")
            partial.with_name(f"{name}.data").write_text("tensors")
    assert names(tmp_path) == ["a.onnx", "a.onnx.data", "link.onnx", "link.onnx.data", "real.onnx"]
    assert (tmp_path / "real.onnx").read_text() == "program" and (tmp_path / "link.onnx").is_symlink()


def test_a_link_stays_and_its_file_is_written(tmp_path: Path) -> None:
    target, link = tmp_path / "there" / "page.html", tmp_path / "page.html"
    target.parent.mkdir()
    link.symlink_to(target)
    for text in (b"first", b"second"):  # a link to nothing yet, then to a file
        write_output(link, text, "--html")
        assert link.is_symlink() and target.read_bytes() == text
    assert names(target.parent) == ["page.html"]


def test_a_file_of_two_names_is_written_under_both(tmp_path: Path) -> None:
    path, other = tmp_path / "one", tmp_path / "two"
    path.write_text("old")
    os.link(path, other)
    write_output(path, b"new", "file")
    assert other.read_bytes() == b"new" and path.samefile(other)


@pytest.mark.parametrize("through", ["itself", "a link"])
def test_a_read_only_file_is_refused_for_every_user(tmp_path: Path, through: str) -> None:
    path = tmp_path / "kept.html"
    path.write_text("kept")
    path.chmod(0o444)
    if through == "a link":
        (tmp_path / "link").symlink_to(path)
        path = tmp_path / "link"
    with pytest.raises(
        RequestError, match=r"^--html: \S+ is read-only; make it writable, or name another file$"
    ):
        write_output(path, b"new", "--html")
    assert path.read_text() == "kept"


def test_a_folder_and_a_folder_that_is_missing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"^file: .* is a folder; name a file in it"):
        check_output(tmp_path, "file")
    with pytest.raises(RequestError, match=r"^file: .*gone is not a folder; make it first"):
        check_output(tmp_path / "gone" / "x", "file")


def test_a_pipe_is_written_through(tmp_path: Path) -> None:
    pipe, got = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    write_output(pipe, b"through", "file")
    reader.join()
    assert got == [b"through"] and pipe.is_fifo() and names(tmp_path) == ["pipe"]


def test_a_device_stays_a_device() -> None:
    write_output(Path("/dev/null"), b"nothing", "file")
    assert Path("/dev/null").is_char_device() and is_stream(Path("/dev/null"))


WRITE = """
import sys
from pathlib import Path
from coldstart_cli.files.outputs import write_output
print("before", flush=True)
write_output(Path(sys.argv[1]), b"report\\n", "--html")
print("after")
"""


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_stdout_is_written_where_it_is_and_stays_what_it_was(tmp_path: Path, name: str) -> None:
    before = os.readlink("/dev/stdout")
    redirected = tmp_path / "all.txt"
    with redirected.open("wb") as out:
        subprocess.run([sys.executable, "-c", WRITE, name], stdout=out, check=True)
    assert redirected.read_text() == "before\nreport\nafter\n"
    assert os.readlink("/dev/stdout") == before


def test_what_a_killed_process_left_is_swept_and_what_a_living_one_writes_is_not(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    left, living, other = (
        tmp_path / f".{name}.{pid}.partial"
        for name, pid in (("p.html", gone.pid), ("p.html", os.getppid()), ("q.html", gone.pid))
    )
    for folder in (left, living, other):
        folder.mkdir()
        (folder / "half").write_text("x")
    write_output(tmp_path / "p.html", b"new", "file")
    assert not left.exists() and living.exists() and other.exists()
