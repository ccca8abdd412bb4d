"""Directions of lines: those of a file are judged, and filled in, as those of Python."""

import re

import numpy as np
import pytest

from jrsr_core.data import SliceGeometry
from jrsr_core.mrd.errors import BadScan
from jrsr_core.mrd.header.scan_header import parse_header
from jrsr_core.mrd.lines.geometry import DIRECTIONS, check_places, slice_geometry, with_directions
from tests.helpers.mrd_scans import small_scan

NONE, TILTED, AXES = (0, 0, 0), (0.6, 0, 0.8), np.eye(3)


def lines_along(*axes):
    """Header of a scan, and its 48 line headers with these directions."""
    _, _, xml, lines = small_scan()
    for name, axis in zip(DIRECTIONS, axes, strict=True):
        lines.heads[name] = axis
    return parse_header(xml), lines.heads


@pytest.mark.parametrize(
    ("axes", "fault"),
    [
        ((AXES[0], (0.6, 0.8, 0), AXES[2]), "read_dir and phase_dir are not perpendicular, their"),
        ((AXES[0], NONE, TILTED), "read_dir and slice_dir are not perpendicular, their cosine is"),
        ((NONE, AXES[2], TILTED), "phase_dir and slice_dir are not perpendicular, their cosine is"),
        ((NONE, NONE, AXES[0]), "slice_dir is [1.0, 0.0, 0.0] and no other direction is given: an"),
    ],
)
def test_directions_without_an_orientation_are_refused(axes, fault):
    with pytest.raises(ValueError, match=f"^{re.escape(fault)}"):
        SliceGeometry((0, 0, 0), *axes, (5, 220, 220))
    _, heads = lines_along(*axes)
    with pytest.raises(BadScan, match=f"^48 lines: {re.escape(fault)}"):
        check_places(heads)
    heads[1:]["read_dir"], heads[1:]["phase_dir"], heads[1:]["slice_dir"] = AXES
    with pytest.raises(BadScan, match=f"^1 line: {re.escape(fault)}"):
        check_places(heads)


def test_a_slice_direction_beside_both_others_gives_its_side_alone():
    _, heads = lines_along(AXES[0], AXES[1], TILTED)
    check_places(heads)
    axes = (AXES[0], AXES[1], TILTED)
    made = SliceGeometry((0, 0, 0), *axes, (5, 220, 220))
    straight = SliceGeometry.axial((5, 220, 220))
    np.testing.assert_array_equal(made.affine((44, 44)), straight.affine((44, 44)))


@pytest.mark.parametrize("missing", range(3))
def test_a_direction_that_is_filled_in_has_length_1(missing):
    axes = [3 * AXES[0], 0.5 * AXES[1], 2 * AXES[2]]
    axes[missing] = NONE
    header, heads = lines_along(*axes)
    name = DIRECTIONS[missing]
    np.testing.assert_array_equal(with_directions(heads)[name], np.tile(AXES[missing], (48, 1)))
    geometry = slice_geometry(heads[0], header.encodings[0])
    assert getattr(geometry, name) == tuple(AXES[missing])
