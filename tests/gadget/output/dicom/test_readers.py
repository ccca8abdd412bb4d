"""Every kind of scan as DICOM, judged by readers of others: dcm2niix, dicom3tools, DCMTK, nibabel.

The value of a plane is unique, so that a plane at a wrong place or time is seen.
"""

import json
import math
import warnings
from pathlib import Path

import ismrmrd
import numpy as np
import pydicom
import pytest

from gadget.output.dicom.writer import DicomWriter, EnhancedWriter
from gadget.output.nifti.writer import NiftiWriter
from jrsr_core.mrd.simulator.line_headers import DWELL_US
from tests.helpers.commands import FAST, jrsr
from tests.helpers.other_images import AXIAL, SAGITTAL, an_image, read_folder, scale, values
from tests.helpers.processes import needs, run_process, tool

nibabel = pytest.importorskip("nibabel")

VENDORS = ("SIEMENS", "GE MEDICAL SYSTEMS", "Philips Healthcare", "")
WRITERS = {"classic": DicomWriter, "enhanced": EnhancedWriter}
CORONAL = ((1, 0, 0), (0, 0, -1), (0, 1, 0))
GAP = 7.0
RAMP = 0.5 + np.arange(48).reshape(6, 8) / 96

HEADER = """<ismrmrdHeader>
<subjectInformation><patientHeight_m>1.76</patientHeight_m></subjectInformation>
<encoding><echoTrainLength>7</echoTrainLength></encoding>
<measurementInformation><sequenceName>%SiemensSeq%\\tse</sequenceName><initialSeriesNumber>4</initialSeriesNumber>
<seriesDate>2024-05-06</seriesDate><seriesTime>10:24:00</seriesTime>
<patientPosition>HFS</patientPosition></measurementInformation>
<acquisitionSystemInformation><systemVendor>{vendor}</systemVendor>
<systemFieldStrength_T>2.89362</systemFieldStrength_T>
<coilLabel><coilNumber>0</coilNumber><coilName>HeadNeck_20:1:H11</coilName></coilLabel>
<coilLabel><coilNumber>1</coilNumber><coilName>HeadNeck_20:1:H12</coilName></coilLabel></acquisitionSystemInformation>
<experimentalConditions><H1resonanceFrequency_Hz>123250000</H1resonanceFrequency_Hz>
</experimentalConditions>
<sequenceParameters><TR>500</TR><TE>4.92</TE><TE>9.84</TE><TE>14.76</TE><TI>300</TI>
<flipAngle_deg>20</flipAngle_deg></sequenceParameters></ismrmrdHeader>"""


def stack(n_slices: int = 3, value: float = 100.0, **fields) -> list[ismrmrd.Image]:
    """Parallel slices with unique values."""
    return [
        an_image((value + s) * RAMP, place=GAP * s, slice=s, image_index=0, **fields)
        for s in range(n_slices)
    ]


def over(counter: str, n: int, first: float = 100.0, **fields) -> list[ismrmrd.Image]:
    """`n` stacks that differ by a counter."""
    stacks = (stack(value=first + 100.0 * i, **{counter: i}, **fields) for i in range(n))
    return [image for images in stacks for image in images]


def volume(value: float = 100.0, **fields) -> ismrmrd.Image:
    pixels = np.stack([(value + z) * RAMP for z in range(4)])
    return an_image(pixels, shape=(4, 6, 8), image_index=0, **fields)


def at(acquired: int, triggered: int) -> dict:
    return {
        "acquisition_time_stamp": acquired,
        "physiology_time_stamp": (triggered, 0, 0),
    }


PHASE = {"image_type": ismrmrd.IMTYPE_PHASE, "image_series_index": 2}
SMALLER = {"shape": (4, 6), "image_series_index": 2}
FALLBACK = {"JRSR_model": "jrsr-dc", "JRSR_fallback": "acs is 2 x 2"}
MAP = {"JRSR_model": "jrsr-dc", "JRSR_map": "hallucination"}

