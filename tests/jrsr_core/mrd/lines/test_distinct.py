"""Distinct rows: the result of numpy's unique, in time that grows with the lines alone."""

import numpy as np
import pytest

from jrsr_core.mrd.lines.distinct import distinct_rows


def random_columns(n, seed=0):
    random = np.random.default_rng(seed)
    return [
        random.integers(0, 3, n).astype(np.float32),
        np.full(n, 7, np.float32),
        random.choice(np.array([-1.5, 0.0, 2.25], np.float32), n),
        random.integers(0, 2, n).astype(np.float32),
    ]


@pytest.mark.parametrize("n", [0, 1, 2, 1000])
@pytest.mark.parametrize("kind", [np.float32, np.uint16, np.int64])
def test_as_numpy(n, kind):
    columns = [column.astype(kind) for column in random_columns(n)]
    rows, member, first = distinct_rows(columns)
    wanted = np.unique(np.stack(columns, -1), axis=0, return_index=True, return_inverse=True)
    assert rows.dtype == kind
    for made, expected in zip((rows, first, member), wanted, strict=True):
        np.testing.assert_array_equal(made, expected.reshape(made.shape))


def test_equal_rows_and_types_that_differ():
    rows, member, first = distinct_rows([np.full(5, 3, np.uint16), np.full(5, -1, np.int64)])
    assert rows.tolist() == [[3, -1]] and not member.any() and first.tolist() == [0]


def test_a_number_that_is_none_equals_no_other():
    nan = np.array([1, np.nan, np.nan], np.float32)
    rows, member, _ = distinct_rows([np.ones(3, np.float32), nan])
    assert len(rows) == 3 and sorted(member.tolist()) == [0, 1, 2]
