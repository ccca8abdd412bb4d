"""Images of others in DICOM and NIfTI: each has a place of its own, and its values."""

import math

import ismrmrd
import nibabel
import numpy as np
import pytest

from gadget.output.nifti.writer import NiftiWriter
from gadget.output.options import OutputOptions
from gadget.output.series.unique_numbers import unique_numbers
from tests.helpers.commands import assert_one_line, jrsr
from tests.helpers.other_images import (
    SAGITTAL,
    an_image,
    classic,
    enhanced,
    read_folder,
    real_world,
    scale,
    values,
    window,
    write_file,
)
from tests.helpers.processes import needs, run_process

SLICES = {
    "all of number 1": [an_image(i, place=5 * i, slice=i) for i in range(1, 4)],
    "without a number": [an_image(i, place=5 * i, slice=i, image_index=0) for i in range(1, 4)],
    "one number twice": [an_image(i, place=5 * i, image_index=n) for i, n in ((1, 7), (2, 7))],
    "a volume": [an_image(1, shape=(4, 6, 8), image_index=0)],
    "volumes": [an_image(i, shape=(4, 6, 8), repetition=i) for i in (1, 2, 3)],
    "16 bits come round": [an_image(i, place=5 * i, image_index=n) for i, n in ((1, 65535), (2, 1))]
    + [an_image(3, place=15, image_index=1)],
    "of equal counters at one place": [an_image(i) for i in (1, 2, 3)],
}


@pytest.mark.parametrize("name", SLICES)
def test_every_plane_is_an_image(tmp_path, name):
    n = sum(image.data.shape[1] for image in SLICES[name])
    made = classic(tmp_path, SLICES[name])
    assert len(made) == len({ds.SOPInstanceUID for ds in made}) == n
    numbers = {int(ds.InstanceNumber) for ds in made}
    assert len(numbers) == n and min(numbers) >= 1
    assert {ds.SeriesNumber for ds in made} == {1}
    (whole,) = enhanced(tmp_path, SLICES[name])
    frames = whole.PerFrameFunctionalGroupsSequence
    indices = {tuple(f.FrameContentSequence[0].DimensionIndexValues) for f in frames}
    assert len(frames) == len(indices) == n


@pytest.mark.parametrize("name", SLICES)
def test_every_plane_is_in_nifti(tmp_path, name):
    with NiftiWriter(tmp_path / "x.nii.gz", "") as writer:
        for image in SLICES[name]:
            writer.write(image)
    (path,) = tmp_path.iterdir()
    found = np.sort(nibabel.load(path).get_fdata().ravel())
    expected = np.sort(np.concatenate([image.data.ravel() for image in SLICES[name]]))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("wanted", "own"),
    [
        ([3, 1, 2], [3, 1, 2]),
        ([0, 0, 0], [1, 2, 3]),
        ([1, 1, 1], [1, 2, 3]),
        ([5, 5, 7, 0], [5, 8, 7, 9]),
        ([-3, -2, -1, 0], [1, 2, 3, 4]),
        ([], []),
    ],
)
def test_good_numbers_are_kept(wanted, own):
    assert unique_numbers(wanted, 1) == own


def test_groups_of_a_file_are_series_of_their_own(tmp_path, capfd):
    """Gadgetron's client run twice on one file: the same slices, once more."""
    path = tmp_path / "out.h5"
    for hour in (10, 11):
        slices = [an_image(i, place=5 * i, image_index=i) for i in (1, 2)]
        write_file(path, *slices, group=f"2026-01-01 {hour}:00:00")
    write_file(path, an_image(9, image_series_index=2), group="2026-01-01 11:00:00")
    outcome = jrsr(capfd, "convert", path, "--format", "dicom,enhanced,nifti")
    assert outcome.code == 0 and "5 images" in outcome.out
    made = read_folder(tmp_path / "out_dicom")
    places = sorted((int(ds.SeriesNumber), int(ds.InstanceNumber)) for ds in made)
    assert places == [(1, 1), (1, 2), (2, 1), (3, 1), (3, 2)]
    (other,) = (ds for ds in made if ds.SeriesNumber == 2)
    assert values(other).max() == pytest.approx(9), "a good series number is kept"
    assert len({ds.SeriesInstanceUID for ds in made}) == 3
    assert len({ds.SOPInstanceUID for ds in made}) == 5
    whole = read_folder(tmp_path / "out_enhanced")
    assert [(ds.SeriesNumber, ds.NumberOfFrames) for ds in whole] == [(1, 2), (2, 1), (3, 2)]
    assert len(list(tmp_path.glob("out*.nii.gz"))) == 3


