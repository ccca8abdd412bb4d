"""One thread and one seed for every test.

On small arrays threads cost more than they bring, and results repeat.
"""

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def seeded():
    """Let a test see the same random numbers whichever tests ran before it."""
    torch.manual_seed(0)