KINDS: dict[str, tuple[list[ismrmrd.Image], list[tuple[int, int]]]] = {
    "one slice": (stack(1), [(1, 1)]),
    "slices": (stack(), [(3, 1)]),
    "repetitions": (over("repetition", 3), [(3, 3)]),
    "cine phases": (over("phase", 5), [(3, 5)]),
    "sets": (over("set", 2), [(3, 2)]),
    "averages": (over("average", 2), [(3, 2)]),
    "echoes": (over("contrast", 3), [(3, 1)] * 3),
    "repetitions of echoes": (
        over("contrast", 2) + over("contrast", 2, first=500.0, repetition=1),
        [(3, 2)] * 2,
    ),
    "phases of repetitions": (
        over("phase", 2, repetition=0) + over("phase", 2, first=500.0, repetition=1),
        [(3, 4)],
    ),
    "magnitude and phase": (
        stack() + [an_image(2 * RAMP - s / 9, place=GAP * s, slice=s, **PHASE) for s in range(3)],
        [(3, 1), (3, 1)],
    ),
    "volume": ([volume()], [(4, 1)]),
    "volumes": ([volume(100.0 * n, repetition=n) for n in (1, 2)], [(4, 2)]),
    "encodings": (
        stack() + [an_image(40.0 + s, place=GAP * s, slice=s, **SMALLER) for s in range(3)],
        [(3, 1), (3, 1)],
    ),
    "maps": (stack() + stack(value=5.0, image_series_index=101, meta=MAP), [(3, 1), (3, 1)]),
    "fallback images": (stack(meta=FALLBACK), [(3, 1)]),
    "planes of a localiser": (
        stack() + [an_image(50.0 * RAMP, axes=axes, place=3.0) for axes in (SAGITTAL, CORONAL)],
        [(3, 1), (1, 1), (1, 1)],
    ),
    "gated cine": (
        [
            an_image(10.0 * (1 + p), phase=p, image_index=0, **at(5_000_000 + 90 * p, 20 * p + 4))
            for p in range(3)
        ],
        [(1, 3)],
    ),
    "an interrupted repetition": (stack() + stack(1, 500.0, repetition=1), [(3, 1), (1, 1)]),
    "an interrupted cine": (over("phase", 2) + stack(2, 900.0, phase=2), [(3, 2), (2, 1)]),
}
"""Images, and the stacks (slices, volumes) that a converter finds in them."""


def written(folder: Path, images, layout: str, vendor: str = "SIEMENS") -> list[Path]:
    writer = WRITERS[layout](folder / layout, HEADER.format(vendor=vendor))
    with writer:
        for image in images:
            writer.write(image)
    return sorted(writer.path.iterdir())


def converted(folder: Path, source: Path) -> list[tuple["nibabel.Nifti1Image", dict, str]]:
    """Convert with dcm2niix: images, their descriptions, and their names."""
    target = folder / "nifti"
    target.mkdir()
    command = [tool("dcm2niix"), "-b", "y", "-f", "%s_%d", "-o", target, source]
    run = run_process(command)
    assert run.returncode == 0, run.stdout + run.stderr
    return [
        (nibabel.load(p), json.loads(p.with_suffix(".json").read_text()), p.stem)
        for p in sorted(target.glob("*.nii"))
    ]


def size(image: "nibabel.Nifti1Image") -> tuple[int, int]:
    shape = (*image.shape, 1, 1)
    return shape[2], shape[3]


@pytest.mark.parametrize("layout", WRITERS)
def test_slices_with_a_gap_are_further_apart_than_thick(tmp_path, layout):
    for ds in read_folder(written(tmp_path, KINDS["slices"][0], layout)[0].parent):
        group = ds
        if layout == "enhanced":
            (group,) = ds.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
        assert (group.SpacingBetweenSlices, group.SliceThickness) == (GAP, 5.0)
        assert list(group.PixelSpacing) == [120 / 6, 160 / 8]


needs_dcm2niix = needs("dcm2niix")