def test_the_group_dataset_is_first(tmp_path, capfd):
    """Gadgetron's client, whose groups are dates, run on a file of images."""
    path = tmp_path / "out.h5"
    for value, group in ((1, "2024-01-01 10:00:00"), (2, "dataset"), (3, "2025-01-01 10:00:00")):
        write_file(path, an_image(value), group=group)
    assert jrsr(capfd, "convert", path, "--format", "dicom,nifti").code == 0
    made = read_folder(tmp_path / "out_dicom")
    assert [(ds.SeriesNumber, round(values(ds).max())) for ds in made] == [(1, 2), (2, 1), (3, 3)]
    assert nibabel.load(tmp_path / "out.nii.gz").get_fdata().max() == 2


@pytest.mark.parametrize("output", ["dicom", "enhanced", "nifti"])
def test_several_channels_are_refused(tmp_path, capfd, output):
    image = an_image(np.arange(1, 5)[:, None, None, None], shape=(4, 1, 6, 8), image_index=3)
    write_file(tmp_path / "out.h5", image)
    words = "out.h5: image 3 of series 1 has 4 channels, DICOM and NIfTI take 1"
    assert_one_line(jrsr(capfd, "convert", tmp_path / "out.h5", "--format", output), 1, words)
    assert [p.name for p in tmp_path.iterdir()] == ["out.h5"]


RAMP = np.linspace(-math.pi, 2, 48).reshape(6, 8)
PARTS = {
    "P": (ismrmrd.IMTYPE_PHASE, np.float32, RAMP, "PHASE"),
    "R": (ismrmrd.IMTYPE_REAL, np.int16, np.round(1e4 * RAMP), "REAL"),
    "I": (ismrmrd.IMTYPE_IMAG, np.float64, RAMP, "IMAGINARY"),
    "M": (ismrmrd.IMTYPE_MAGNITUDE, np.float32, RAMP - RAMP.min(), "MAGNITUDE"),
}


@pytest.mark.parametrize("letter", PARTS)
def test_values_keep_their_sign_and_images_their_part(tmp_path, letter):
    code, kind, ramp, part = PARTS[letter]
    image = an_image(ramp, kind=kind, image_type=code)
    (ds,) = classic(tmp_path, [image])
    is_signed = letter != "M"
    assert scale(ds) == pytest.approx(abs(ramp).max() / (2047 if is_signed else 4095))
    np.testing.assert_allclose(values(ds), ramp, atol=0.5001 * scale(ds))
    assert ds.PixelRepresentation == is_signed
    assert ds.ImageType[3] == letter
    assert window(ds) == pytest.approx((min(ramp.min(), 0), ramp.max()), abs=1.5 * scale(ds))
    unit = real_world(ds).MeasurementUnitsCodeSequence[0].CodeValue
    assert unit == ("rad" if letter == "P" else "1")
    (whole,) = enhanced(tmp_path, [image])
    frame = whole.SharedFunctionalGroupsSequence[0].MRImageFrameTypeSequence[0]
    assert whole.ComplexImageComponent == frame.ComplexImageComponent == part
    np.testing.assert_array_equal(whole.pixel_array.squeeze(), ds.pixel_array)
    with NiftiWriter(tmp_path / "x.nii.gz", "", OutputOptions(overwrite=True)) as writer:
        writer.write(image)
    stored = nibabel.load(tmp_path / "x.nii.gz").get_fdata()[:, :, 0].T
    np.testing.assert_array_equal(stored, ramp.astype(np.float32))


def test_complex_images_become_their_magnitude(tmp_path):
    image = an_image(3 - 4j, kind=np.complex64, image_type=ismrmrd.IMTYPE_COMPLEX)
    (ds,) = classic(tmp_path, [image])
    np.testing.assert_allclose(values(ds), 5, rtol=1e-6)
    assert (ds.pixel_array == 4095).all()
    assert ds.ImageType[3] == "M" and ds.PixelRepresentation == 0


def test_parts_share_no_scale(tmp_path):
    magnitude = an_image(1000.0)
    phase = an_image(RAMP, image_type=ismrmrd.IMTYPE_PHASE)
    first, second = classic(tmp_path, [magnitude, phase])
    np.testing.assert_allclose(values(first), 1000, rtol=1e-4)
    np.testing.assert_allclose(values(second), RAMP, atol=0.5001 * math.pi / 2047)
    assert first.SeriesInstanceUID != second.SeriesInstanceUID
    assert (first.SeriesNumber, second.SeriesNumber) == (1, 2)
    assert "phase" in second.SeriesDescription


@needs("dciodvfy")
@pytest.mark.parametrize("letter", PARTS)
def test_dicom3tools_accept_signed_images(tmp_path, letter):
    code, kind, ramp, _ = PARTS[letter]
    image = an_image(ramp, kind=kind, image_type=code)
    classic(tmp_path, [image])
    enhanced(tmp_path, [image])
    for path in tmp_path.glob("*/*.dcm"):
        run = run_process(["dciodvfy", path])
        assert "Error" not in run.stderr and "MRImage" in run.stderr, run.stderr


