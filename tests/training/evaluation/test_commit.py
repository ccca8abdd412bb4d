"""The commit in rows and cards is that of JRSR, or none."""

import shutil
from pathlib import Path

import pytest

from tests.helpers.processes import run_process
from training.evaluation import commit


def git(folder, *arguments):
    own = ("-c", "user.name=a", "-c", "user.email=a@b")
    run = run_process(["git", *own, *arguments], cwd=folder, check=True)
    return run.stdout.strip()


@pytest.fixture
def repository(tmp_path):
    """A repository of somebody else with a commit, and the folder of an environment in it."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    (tmp_path / "thesis.tex").write_text("text")
    (tmp_path / ".gitignore").write_text(".venv")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-q", "-m", "thesis")
    installed = tmp_path / ".venv" / "training"
    installed.mkdir(parents=True)
    return tmp_path, Path(shutil.copy(commit.__file__, installed))


def test_the_commit_of_another_repository_is_not_taken(repository, monkeypatch):
    folder, installed = repository
    monkeypatch.setattr(commit, "__file__", str(installed))
    assert commit.current_commit() == ""
    git(folder, "add", "-f", str(installed))
    git(folder, "commit", "-q", "-m", "with JRSR")
    assert commit.current_commit() == git(folder, "rev-parse", "--short", "HEAD")
    (folder / "thesis.tex").write_text("more")
    assert commit.current_commit().endswith("+")


def test_outside_of_a_repository_there_is_none(tmp_path, monkeypatch):
    monkeypatch.setattr(commit, "__file__", shutil.copy(commit.__file__, tmp_path))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert commit.current_commit() == ""
