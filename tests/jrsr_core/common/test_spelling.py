"""Numbers with their noun."""

import pytest

from jrsr_core.common.spelling import counted


@pytest.mark.parametrize(("n", "text"), [(0, "0 coils"), (1, "1 coil"), (2, "2 coils")])
def test_one_takes_no_s(n, text):
    assert counted(n, "coil") == text
