"""One thread and one seed for every test.

On small arrays threads cost more than they bring, and results repeat.
"""

import pytest
import torch

from jrsr_core.models import names, registry
from tests.helpers.entry_points import write_entry_points
from tests.helpers.paths import CHECKOUT_MODULES, IS_CHECKOUT, WITHOUT_CHECKOUT

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def seeded():
    """Let a test see the same random numbers whichever tests ran before it."""
    torch.manual_seed(0)


@pytest.fixture
def plugins(tmp_path_factory, monkeypatch):
    """Let `common.plugins` find the writers of this checkout; a wheel has its own entries."""
    if IS_CHECKOUT:
        monkeypatch.syspath_prepend(write_entry_points(tmp_path_factory.mktemp("plugins")))


class SkippedModule(pytest.Module):
    """A file of tests that is not even imported."""

    def collect(self):
        pytest.skip(WITHOUT_CHECKOUT, allow_module_level=True)


def pytest_pycollect_makemodule(module_path, parent):
    """Leave out tests of the repository where there is none."""
    if IS_CHECKOUT or module_path.name not in CHECKOUT_MODULES:
        return None
    return SkippedModule.from_parent(parent, path=module_path)


@pytest.fixture
def own_networks():
    """Forget the networks that a test registers."""
    yield
    for name in list(names.OWN):
        registry._forget(name)
