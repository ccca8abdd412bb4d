"""Images that the ACS of another one makes no longer, and images that did break off."""

import numpy as np
import pytest

from jrsr_core.mrd.header.scan_header import parse_header
from jrsr_core.mrd.lines.acquired import CALIBRATION, CALIBRATION_AND_IMAGING, flag_bits
from jrsr_core.mrd.planning.earlier import EarlierImages
from jrsr_core.mrd.planning.plan import plan_scan
from tests.helpers.mrd_scans import joined, select, small_scan


def image(lines, rows, flags, **counters):
    part = select(lines, rows)
    part.heads["flags"] = flags
    for name, value in counters.items():
        part.heads["idx"][name] = value
    return part


@pytest.mark.parametrize("counter", ["set", "contrast", "repetition", "phase"])
@pytest.mark.parametrize("flag", [CALIBRATION, CALIBRATION_AND_IMAGING])
def test_an_acs_of_one_image_breaks_off_no_other(counter, flag):
    _, _, xml, lines = small_scan()
    even, odd = np.arange(0, 48, 2), np.arange(17, 32, 2)
    parts = [
        image(lines, even, 0),
        image(lines, odd, flag_bits(flag)),
        image(lines, even, 0, **{counter: 1}),
    ]
    plan = plan_scan(parse_header(xml), joined(*parts).heads)
    assert len(plan.groups) == 2 and plan.incomplete == {}


@pytest.mark.parametrize("flag", [CALIBRATION, CALIBRATION_AND_IMAGING])
def test_an_image_that_lacks_more_than_the_acs_broke_off(flag):
    _, _, xml, lines = small_scan()
    rows = np.array([r for r in range(48) if r % 2 == 0 or 16 <= r < 32])
    flags = np.where((rows >= 16) & (rows < 32), flag_bits(flag), 0).astype(np.uint64)
    whole, part = image(lines, rows, flags), image(lines, rows[:28], flags[:28], set=1)
    (reason,) = plan_scan(parse_header(xml), joined(whole, part).heads).incomplete.values()
    assert reason == "28 of 32 lines were measured: the scan broke off in this image"


def series(lines, *rows, first=0):
    return joined(*(image(lines, r, 0, repetition=n) for n, r in enumerate(rows, start=first)))


def test_a_keyhole_series_is_complete_and_ends_where_it_breaks_off():
    """Every third frame measures the centre alone, the last one of the series as well."""
    _, _, xml, lines = small_scan()
    full, keyhole = np.arange(48), np.arange(14, 34)
    header, frames = parse_header(xml), [full, full, keyhole] * 2
    assert plan_scan(header, series(lines, *frames).heads).incomplete == {}
    broken = plan_scan(header, series(lines, *frames, full[:30]).heads).incomplete
    assert {c.repetition: reason for c, reason in broken.items()} == {
        6: "30 of 48 lines were measured: the scan broke off in this image"
    }


def test_a_keyhole_frame_after_which_all_lines_are_gone_stays_complete():
    """In a running scan the lines of earlier images are dropped; their patterns remain."""
    _, _, xml, lines = small_scan()
    full, keyhole = np.arange(48), np.arange(14, 34)
    header, earlier = parse_header(xml), EarlierImages()
    plan_scan(header, series(lines, full, full, keyhole, full).heads, earlier=earlier)
    last = series(lines, keyhole, first=4)
    assert plan_scan(header, last.heads, earlier=earlier).incomplete == {}


def test_a_slice_with_fewer_lines_in_every_repetition_did_not_break_off():
    """The last slice of the last repetition did, and no other."""
    _, _, xml, lines = small_scan()
    rows = [np.arange(48), np.arange(0, 48, 2), np.arange(48)]
    parts = [
        image(lines, rows[s][:30] if (r, s) == (1, 2) else rows[s], 0, repetition=r, slice=s)
        for r in range(2)
        for s in range(3)
    ]
    broken = plan_scan(parse_header(xml), joined(*parts).heads).incomplete
    assert [(c.repetition, c.slice) for c in broken] == [(1, 2)]
