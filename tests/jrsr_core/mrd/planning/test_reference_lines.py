"""Calibration lines of a separate scan where the header does not say so."""

import numpy as np
import pytest

from jrsr_core.mrd.lines.acquired import CALIBRATION, flag_bits
from jrsr_core.mrd.planning.plan import plan_scan
from tests.helpers.live_scans import in_chunks, live, of_the_file
from tests.helpers.mrd_scans import close, copied, joined, select, small_scan, with_encoding


def scan_with_reference(first_counter=0, factor=5, **encoding):
    """k-space, header and lines: two slices of twofold undersampling, a reference before each."""
    kspace, _, xml, lines = small_scan(n_slices=2)
    parts = []
    for s in range(2):
        reference = select(lines, 48 * s + np.arange(16, 32))
        reference.heads["flags"] = flag_bits(CALIBRATION)
        reference.heads["idx"]["kspace_encode_step_1"] = first_counter + np.arange(16)
        reference.data[:] = [factor * d for d in reference.data]
        parts += [reference, select(lines, 48 * s + np.arange(0, 48, 2))]
    return kspace, with_encoding(xml, **encoding), joined(*parts)


@pytest.mark.parametrize("mode", ["none", "other"])
@pytest.mark.parametrize("first_counter", [0, 16, 20])
def test_a_reference_without_its_mode_is_no_average(mode, first_counter):
    """The reference has another contrast: five times the signal."""
    kspace, header, lines = scan_with_reference(first_counter, calibration_mode=mode)
    for images in (of_the_file(header, lines), live(header, in_chunks(lines, 7), "slice")[0]):
        assert len(images) == 2
        for counters, image in images.items():
            close(image.kspace[:, ::2], kspace[counters.slice][:, ::2])
            assert not image.mask[1::2].any()
            close(image.acs, 5 * kspace[counters.slice][:, 16:32])
            (note,) = image.notes
            assert "lines are calibration lines only (flag 20) at places that image lines" in note
            assert "taken as a separate reference scan" in note


@pytest.mark.parametrize("mode", ["none", "other", "embedded"])
def test_calibration_lines_between_image_lines_stay_in_the_image(mode):
    kspace, _, xml, lines = small_scan()
    rows = np.array([r for r in range(48) if r % 2 == 0 or 16 <= r < 32])
    lines = select(lines, rows)
    lines.heads["flags"][rows % 2 == 1] = flag_bits(CALIBRATION)
    (image,) = of_the_file(with_encoding(xml, calibration_mode=mode), lines).values()
    close(image.kspace[:, rows], kspace[0][:, rows])
    assert image.mask[:, 0].nonzero().flatten().tolist() == rows.tolist() and image.notes == ()


def test_embedded_lines_at_places_of_image_lines_are_averaged_with_a_note():
    kspace, header, lines = scan_with_reference(16, factor=1, calibration_mode="embedded")
    plan = plan_scan(header, lines.heads)
    assert not plan.rejected and {c.kind for c in plan.calibration.values()} == {"shared"}
    for counters, image in of_the_file(header, lines).items():
        close(image.kspace[:, 16:32], kspace[counters.slice][:, 16:32])
        assert "at 16 places that image lines measured as well, both are averaged" in image.notes[0]


def test_a_line_measured_again_makes_no_reference_scan():
    _, _, xml, lines = small_scan()
    rows = np.array([*range(0, 48, 2), *range(17, 32, 2), 24])
    lines = copied(select(lines, rows))
    lines.heads["flags"][24:] = flag_bits(CALIBRATION)
    header = with_encoding(xml, calibration_mode="other")
    plan = plan_scan(header, lines.heads)
    assert [len(x) for x in plan.groups.values()] == [33]
    assert "at 1 places that image lines measured as well" in plan.notes[0][0]
