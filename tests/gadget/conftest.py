"""What every test of commands has in common."""

import math

import pytest

from gadget import console


@pytest.fixture(autouse=True)
def no_progress_lines(monkeypatch):
    """Print no line of progress, which only a slow machine would: tests count the lines."""
    monkeypatch.setattr(console, "PLAIN_SECONDS", math.inf)
