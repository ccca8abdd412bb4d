"""Channels without usable samples."""

import numpy as np
import pytest

from jrsr_core.mrd.lines.broken import broken_channels


@pytest.mark.parametrize(
    ("n_bad", "broken"),
    [
        ((0, 0, 0), []),
        ((4, 3, 0), [0]),
        ((4, 8, 0), [0, 1]),
        ((4, 8, 5), []),
    ],
)
def test_half_of_the_lines_are_enough_unless_no_channel_is_better(n_bad, broken):
    assert broken_channels(np.array(n_bad), 8) == broken
