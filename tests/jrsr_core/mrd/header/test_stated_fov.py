"""Fields of view that contradict the matrices of the header."""

import re

import numpy as np
import pytest

from gadget.compute.model import make_engine
from gadget.scan.stages import file_tasks, make_assembler, reconstruct, to_results
from gadget.settings import Settings
from jrsr_core.mrd.errors import UnsupportedScan
from jrsr_core.mrd.header.scan_header import parse_header
from jrsr_core.mrd.planning.plan import plan_scan
from jrsr_core.mrd.simulator.request import ScanRequest
from jrsr_core.mrd.simulator.simulate import simulate_scan
from jrsr_core.reconstruction.field_of_view import crop_to_fov

SETTINGS = Settings(model="cg-sense+sinc", device="cpu")


@pytest.fixture(scope="module")
def volume():
    """Header and lines of a volume of 40 partitions, 1.8 mm each."""
    request = ScanRequest(
        protocol="wall-16x", matrix="96x80", positions=4, acs=16, n_coils=4, noise_scan=False
    )
    made = simulate_scan(request)
    return made.header_xml, made.lines


def with_z(xml, *, fov=None, matrix=None):
    """The header with another delivered field of view, or matrix, along z."""
    start = xml.index("<reconSpace>")
    before, space = xml[:start], xml[start:]
    if fov is not None:
        space = re.sub(r"<z>[\d.]+</z></fieldOf", f"<z>{fov:g}</z></fieldOf", space, count=1)
    if matrix is not None:
        space = re.sub(r"<z>\d+</z></matrix", f"<z>{matrix}</z></matrix", space, count=1)
    return before + space


def delivered(header, lines):
    """The only image with its header, and the notes of the plan."""
    plan = plan_scan(header, lines.heads)
    tasks = file_tasks(make_assembler(lines, plan, SETTINGS))
    images = reconstruct(tasks, make_engine(SETTINGS), SETTINGS)
    (result,) = to_results(images, plan.header, SETTINGS)
    return result, plan.notes[0]


def test_the_thickness_of_a_partition_is_no_crop(volume):
    xml, lines = volume
    nz, whole = 40, parse_header(xml).encodings[0].encoding_fov_mm[0]
    expected, none = delivered(parse_header(xml), lines)
    assert none == () and expected.mrd.data.shape[1] == 2 * nz
    for thickness in (whole / nz, 1.1 * whole / nz):
        header = parse_header(with_z(xml, fov=thickness))
        found, notes = delivered(header, lines)
        np.testing.assert_array_equal(found.mrd.data, expected.mrd.data)
        assert found.mrd.field_of_view[2] == pytest.approx(whole)
        assert f"taken as the thickness of one of {nz} partitions" in notes[0]


def test_oversampled_partitions_are_cropped_by_their_thickness(volume):
    xml, lines = volume
    nz, whole = 40, parse_header(xml).encodings[0].encoding_fov_mm[0]
    header = parse_header(with_z(xml, fov=whole / nz, matrix=nz * 3 // 4))
    found, _ = delivered(header, lines)
    assert found.mrd.data.shape[1] == 2 * nz * 3 // 4
    assert found.mrd.field_of_view[2] == pytest.approx(0.75 * whole)


def test_a_real_crop_stays_one_and_a_narrow_one_is_stated(volume):
    xml, lines = volume
    whole = parse_header(xml).encodings[0].encoding_fov_mm[0]
    half = parse_header(with_z(xml, fov=whole / 2, matrix=20))
    assert half.encodings[0].notes == () and half.encodings[0].recon_fov_mm[0] == whole / 2
    narrow = plan_scan(parse_header(with_z(xml, fov=whole / 8)), lines.heads)
    assert "of 40 partitions 5 are kept" in narrow.notes[0][0]


def test_a_crop_below_one_pixel_is_declined(volume):
    xml, lines = volume
    header = parse_header(with_z(xml, fov=0.5))
    with pytest.raises(UnsupportedScan, match=r"reconSpace/fieldOfView_mm/z is 0.5 mm, less than"):
        plan_scan(header, lines.heads)
    image, _ = delivered(parse_header(xml), lines)
    with pytest.raises(ValueError, match=r"0\.5 x 50 x 50 mm .* keeps no pixel"):
        crop_to_fov(image.image, (0.5, 50.0, 50.0))


@pytest.mark.parametrize(("axis", "name"), [(0, "z"), (1, "y")])
def test_a_finer_phase_encode_in_one_field_of_view_has_two_readings(volume, axis, name):
    xml, lines = volume
    encoding = parse_header(xml).encodings[0]
    n, mm = encoding.encoding_matrix[axis], encoding.encoding_fov_mm[axis]
    start = xml.index("<reconSpace>")
    halved = re.sub(rf"<{name}>{n}</{name}>", f"<{name}>{n // 2}</{name}>", xml[start:], count=1)
    plan = plan_scan(parse_header(xml[:start] + halved), lines.heads)
    (note,) = plan.notes[0]
    assert f"{n} samples are encoded along {name} and {n // 2} wanted" in note
    assert f"encodedSpace/fieldOfView_mm/{name} has to be {2 * mm:g}" in note
    assert not plan_scan(parse_header(xml), lines.heads).notes[0]
