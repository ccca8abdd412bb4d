"""A few of many: both ends, equal distances, always the same ones."""

import pytest

from jrsr_core.spread import spread


@pytest.mark.parametrize(
    ("n", "most", "expected"),
    [
        (3, 64, [0, 1, 2]),
        (1, 64, [0]),
        (0, 64, []),
        (3, None, [0, 1, 2]),
        (9, 1, [0]),
        (11, 3, [0, 5, 10]),
        # Halves go to the even number, as in all published tables.
        (10, 3, [0, 4, 9]),
        (12, 3, [0, 6, 11]),
    ],
)
def test_spread(n, most, expected):
    assert spread(n, most) == expected


def test_few_of_many_are_distinct():
    picked = spread(1000, 64)
    assert len(set(picked)) == 64 and picked[0] == 0 and picked[-1] == 999
