"""The commit of the code that trains and evaluates, for rows and weights cards."""

import subprocess
from pathlib import Path


def current_commit() -> str:
    """Return the short hash of the checkout, "+" added if it has changes; empty outside of one.

    An environment may lie in another repository, which does not track this file: its commit says
    nothing about JRSR.
    """
    here = Path(__file__)
    if _git(here.parent, "ls-files", here.name) != here.name:
        return ""
    return _git(here.parent, "describe", "--always", "--dirty=+", "--exclude=*")


def _git(folder: Path, *arguments: str) -> str:
    """Return what a command of git prints; empty where it fails."""
    try:
        run = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return run.stdout.strip()
