"""Plans: what is found from the lines stays beside the header, and needs no tensor."""

import subprocess
import sys

import pytest

from jrsr_core.mrd.files.scan import write_scan
from jrsr_core.mrd.header import parse_header
from jrsr_core.mrd.plan import plan_scan
from tests.helpers.mrd_scans import small_scan
from tests.helpers.paths import ROOT

MODULES = ("trigger", "plan", "files.scan", "files.sandbox")


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
from jrsr_core.mrd.plan import plan_scan
with ScanFile({str(tmp_path / "scan.h5")!r}) as scan:
    plan = plan_scan(scan.header, scan.heads)
    scan.samples(plan.groups.popitem()[1])
print(sorted({{"torch", "ismrmrd"}} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]"
