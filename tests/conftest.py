"""One thread and one seed for every test.

On small arrays threads cost more than they bring, and results repeat.
"""

import pytest
import torch

from tests.helpers.entry_points import write_entry_points

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def seeded():
    """Let a test see the same random numbers whichever tests ran before it."""
    torch.manual_seed(0)


@pytest.fixture
def plugins(tmp_path_factory, monkeypatch):
    """Let `jrsr_core.plugins` find the writers of this checkout."""
    monkeypatch.syspath_prepend(write_entry_points(tmp_path_factory.mktemp("plugins")))
