"""Fields of line headers."""

import numpy as np

from jrsr_core.mrd.lines.acquired import HEAD_DTYPE, kept_samples, sort_lines


def test_a_line_may_discard_more_samples_than_it_has():
    """The fields are unsigned integers of 16 bits, their difference is not."""
    heads = np.zeros(3, HEAD_DTYPE)
    heads["number_of_samples"] = 128
    heads["discard_pre"] = 0, 100, 60000
    heads["discard_post"] = 8, 28, 60000
    assert kept_samples(heads).tolist() == [120, 0, -119872]
    image, noise, rejected = sort_lines(heads)
    assert (image.tolist(), noise.tolist(), rejected) == ([0], [], {"without samples": 2})
