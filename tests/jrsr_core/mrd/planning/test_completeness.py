"""Images that the ACS of another one makes no longer, and images that did break off."""

import numpy as np
import pytest

from jrsr_core.mrd.header import parse_header
from jrsr_core.mrd.lines import CALIBRATION, CALIBRATION_AND_IMAGING, flag_bits
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
