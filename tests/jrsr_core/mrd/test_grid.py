"""The line whose time is that of the image."""

import numpy as np
import pytest

from jrsr_core.mrd.header import parse_header
from jrsr_core.mrd.lines import CALIBRATION, CALIBRATION_AND_IMAGING, flag_bits
from tests.helpers.mrd_scans import assembled, joined, select, small_scan


def stamped(lines, first, flags):
    lines.heads["acquisition_time_stamp"] = first + np.arange(len(lines.heads))
    lines.heads["flags"] = flags
    return lines


@pytest.mark.parametrize(
    ("flags", "expected"),
    [(flag_bits(CALIBRATION), 1024), (flag_bits(CALIBRATION_AND_IMAGING), 8), (0, 8)],
)
def test_calibration_lines_before_the_image_give_it_no_time(flags, expected):
    """ACS lines from stamp 0, line 24 has stamp 8; the image from 1000, line 24 has 1024."""
    _, _, xml, lines = small_scan()
    acs = stamped(select(lines, np.arange(16, 32)), 0, flags)
    image = stamped(select(lines, np.arange(48)), 1000, 0)
    (slice_,) = assembled(parse_header(xml), joined(acs, image))
    assert slice_.stamp.acquisition_time_stamp == expected


def test_an_image_of_calibration_lines_only_has_their_time():
    _, _, xml, lines = small_scan()
    only = stamped(select(lines, np.arange(48)), 100, flag_bits(CALIBRATION))
    (slice_,) = assembled(parse_header(xml), only)
    assert slice_.stamp.acquisition_time_stamp == 124
