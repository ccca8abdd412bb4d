"""Folders that tests read from."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
"""The checkout, or the folder that the tests were copied to."""

IS_CHECKOUT = (ROOT / "pyproject.toml").is_file()
"""False where the tests were copied away to try an installed wheel."""

WITHOUT_CHECKOUT = "reads files of the repository"
needs_checkout = pytest.mark.skipif(not IS_CHECKOUT, reason=WITHOUT_CHECKOUT)

CHECKOUT_MODULES = {
    "test_architecture.py",
    "test_chains.py",
    "test_docker.py",
    "test_page_commands.py",
    "test_page_python.py",
    "test_pages.py",
    "test_published_rows.py",
    "test_xml_chains.py",
}
"""Files of tests that are about the repository."""

SHARED = ROOT.parent / "shared"
"""Data that tests marked `data` need; it is not part of the project."""
