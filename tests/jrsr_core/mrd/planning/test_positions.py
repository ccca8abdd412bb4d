"""Slices whose counter is not set, and slices that have no place of their own."""

import numpy as np
import pytest

from jrsr_core.mrd.header.scan_header import parse_header
from jrsr_core.mrd.planning.plan import plan_scan
from tests.helpers.live_scans import of_the_file
from tests.helpers.mrd_scans import close, copied, select, small_scan, with_encoding


def overlapping(distance_mm, n_slices=3, n_kept=None):
    """k-space, header and lines of slices 5 mm thick, so far apart, all of counter 0."""
    kspace, _, xml, lines = small_scan(n_slices=n_slices)
    lines = select(lines, np.arange(len(lines.heads))[:n_kept])
    number = lines.heads["idx"]["slice"].copy()
    lines.heads["position"] = distance_mm * number[:, None] * lines.heads["slice_dir"]
    lines.heads["idx"]["slice"] = 0
    return kspace, xml, lines


@pytest.mark.parametrize("distance_mm", [0.5, 2.0, 5.0])
@pytest.mark.parametrize("thickness", [5.0, 20.0])
@pytest.mark.parametrize("by_line", [False, True])
def test_overlapping_slices_are_no_averages(distance_mm, thickness, by_line):
    kspace, xml, lines = overlapping(distance_mm)
    if by_line:
        lines = select(lines, np.arange(len(lines.heads)).reshape(3, -1).T.ravel())
    _, y, x = parse_header(xml).encodings[0].recon_fov_mm
    images = of_the_file(with_encoding(xml, recon_fov_mm=(thickness, y, x)), lines)
    assert [c.slice for c in images] == [0, 1, 2]
    for number, image in enumerate(images.values()):
        close(image.kspace, kspace[number])
        assert image.geometry.position_mm[2] == pytest.approx(distance_mm * number)
        assert "lie at 3 places" in image.notes[0]


def test_an_overlapping_slice_that_broke_off_is_a_slice():
    _, xml, lines = overlapping(2.0, n_kept=3 * 48 - 15)
    assert len(plan_scan(parse_header(xml), lines.heads).groups) == 3


def test_averages_in_a_moving_head_stay_averages():
    """The counter of averages tells two places of one image from two slices."""
    _, xml, lines = overlapping(2.0, n_slices=2)
    lines.heads["idx"]["average"] = lines.heads["position"][:, 2] > 0
    plan = plan_scan(parse_header(xml), lines.heads)
    assert len(plan.groups) == 1 and plan.notes == {0: ()}


def test_slices_at_one_place_are_stated():
    _, _, xml, lines = small_scan(n_slices=4)
    alone = copied(lines)
    assert plan_scan(parse_header(xml), alone.heads).notes == {0: ()}
    alone.heads["position"] = 0
    plan = plan_scan(parse_header(xml), alone.heads)
    assert len(plan.groups) == 4
    (note,) = plan.notes[0]
    assert note.startswith("4 of 4 slices share their position with another one, as (0, 0, 0) mm")
    assert "patient_table_position" not in note
    alone.heads["patient_table_position"][:, 2] = alone.heads["idx"]["slice"] // 2
    assert "patient_table_position" in plan_scan(parse_header(xml), alone.heads).notes[0][0]


def test_slices_that_cross_at_one_place_are_a_localizer():
    _, _, xml, lines = small_scan(n_slices=2)
    lines.heads["position"] = 0
    turned = lines.heads["idx"]["slice"] == 1
    lines.heads["phase_dir"][turned], lines.heads["slice_dir"][turned] = (0, 0, 1), (0, -1, 0)
    assert plan_scan(parse_header(xml), lines.heads).notes == {0: ()}