def windowed(center: object, width: object) -> ismrmrd.Image:
    names = {"WindowCenter": center, "WindowWidth": width}
    return an_image(1000.0, meta={k: v for k, v in names.items() if v is not None})


WHOLE = (500.0, 1000.0)
WINDOWS = {
    "good": ("1000", "50", (1000.0, 50.0)),
    "below 1, as of a scanner with a small scale": ("0.2", "0.4", (0.2, 0.4)),
    "empty": ("", "", WHOLE),
    "lists": (["50", "100"], ["100", "200"], WHOLE),
    "words": ("wide", "open", WHOLE),
    "not finite": ("nan", "inf", WHOLE),
    "no width": ("1000", "0", WHOLE),
    "no centre": (None, "50", WHOLE),
    "none": (None, None, WHOLE),
}


@pytest.mark.parametrize("name", WINDOWS)
def test_the_window_is_the_images_where_it_is_one(tmp_path, name):
    center, width, expected = WINDOWS[name]
    (ds,) = classic(tmp_path, [windowed(center, width)])
    span = (expected[0] - expected[1] / 2, expected[0] + expected[1] / 2)
    assert window(ds) == pytest.approx(span, abs=1.5 * scale(ds))
    (whole,) = enhanced(tmp_path, [windowed(center, width)])
    assert window(whole) == window(ds)


def test_the_widest_window_is_that_of_the_series(tmp_path):
    windows = (("100", "40"), ("700", "80"), ("", ""))
    made = classic(tmp_path, [windowed(*w) for w in windows])
    (span,) = {window(ds) for ds in made}
    assert span == pytest.approx((660, 740), abs=1.5 * scale(made[0]))


def test_positions_are_counted_in_each_stack(tmp_path):
    """PS3.3 C.7.6.16.2.2.4."""
    stacks = [an_image(i, place=5 * i, image_index=i) for i in (1, 2, 3)]
    stacks += [an_image(i, place=99 + i, axes=SAGITTAL, image_index=i) for i in (4, 5)]
    made = enhanced(tmp_path, stacks)
    found = []
    for ds in made:
        contents = [f.FrameContentSequence[0] for f in ds.PerFrameFunctionalGroupsSequence]
        assert {content.StackID for content in contents} == {"1"}
        found.append([content.InStackPositionNumber for content in contents])
        assert [content.DimensionIndexValues[1] for content in contents] == found[-1]
    assert found == [[1, 2, 3], [1, 2]]
    assert len({ds.SOPInstanceUID for ds in made}) == 2
    assert len({ds.SeriesInstanceUID for ds in made}) == 1


def test_nifti_claims_no_time(tmp_path):
    with NiftiWriter(tmp_path / "x.nii.gz", "") as writer:
        for i in (1, 2, 3):
            writer.write(an_image(i, repetition=i))
    header = nibabel.load(tmp_path / "x.nii.gz").header
    assert header.get_data_shape() == (8, 6, 1, 3)
    assert header.get_xyzt_units() == ("mm", "unknown")


UNUSABLE = {
    "JRSR_acceleration": ["0", "abc", "nan", "-2", ["1", "2"], "1e300"],
    "JRSR_map": [["a", "b"], "no name; at all", "x" * 200],
    "JRSR_acquired_matrix": ["99999999,1", ["99999999", "1"], ["a", "b"], ["-1", "3"], "1.5"],
    "JRSR_denoise": ["much", "inf", ["0", "1"]],
    "JRSR_model": [["a", "b"], "m" * 3000],
    "JRSR_weights_sha256": [["a", "b"]],
    "JRSR_fallback": [["one reason", "another"]],
    "JRSR_value_of_one": ["abc"],
    "WindowWidth": ["1e300", "1e29", "-1", "abc"],
    "WindowCenter": ["-1e29", "nan"],
}
CASES = [(name, value) for name, several in UNUSABLE.items() for value in several]


@pytest.mark.parametrize(("name", "value"), CASES, ids=lambda v: str(v)[:20])
def test_attributes_that_cannot_be_used_are_absent(tmp_path, capfd, name, value):
    image = an_image(1)
    image.meta = {"JRSR_model": "jrsr", "WindowCenter": "5", "WindowWidth": "10", name: value}
    write_file(tmp_path / "i.h5", image)
    made = jrsr(capfd, "convert", tmp_path / "i.h5", "--format", "dicom,enhanced,nifti,png")
    assert made.code == (3 if name == "JRSR_fallback" else 0) and made.err == "", made
    for folder in ("i_dicom", "i_enhanced"):
        (ds,) = read_folder(tmp_path / folder)
        assert len(str(ds.get("WindowWidth", "1")).strip()) <= 16
        assert ds.ImageType[2] in ("OTHER", "VOLUME")
        if name == "JRSR_acceleration" and "PercentSampling" in ds:
            assert ds.PercentSampling == 100