@needs_dcm2niix
@pytest.mark.parametrize("layout", WRITERS)
@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("kind", KINDS)
def test_dcm2niix_finds_every_stack_in_its_order(tmp_path, kind, vendor, layout):
    images, expected = KINDS[kind]
    paths = written(tmp_path, images, layout, vendor)
    made = converted(tmp_path, paths[0].parent)
    assert sorted(size(nifti) for nifti, *_ in made) == sorted(expected)
    if kind in ("encodings", "magnitude and phase", "planes of a localiser"):
        return  # Values are not those of `stack`.
    n_found = 0
    for nifti, *_ in made:
        data = nifti.get_fdata()
        data = data if data.ndim == 4 else data[..., None]
        means = data.mean((0, 1))
        assert (np.diff(means, axis=1) > 0).all(), "volumes in the order of time"
        along = (nifti.affine @ np.array([0, 0, 1, 0]))[2]
        assert (np.sign(np.diff(means, axis=0)) == np.sign(along)).all(), "slices by place"
        n_found += means.size
    assert n_found == sum(image.data.shape[1] for image in images)


@needs_dcm2niix
@pytest.mark.parametrize("layout", WRITERS)
@pytest.mark.parametrize("vendor", VENDORS)
def test_echoes_have_their_times(tmp_path, vendor, layout):
    images, _ = KINDS["echoes"]
    paths = written(tmp_path, images, layout, vendor)
    found = {}
    for nifti, about, _ in converted(tmp_path, paths[0].parent):
        found[about["EchoTime"]] = nifti.get_fdata().mean()
        assert about["RepetitionTime"] == 0.5 and about["FlipAngle"] == 20
        assert about["MagneticFieldStrength"] == pytest.approx(2.89362)
        assert about["ImagingFrequency"] == pytest.approx(123.25)
        assert "InversionTime" not in about
    assert sorted(found) == pytest.approx([0.00492, 0.00984, 0.01476])
    assert [found[t] for t in sorted(found)] == sorted(found.values())


@needs_dcm2niix
@pytest.mark.parametrize("layout", WRITERS)
@pytest.mark.parametrize("vendor", VENDORS)
def test_converted_phase_is_recognised(tmp_path, vendor, layout):
    images, _ = KINDS["magnitude and phase"]
    paths = written(tmp_path, images, layout, vendor)
    names = [name for *_, name in converted(tmp_path, paths[0].parent)]
    assert sorted(name.endswith("_ph") for name in names) == [False, True]
    assert all(name.startswith("4002") for name in names if name.endswith("_ph"))


def slices_at(places: list[float], value: float, axes=AXIAL, **fields) -> list[ismrmrd.Image]:
    return [
        an_image((value + i) * RAMP, place=mm, slice=i, axes=axes, image_index=0, **fields)
        for i, mm in enumerate(places)
    ]


SEVERAL_GRIDS = {
    "two orientations": lambda r: [
        *slices_at([0, 7, 14, 21], 100.0 + 100 * r, repetition=r),
        *slices_at([3, 12], 150.0 + 100 * r, SAGITTAL, repetition=r),
    ],
    "two groups of parallel slices": lambda r: slices_at(
        [0, 7, 14, 100, 107, 114], 100.0 + 100 * r, repetition=r
    ),
}
"""Slices of one repetition that lie on several even grids."""


@needs_dcm2niix
@pytest.mark.parametrize("kind", SEVERAL_GRIDS)
def test_every_stack_of_an_enhanced_series_has_its_own_grid(tmp_path, kind):
    """dcm2niix finds the voxels, places and values that NIfTI of the same images has."""
    images = [image for r in range(2) for image in SEVERAL_GRIDS[kind](r)]
    paths = written(tmp_path, images, "enhanced")
    theirs = _by_place([nifti for nifti, *_ in converted(tmp_path, paths[0].parent)])
    with NiftiWriter(tmp_path / "ours.nii.gz", "<ismrmrdHeader/>") as writer:
        for image in images:
            writer.write(image)
    ours = _by_place([nibabel.load(path) for path in tmp_path.glob("ours*.nii.gz")])
    assert len(ours) == 2
    for one, other in zip(theirs, ours, strict=True):
        np.testing.assert_allclose(one.affine, other.affine, atol=1e-3)
        np.testing.assert_allclose(_relative(one), _relative(other), atol=1e-3)


