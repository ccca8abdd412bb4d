"""The sampling of an image: averages, phase encodes and bandwidth, counted from the request."""

import numpy as np
import pytest

from jrsr_core.mrd.lines.acquired import CALIBRATION, flag_bits
from jrsr_core.mrd.simulator.request import ScanRequest
from jrsr_core.mrd.simulator.simulate import simulate_scan
from tests.helpers.mrd_scans import assembled, joined, select, small_scan

DWELL_US = 4.0
READOUT = 56
"""Samples of a readout without oversampling, where its pixel is that of the phase encode."""


def scan_of(**options):
    request = {"matrix": "96x112", "n_coils": 3, "mask": "regular", "acceleration": 2, "acs": 12}
    scan = simulate_scan(ScanRequest(noise_scan=False, **request | options))
    scan.lines.heads["sample_time_us"] = DWELL_US
    return scan


@pytest.mark.parametrize("calibration", ["embedded", "separate", "external"])
@pytest.mark.parametrize("averages", [1, 3])
def test_lines_that_only_calibrate_are_no_averages(averages, calibration):
    scan = scan_of(averages=averages, calibration=calibration)
    (made,) = assembled(scan.header_xml, scan.lines)
    assert made.stamp.n_averages == averages
    assert made.stamp.n_phase_encodes == scan.mask.any(1).sum() >= 24


def test_a_second_measurement_for_calibration_is_no_average():
    _, _, xml, lines = small_scan()
    again = select(lines, range(16, 32))
    again.heads["flags"] = flag_bits(CALIBRATION)
    (made,) = assembled(xml, joined(lines, again))
    assert (made.stamp.n_averages, made.stamp.n_phase_encodes) == (1, 48)


@pytest.mark.parametrize(
    ("options", "n_samples"),
    [
        ({}, 2 * READOUT),
        ({"oversampling": False}, READOUT),
        ({"readout_pixel": 0.5}, 4 * READOUT),
        # The pixel of a whole echo, and the sampling period that it would have.
        ({"partial_echo": 0.75}, 2 * READOUT),
    ],
)
def test_the_bandwidth_is_that_of_the_acquired_pixel(options, n_samples):
    scan = scan_of(**options)
    (made,) = assembled(scan.header_xml, scan.lines)
    assert made.stamp.pixel_bandwidth_hz == pytest.approx(1e6 / (n_samples * DWELL_US), rel=1e-5)
    shorter = "partial_echo" in options
    assert (scan.lines.heads["number_of_samples"] < n_samples).all() == shorter


@pytest.mark.parametrize("dwell_us", [0.0, -4.0, np.nan, np.inf])
def test_a_sample_time_that_is_none_gives_no_bandwidth(dwell_us):
    _, _, xml, lines = small_scan()
    lines.heads["sample_time_us"] = dwell_us
    (made,) = assembled(xml, lines)
    assert made.stamp.pixel_bandwidth_hz == 0


def test_the_bandwidth_is_unknown_where_the_receiver_removed_the_oversampling():
    """The sample time may be that before or after."""
    *_, xml, _ = small_scan()
    *_, lines = small_scan(oversampling=False)
    (made,) = assembled(xml, lines)
    assert made.stamp.pixel_bandwidth_hz == 0


def test_phase_encodes_of_a_volume_are_lines_of_its_first_phase_encode():
    scan = scan_of(protocol="wall-16x", matrix="32x48", positions=4)
    (made,) = assembled(scan.header_xml, scan.lines)
    assert (made.stamp.n_averages, made.stamp.n_phase_encodes) == (1, scan.mask.any(1).sum())


def test_lines_that_were_lost_are_no_phase_encodes():
    _, _, xml, lines = small_scan()
    (made,) = assembled(xml, select(lines, [*range(10), *range(14, 48)]))
    assert (made.stamp.n_averages, made.stamp.n_phase_encodes) == (1, 44)
