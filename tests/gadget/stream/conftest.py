"""A small scan whose images are known: those that `jrsr recon` makes of its file."""

import pytest

from tests.helpers.served_scans import Served, serve


@pytest.fixture(scope="session")
def scan(tmp_path_factory) -> Served:
    return serve(tmp_path_factory.mktemp("stream"), slices=2)
