"""Images of one slice with different directions: each is right, and none borrows another's ACS."""

import numpy as np
import pytest

from jrsr_core.mrd.acs.axes import acs_keys
from jrsr_core.mrd.assembly.assemble import Assembler
from jrsr_core.mrd.errors import UnsupportedScan
from jrsr_core.mrd.header.scan_header import parse_header
from jrsr_core.mrd.planning.plan import plan_scan
from tests.helpers.live_scans import assert_same, in_chunks, live, of_the_file
from tests.helpers.mrd_scans import close, copied, joined, select, small_scan, with_encoding

FLIPS = {
    "readout": {"read_dir": (-1, 0, 0)},
    "readout and normal": {"read_dir": (-1, 0, 0), "slice_dir": (0, 0, -1)},
    "phase and normal": {"phase_dir": (0, -1, 0), "slice_dir": (0, 0, -1)},
    "exchanged": {"read_dir": (0, 1, 0), "phase_dir": (1, 0, 0)},
    "exchanged, without normal": {"read_dir": (0, 1, 0), "phase_dir": (1, 0, 0), "slice_dir": 0},
}


TURNED = {"read_dir": (0.9962, 0.0872, 0), "phase_dir": (-0.0872, 0.9962, 0)}


def two_images(counter, **directions):
    """k-space and lines of two slices, twice by a counter; the second time with other axes."""
    kspace, _, xml, lines = small_scan(n_slices=2)
    second = copied(lines)
    second.heads["idx"][counter] = 1
    second.data[:] = [3 * d for d in second.data]
    for name, direction in directions.items():
        second.heads[name] = direction
    return kspace, parse_header(xml), joined(lines, second)


@pytest.mark.parametrize("counter", ["set", "contrast", "phase", "repetition"])
@pytest.mark.parametrize("flip", FLIPS)
def test_each_image_has_its_axes_and_its_own_acs(counter, flip):
    kspace, header, lines = two_images(counter, **FLIPS[flip])
    images = of_the_file(header, lines)
    assert len(images) == 4
    for counters, image in images.items():
        factor = 3 if getattr(counters, counter) else 1
        close(image.kspace, factor * kspace[counters.slice])
        close(image.acs, factor * kspace[counters.slice][:, 4:44])
        assert image.geometry.position_mm[2] == pytest.approx(5 * counters.slice)
        turned = {k: v for k, v in FLIPS[flip].items() if v} if factor == 3 else {}
        for name, direction in turned.items():
            assert getattr(image.geometry, name) == direction
        assert image.notes == ()


@pytest.mark.parametrize("n", [1, 48, 10**6])
def test_a_running_scan_calibrates_as_its_file(n):
    _, header, lines = two_images("repetition", **FLIPS["phase and normal"])
    expected = of_the_file(header, lines)
    made, _ = live(header, in_chunks(lines, n), "repetition")
    assert set(made) == set(expected)
    for counters, image in expected.items():
        assert_same(made[counters], image)


def test_images_of_one_unit_leave_a_running_scan_together():
    """A set without an ACS waits for one; the lines of the other set must not go without it."""
    _, header, lines = two_images("set", **FLIPS["exchanged"])
    thin = (lines.heads["idx"]["set"] == 0) | (lines.heads["idx"]["kspace_encode_step_1"] % 2 == 0)
    lines = select(lines, np.flatnonzero(thin))
    maxima = header.encodings[0].counter_maxima | {"set": 1, "repetition": 1}
    header = with_encoding(header.xml, counter_maxima=maxima)
    later = copied(lines)
    later.heads["idx"]["repetition"] = 1
    made, _ = live(header, in_chunks(joined(lines, later), 10), "repetition")
    assert len(made) == 8
    assert {c.set: image.acs.shape[1] for c, image in made.items()} == {0: 40, 1: 1}


def test_small_rotations_share_their_acs():
    _, header, lines = two_images("repetition", **TURNED)
    plan = plan_scan(header, lines.heads)
    assert {key.axes for key in plan.calibration} == {0} and len(plan.calibration) == 2
    images = list(Assembler(lines, plan))
    assert images[0].acs is images[2].acs


def test_axes_keep_their_number_when_their_lines_are_gone():
    _, header, lines = two_images("repetition", **FLIPS["exchanged"])
    groups, known = plan_scan(header, lines.heads).groups, {}
    first = {c: x for c, x in groups.items() if c.repetition == 0}
    later = {c: x for c, x in groups.items() if c.repetition == 1}
    assert {k.axes for k in acs_keys(lines.heads, first, known).values()} == {0}
    assert {k.axes for k in acs_keys(lines.heads, later, known).values()} == {1}


def test_a_reversed_set_takes_no_reference_of_other_axes():
    kspace, header, lines = two_images("set", **FLIPS["phase and normal"])
    reference = select(lines, np.flatnonzero(lines.heads["idx"]["set"] == 0))
    reference.heads["flags"] = 1 << 19
    header = with_encoding(header.xml, calibration_mode="separate")
    plan = plan_scan(header, joined(reference, lines).heads)
    kinds = {c.set: plan.calibration[key].kind for c, key in plan.acs_keys.items()}
    assert kinds == {0: "reference", 1: "shared"}
    assert plan.rejected == {"reference of another orientation": 96}
    assert len(kspace) == 2


@pytest.mark.parametrize(
    ("name", "axis", "words"),
    [
        ("read_dir", (-1, 0, 0), "readout directions of lines of one image differ by 180 degrees"),
        ("phase_dir", (0, -1, 0), "phase-encode directions of lines of one image differ by 180"),
    ],
)
def test_directions_within_one_image_are_declined(name, axis, words):
    _, _, xml, lines = small_scan()
    lines.heads[name][20:] = axis
    with pytest.raises(UnsupportedScan, match=words):
        plan_scan(parse_header(xml), lines.heads)
