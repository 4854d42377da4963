"""The commit is read from git's files; nothing of a repository runs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from coldstart_cli.files.git_commit import head_commit


def git(folder: Path, *words: str) -> str:
    person = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"]
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    done = subprocess.run(
        ["git", *person, *words], cwd=folder, check=True, capture_output=True, text=True, env=environment
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    (folder / "inner").mkdir(parents=True)
    git(folder, "init", "-q")
    git(folder, "commit", "-q", "--allow-empty", "-m", "x")
    return folder


def test_head_commit_is_what_git_says(repository: Path) -> None:
    commit = git(repository, "rev-parse", "HEAD")
    assert head_commit(repository) == commit
    assert head_commit(repository / "inner") == commit
    git(repository, "pack-refs", "--all")
    assert not (repository / ".git" / "refs" / "heads" / "main").exists()
    assert head_commit(repository) == commit  # out of packed-refs
    git(repository, "checkout", "-q", "--detach")
    assert head_commit(repository) == commit


def test_head_commit_of_a_worktree_is_its_own(repository: Path) -> None:
    git(repository, "worktree", "add", "-q", "-b", "other", "../other")
    git(repository.parent / "other", "commit", "-q", "--allow-empty", "-m", "y")
    commit = git(repository.parent / "other", "rev-parse", "HEAD")
    assert commit != git(repository, "rev-parse", "HEAD")
    assert head_commit(repository.parent / "other") == commit


def test_head_commit_is_none_before_the_first_commit(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    assert head_commit(tmp_path) is None


@pytest.mark.parametrize(
    "head",
    ["ref: ../../secret\n", "ref: refs/../../secret\n", "ref: refs/heads/\0\n", "secret\n", "", "ref: "],
)
def test_head_commit_tells_nothing_but_a_commit(tmp_path: Path, head: str) -> None:
    (tmp_path / "secret").write_text("a" * 40)
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "HEAD").write_text(head)
    assert head_commit(tmp_path) is None


@pytest.mark.parametrize("name", [".git/HEAD", ".git/refs/heads/main", ".git/packed-refs", ".git/commondir"])
def test_head_commit_waits_for_no_fifo(repository: Path, name: str) -> None:
    (repository / name).unlink(missing_ok=True)
    os.mkfifo(repository / name)
    found = head_commit(repository)
    assert found == (None if "HEAD" in name or "refs/heads" in name else git_head(repository))


def git_head(repository: Path) -> str:
    return (repository / ".git" / "refs" / "heads" / "main").read_text().strip()


@pytest.mark.fault("S10")
def test_head_commit_runs_nothing_that_a_repository_names(repository: Path, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    program.chmod(0o755)
    git(repository, "config", "core.fsmonitor", str(program))
    (repository / "embedded").mkdir()
    git(repository / "embedded", "init", "-q", "--bare")
    git(repository / "embedded", "config", "core.fsmonitor", str(program))
    git(repository / "embedded", "config", "core.worktree", str(repository))
    commit = head_commit(repository)
    assert head_commit(repository / "embedded") == commit is not None
    assert not (tmp_path / "ran").exists()
    git(repository, "status", "--short")  # what asking git would have done
    assert (tmp_path / "ran").exists()