def _by_place(images: list["nibabel.Nifti1Image"]) -> list["nibabel.Nifti1Image"]:
    """Images with their axes in one order, by what they are and where."""
    upright = map(nibabel.as_closest_canonical, images)
    return sorted(upright, key=lambda image: np.round(image.affine, 1).ravel().tolist())


def _relative(image: "nibabel.Nifti1Image") -> np.ndarray:
    return image.get_fdata() / image.get_fdata().max()


@needs("dciodvfy")
@pytest.mark.parametrize("layout", WRITERS)
def test_without_an_echo_time_none_is_stated(tmp_path, layout):
    """The functional group of the echo is left out, which dicom3tools accept."""
    writer = WRITERS[layout](tmp_path / layout, "<ismrmrdHeader/>")
    with writer:
        for image in stack():
            writer.write(image)
    for path in writer.path.iterdir():
        elements = {element.keyword: element.value for element in pydicom.dcmread(path).iterall()}
        assert "EffectiveEchoTime" not in elements and not elements.get("EchoTime")
        run = run_process(["dciodvfy", path])
        assert "Error" not in run.stderr and "MRImage" in run.stderr, run.stderr


@needs("dciodvfy")
@pytest.mark.parametrize("layout", WRITERS)
@pytest.mark.parametrize("kind", KINDS)
def test_dicom3tools_find_no_error(tmp_path, kind, layout):
    paths = written(tmp_path, KINDS[kind][0], layout)
    for path in paths:
        run = run_process(["dciodvfy", path])
        assert "Error" not in run.stderr and "MRImage" in run.stderr, run.stderr
    run = run_process(["dcentvfy", *paths])
    assert not run.stdout and not run.stderr, run.stderr


@needs("dciodvfy")
@pytest.mark.parametrize("layout", WRITERS)
def test_dicom3tools_accept_an_inversion_sequence(tmp_path, layout):
    kind = "<sequence_type>Flash</sequence_type></sequenceParameters>"
    protocol = "<protocolName>t1_mprage</protocolName></measurementInformation>"
    xml = HEADER.format(vendor="SIEMENS").replace("</sequenceParameters>", kind)
    writer = WRITERS[layout](tmp_path / layout, xml.replace("</measurementInformation>", protocol))
    with writer:
        writer.write(volume())
    for path in writer.path.iterdir():
        assert pydicom.dcmread(path).InversionTime == 300
        run = run_process(["dciodvfy", path])
        assert "Error" not in run.stderr and "MRImage" in run.stderr, run.stderr


@needs("dcm2pnm")
@pytest.mark.parametrize("layout", WRITERS)
@pytest.mark.parametrize("factor", [1e-9, 1.0, 1e6])
def test_dcmtk_shows_the_image_without_options(tmp_path, factor, layout):
    """A Siemens scale of 1e-9 was black."""
    image = an_image(factor * (RAMP - RAMP.min()))
    (path,) = written(tmp_path, [image], layout)
    run = run_process(["dcm2pnm", path, tmp_path / "x.pgm"], check=True)
    assert "modality transform" not in run.stderr
    header, _, pixels = (tmp_path / "x.pgm").read_bytes().partition(b"\n255\n")
    assert header.startswith(b"P")
    text = header.split() if header.startswith(b"P5") else None
    shown = np.frombuffer(pixels, np.uint8) if text else np.array(pixels.split(), int)
    expected = 255 * (RAMP - RAMP.min()) / np.ptp(RAMP)
    np.testing.assert_allclose(shown.reshape(6, 8), expected, atol=2)


