"""References whose line headers have two directions: the third one follows."""

import numpy as np
import pytest

from jrsr_core.mrd.lines.geometry import DIRECTIONS, with_directions
from jrsr_core.mrd.planning.plan import plan_scan
from tests.helpers.mrd_scans import assembled, close, copied, joined

from .test_reference import seen_from, separate_scan

AXES = np.array([[0.6, 0.8, 0], [-0.8, 0.6, 0], [0, 0, 1]], np.float32)


@pytest.mark.parametrize("missing", DIRECTIONS)
@pytest.mark.parametrize("who", ["reference", "image", "both"])
def test_the_offset_of_a_reference_counts(missing, who):
    kspace, header, reference, thin = separate_scan()
    moved = seen_from(reference, header, 30.0, 0.0)
    for name, part in (("reference", moved), ("image", thin)):
        if who in (name, "both"):
            part.heads[missing] = 0
    lines = joined(moved, thin)
    (slice_,) = assembled(header, lines)
    close(slice_.acs, kspace[0][:, 16:32])
    assert slice_.notes == () and not plan_scan(header, lines.heads).rejected


@pytest.mark.parametrize("missing", DIRECTIONS)
def test_slices_of_a_reference_are_found_by_their_place(missing):
    kspace, header, reference, thin = separate_scan(3)
    reference.heads["idx"]["slice"] = 2 - reference.heads["idx"]["slice"]
    lines = joined(reference, thin)
    lines.heads[missing] = 0
    for slice_ in assembled(header, lines):
        close(slice_.acs, kspace[slice_.counters.slice][:, 16:32])


@pytest.mark.parametrize("missing", range(3))
def test_one_direction_follows_from_the_others(missing):
    _, _, reference, _ = separate_scan()
    heads = reference.heads
    for name, axis in zip(DIRECTIONS, AXES, strict=True):
        heads[name] = axis
    assert with_directions(heads) is heads
    heads[DIRECTIONS[missing]][4:] = 0
    filled = with_directions(heads)
    np.testing.assert_allclose(filled[DIRECTIONS[missing]], np.tile(AXES[missing], (16, 1)))
    assert not heads[DIRECTIONS[missing]][4:].any(), "the lines of the scan stay as they are"


def test_reference_lines_without_orientation_are_not_those_of_the_image():
    _, header, reference, thin = separate_scan()
    bare = copied(reference)
    for name in DIRECTIONS:
        bare.heads[name] = 0
    (note,) = plan_scan(header, joined(bare, thin).heads).notes[0]
    assert note.startswith("16 reference lines have no orientation: that of the images")
