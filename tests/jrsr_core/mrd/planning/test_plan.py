"""Plans: what is found from the lines stays beside the header, and needs no tensor."""

import sys
from dataclasses import replace

import pytest

from jrsr_core.mrd.errors import UnsupportedScan
from jrsr_core.mrd.files.scan import write_scan
from jrsr_core.mrd.header.scan_header import parse_header
from jrsr_core.mrd.lines.numbering import Numbering
from jrsr_core.mrd.planning.plan import plan_scan
from tests.helpers.mrd_scans import (
    assembled,
    close,
    copied,
    joined,
    small_scan,
    with_encoding,
)
from tests.helpers.paths import ROOT
from tests.helpers.processes import run_process

MODULES = ("live.trigger", "planning.plan", "files.scan", "files.sandbox_child")


@pytest.mark.parametrize("oversampling", [True, False])
def test_oversampling_is_found_and_the_header_stays(oversampling):
    _, _, xml, lines = small_scan(oversampling=oversampling)
    header = parse_header(xml)
    plan = plan_scan(header, lines.heads)
    assert plan.header is header and header == parse_header(xml)
    (layout,) = plan.layouts
    assert layout.encoding is header.encodings[0]
    assert layout.has_oversampling == oversampling
    assert {plan.layout_of(counters) for counters in plan.groups} == {layout}


def test_rejected_lines_are_those_without_image():
    _, _, xml, lines = small_scan()
    lines.heads["flags"][[3, 5]] |= 1 << 22
    plan = plan_scan(parse_header(xml), lines.heads)
    assert plan.rejected == {"navigator": 2}
    assert sum(map(len, plan.groups.values())) == len(lines.heads) - 2


def test_reading_and_planning_a_file_import_neither_torch_nor_ismrmrd(tmp_path):
    _, _, xml, lines = small_scan()
    write_scan(tmp_path / "scan.h5", xml, lines)
    code = "import sys\n" + "".join(f"import jrsr_core.mrd.{name}\n" for name in MODULES)
    code += f"""
from jrsr_core.mrd.files.scan import ScanFile
from jrsr_core.mrd.planning.plan import plan_scan
with ScanFile({str(tmp_path / "scan.h5")!r}) as scan:
    plan = plan_scan(scan.header, scan.heads)
    scan.samples(plan.groups.popitem()[1])
print(sorted({{"torch", "ismrmrd"}} & set(sys.modules)))
"""
    done = run_process([sys.executable, "-c", code], check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_unused_encoding_spaces_do_no_harm():
    kspace, _, xml, lines = small_scan()
    spare = parse_header(xml).encodings[0]
    (slice_,) = assembled(with_encoding(xml, replace(spare, trajectory="spiral")), lines)
    close(slice_.kspace, kspace[0])


def two_spaces(**changes):
    """Two scans of other slices as encoding spaces 0 and 1, and their k-space."""
    kspace, _, xml, lines = small_scan(n_slices=2)
    second = parse_header(small_scan((40, 56))[2]).encodings[0]
    other, _, _, lines_1 = small_scan((40, 56), n_slices=2)
    lines_1 = copied(lines_1)
    lines_1.heads["encoding_space_ref"] = 1
    header = with_encoding(xml, replace(second, **changes))
    return header, joined(lines, lines_1), kspace, other


def test_image_lines_of_two_encoding_spaces_make_images_of_their_own():
    header, lines, kspace, other = two_spaces()
    slices = assembled(header, lines)
    assert [(s.counters.encoding, s.counters.slice) for s in slices] == [
        (0, 0),
        (0, 1),
        (1, 0),
        (1, 1),
    ]
    for s, expected in zip(slices, (*kspace, *other), strict=True):
        close(s.kspace, expected)
    plan = plan_scan(header, lines.heads)
    assert plan.spaces == [0, 1] and plan.header is header
    numbering = Numbering(header.encodings)
    numbers = [(numbering.series(c), numbering.number(c)) for c in plan.groups]
    assert [series for series, _ in numbers] == [0, 0, 1, 1] and len(set(numbers)) == 4
    later_first = Numbering(header.encodings)
    again = [(later_first.series(c), later_first.number(c)) for c in reversed(list(plan.groups))]
    assert again[::-1] == numbers


def test_a_space_that_makes_no_image_is_set_aside_with_the_reason():
    header, lines, *_ = two_spaces(trajectory="spiral")
    plan = plan_scan(header, lines.heads)
    assert plan.spaces == [0]
    assert plan.rejected == {"of encoding 1 (trajectory is spiral, expected cartesian)": 80}
    stray = copied(small_scan()[3])
    stray.heads["encoding_space_ref"][5] = 1
    header = with_encoding(small_scan()[2], header.encodings[0])
    assert plan_scan(header, stray.heads).rejected == {
        "of encoding 1 (1 phase-encode lines make no image)": 1
    }
    spirals = tuple(replace(e, trajectory="spiral") for e in two_spaces()[0].encodings)
    with pytest.raises(UnsupportedScan, match=r"encoding 0 .*spiral.* encoding 1 .*spiral"):
        plan_scan(replace(header, encodings=spirals), lines.heads)
