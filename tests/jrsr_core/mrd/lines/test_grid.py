"""The line whose time is that of the image."""

import numpy as np
import pytest
import torch

from jrsr_core.data import Counters
from jrsr_core.mrd.header.scan_header import parse_header
from jrsr_core.mrd.lines.acquired import CALIBRATION, CALIBRATION_AND_IMAGING, flag_bits
from jrsr_core.mrd.simulator.frames import make_frame
from jrsr_core.mrd.simulator.lines import scan_of_frames
from tests.helpers.mrd_scans import assembled, joined, select, small_scan
from tests.laws import random_complex


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


def test_the_time_of_a_volume_is_that_of_the_centre_of_both_phase_encodes():
    mask = torch.ones(6, 8)
    kspace = random_complex(3, 6, 8, 5, seed=1)
    xml, lines = scan_of_frames([make_frame(Counters(), kspace, mask)], fov_mm=(30.0, 40.0, 25.0))
    lines = stamped(lines, 100, 0)
    steps = lines.heads["idx"]
    centre = (steps["kspace_encode_step_1"] == 4) & (steps["kspace_encode_step_2"] == 3)
    (expected,) = lines.heads["acquisition_time_stamp"][centre]
    (volume,) = assembled(xml, lines)
    assert volume.stamp.acquisition_time_stamp == expected