@pytest.mark.parametrize("kind", KINDS)
def test_nibabel_reads_every_enhanced_image(tmp_path, kind):
    images, expected = KINDS[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from nibabel.nicom.dicomwrappers import MultiframeWrapper
    found = []
    for path in written(tmp_path, images, "enhanced"):
        wrapper = MultiframeWrapper(pydicom.dcmread(path))
        shape = (*wrapper.image_shape, 1, 1)
        found.append((shape[2], shape[3]))
        assert np.prod(wrapper.get_data().shape) == np.prod(wrapper.image_shape)
    assert sorted(found) == sorted(expected)


@pytest.mark.parametrize("layout", WRITERS)
@pytest.mark.parametrize("kind", KINDS)
def test_values_are_those_of_the_images_within_half_a_step(tmp_path, kind, layout):
    """Also where the unit of the scanner is tiny."""
    images = [image_times(image, 1e-9) for image in KINDS[kind][0]]
    found = []
    for ds in read_folder(written(tmp_path, images, layout)[0].parent):
        found += [(p, scale(ds)) for p in values(ds).reshape(-1, ds.Rows, ds.Columns)]
    wanted = [plane for image in images for plane in image.data[0]]
    assert len(found) == len(wanted)
    for plane in wanted:
        alike = [(abs(p - plane).max(), step) for p, step in found if p.shape == plane.shape]
        error, step = min(alike)
        assert error <= 0.5001 * step


def image_times(image: ismrmrd.Image, factor: float) -> ismrmrd.Image:
    scaled = ismrmrd.Image(image.getHead(), image.attribute_string)
    scaled.data[:] = image.data * np.float32(factor)
    return scaled


def test_a_series_uses_its_12_bits(tmp_path):
    made = read_folder(written(tmp_path, over("repetition", 3), "classic")[0].parent)
    assert max(ds.pixel_array.max() for ds in made) == 4095
    assert len({scale(ds) for ds in made}) == 1, "images of a series can be compared"


def test_phase_uses_the_whole_circle(tmp_path):
    image = an_image(math.pi / 2 * (2 * RAMP - 1), **PHASE)
    (ds,) = read_folder(written(tmp_path, [image], "classic")[0].parent)
    assert scale(ds) == pytest.approx(math.pi / 2047)


SIMULATED = {
    "everything counted": (
        ("--slices", "2", "--contrasts", "2", "--phases", "2", "--repetitions", "2"),
        (),
        [(2, 4)] * 2,
    ),
    "sets": (("--slices", "2", "--sets", "3"), (), [(2, 3)]),
    "two encodings": (("--slices", "2", "--second-encoding"), (), [(2, 1)] * 2),
    "maps": (("--slices", "2",), ("--set", "maps=unmeasured"), [(2, 1)] * 2),
    "fallback images": (("--slices", "2"), ("--set", "time_limit=1e-9"), [(2, 1)]),
}  # fmt: skip
"""Options of the simulation, of the reconstruction, and the stacks that a converter finds."""


@needs_dcm2niix
@pytest.mark.parametrize("kind", SIMULATED)
def test_reconstructed_scans_are_converted(tmp_path, capfd, kind):
    options, settings, expected = SIMULATED[kind]
    scan = tmp_path / "scan.h5"
    small = ("--matrix", "64x72", "--coils", "4", "--accel", "2", "--mask", "regular")
    assert jrsr(capfd, "simulate", "-o", scan, *small, "--acs", "12", *options).code == 0
    command = ("recon", scan, *FAST, *settings, "--format", "dicom,enhanced")
    assert jrsr(capfd, *command).code == (3 if "fallback" in kind else 0)
    for layout in ("dicom", "enhanced"):
        (tmp_path / layout).mkdir()
        made = converted(tmp_path / layout, tmp_path / f"scan_jrsr_{layout}")
        assert sorted(size(nifti) for nifti, *_ in made) == sorted(expected), layout
        n_samples = (2 * 36, 2 * 27) if "encodings" in kind else (2 * 36,)
        found = sorted({about["PixelBandwidth"] for _, about, _ in made})
        assert found == pytest.approx([1e6 / (n * DWELL_US) for n in n_samples], rel=1e-5), layout
