"""Image headers and meta attributes, and files that appear complete or not at all."""

from dataclasses import replace

import h5py
import ismrmrd
import numpy as np
import pytest
import torch

from jrsr_core.data import AcquisitionStamp, Counters, ReconImage, ReconReport, SliceGeometry
from jrsr_core.mrd.files.image_writer import ImageWriter
from jrsr_core.mrd.files.images import ImageFile
from jrsr_core.mrd.header.scan_header import parse_header
from jrsr_core.mrd.images import RESEARCH_USE, is_fallback, to_mrd_image
from jrsr_core.reconstruction.field_of_view import crop_to_fov
from tests.helpers.mrd_scans import geometry_of, small_scan

GEOMETRY = SliceGeometry(
    position_mm=(1.5, -20.25, 33.0),
    read_dir=(0.0, 1.0, 0.0),
    phase_dir=(0.6, 0.0, 0.8),
    slice_dir=(0.8, 0.0, -0.6),
    fov_mm=(5.0, 200.0, 220.0),
    patient_table_position_mm=(0.0, 0.0, -12.0),
)
STAMP = AcquisitionStamp(
    measurement_uid=77,
    acquisition_time_stamp=1234,
    physiology_time_stamp=(1, 2, 3),
    user_int=(1, 2, 3, 4, 5, 6, 7, 8),
    user_float=(0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5),
)


@pytest.fixture(scope="module")
def header():
    """A scan header of two echoes."""
    xml = small_scan()[2]
    assert xml.count("<TE>10.0</TE>") == 1
    return parse_header(xml.replace("<TE>10.0</TE>", "<TE>10.0</TE><TE>25.0</TE>"))


def made(shape=(96, 128), **report) -> ReconImage:
    generator = torch.Generator().manual_seed(0)
    return ReconImage(
        image=torch.randn(shape, dtype=torch.complex64, generator=generator),
        low_resolution=torch.zeros([n // 2 for n in shape], dtype=torch.complex64),
        geometry=GEOMETRY,
        counters=Counters(slice=3, contrast=1, phase=2, repetition=5, set=4),
        stamp=STAMP,
        report=ReconReport(
            **{
                "model": "jrsr-dc",
                "weights_sha256": "abc123",
                "acceleration": 2.5,
                "seconds": {"rec": 0.25},
            }
            | report
        ),
    )


def test_header_rules(header):
    image = made()
    mrd = to_mrd_image(image, header, series_index=9, image_index=4)
    head = mrd.getHead()
    assert list(head.matrix_size) == [128, 96, 1]
    assert list(head.field_of_view) == [220.0, 200.0, 5.0]
    assert geometry_of(mrd).position_mm == GEOMETRY.position_mm
    for name in ("read_dir", "phase_dir", "slice_dir"):
        expected = getattr(GEOMETRY, name)
        np.testing.assert_allclose(getattr(geometry_of(mrd), name), expected, rtol=1e-6)
    assert list(head.patient_table_position) == [0.0, 0.0, -12.0]
    assert head.data_type == ismrmrd.DATATYPE_FLOAT and mrd.data.dtype == np.float32
    assert head.image_type == ismrmrd.IMTYPE_MAGNITUDE
    assert (head.image_series_index, head.image_index, head.channels) == (9, 4, 1)
    assert (head.slice, head.phase, head.repetition, head.set, head.average) == (3, 2, 5, 4, 0)
    assert head.contrast == 1
    assert (head.measurement_uid, head.acquisition_time_stamp) == (77, 1234)
    assert list(head.physiology_time_stamp) == [1, 2, 3]
    assert list(head.user_int) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert list(head.user_float) == [0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5]
    np.testing.assert_array_equal(mrd.data[0, 0], image.magnitude.numpy())


def test_complex_output(header):
    mrd = to_mrd_image(made(), header, as_complex=True)
    assert mrd.data.dtype == np.complex64
    assert mrd.getHead().image_type == ismrmrd.IMTYPE_COMPLEX
    np.testing.assert_array_equal(mrd.data[0, 0], made().image.numpy())


def test_image_index_never_wraps_to_zero(header):
    assert to_mrd_image(made(), header, image_index=65536).image_index == 1


def test_meta_in_every_dialect(header):
    meta = to_mrd_image(made(), header).meta
    assert meta["GADGETRON_DataRole"] == meta["DataRole"] == "Image"
    assert "AI" in meta["GADGETRON_ImageProcessingHistory"]
    assert meta["ImageProcessingHistory"] == meta["GADGETRON_ImageProcessingHistory"]
    assert meta["Keep_image_geometry"] == "1"
    assert [float(v) for v in meta["ImageColumnDir"]] == pytest.approx(GEOMETRY.phase_dir)
    assert [float(v) for v in meta["ImageRowDir"]] == pytest.approx(GEOMETRY.read_dir)
    assert meta["GADGETRON_TE"] == "25.0"
    assert RESEARCH_USE in meta["ImageComments"]
    assert meta["JRSR_research_use"] == RESEARCH_USE
    assert (meta["JRSR_model"], meta["JRSR_weights_sha256"]) == ("jrsr-dc", "abc123")
    assert meta["JRSR_acceleration"] == "2.5" and meta["JRSR_seconds_rec"] == "0.25"
    assert meta["JRSR_acquired_matrix"] == ["48", "64"]
    assert meta["JRSR_upsampling_factor"] == ["2.0", "2.0"]
    assert meta["JRSR_software_version"]


def test_fallback_is_marked_everywhere(header):
    mrd = to_mrd_image(made(fallback="acs is 2 x 2"), header)
    meta = mrd.meta
    assert is_fallback(meta) and not is_fallback(to_mrd_image(made(), header).meta)
    assert meta["JRSR_fallback"] == "acs is 2 x 2"
    assert "FALLBACK" in meta["GADGETRON_SeqDescription"]
    assert "FALLBACK" in meta["SequenceDescriptionAdditional"]
    assert "FALLBACK" in meta["ImageComments"] and "acs is 2 x 2" in meta["ImageComments"]
    assert "AI" not in meta["ImageProcessingHistory"]


@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e8])
def test_the_window_ends_at_the_brightest_two_hundredth(header, unit):
    ramp = unit * torch.arange(10_000.0).reshape(100, 100)
    meta = to_mrd_image(replace(made(), image=ramp + 0j), header).meta
    # 99.5 % of the way from 0 to 9999.
    width = 0.995 * 9999 * unit
    assert float(meta["WindowWidth"]) == pytest.approx(width, rel=1e-6, abs=0)
    assert float(meta["WindowCenter"]) == pytest.approx(width / 2, rel=1e-6, abs=0)
    for name in ("Width", "Center"):
        assert meta[f"GADGETRON_Window{name}"] == meta[f"Window{name}"]


def test_meta_is_ascii_for_readers_that_insist(header):
    mrd = to_mrd_image(made(warnings=("Größe",)), header)
    mrd.attribute_string.encode("ascii")


@pytest.mark.parametrize("size", [96, 94, 122])
def test_phase_oversampling_is_cropped_about_the_center(size):
    image = made((size, 128))
    cropped = crop_to_fov(image, (5.0, 150.0, 220.0))
    n = cropped.image.shape[0]
    assert n == 2 * round(size // 2 * 0.75) == 2 * cropped.low_resolution.shape[0]
    assert torch.equal(cropped.image[n // 2], image.image[size // 2])
    assert cropped.geometry.fov_mm == pytest.approx((5.0, 200.0 * n / size, 220.0))
    assert cropped.geometry.position_mm == GEOMETRY.position_mm


@pytest.mark.parametrize("fov", [(5.0, 200.0, 220.0), (5.0, 300.0, 220.0)])
def test_nothing_to_crop(fov):
    image = made()
    assert crop_to_fov(image, fov) is image


def test_written_images_are_read_back(header, tmp_path):
    path = tmp_path / "images.h5"
    with ImageWriter(path, header.xml) as writer:
        for number in (1, 2):
            image = replace(made(), image=number * made().image)
            writer.write(to_mrd_image(image, header, series_index=2, image_index=number))
        assert not path.exists()
    assert [p.name for p in tmp_path.iterdir()] == ["images.h5"]
    with ismrmrd.Dataset(str(path), "dataset", create_if_needed=False) as dataset:
        assert dataset.number_of_images("image_2") == 2
        second = dataset.read_image("image_2", 1)
    np.testing.assert_array_equal(second.data[0, 0], 2 * made().magnitude.numpy())
    assert geometry_of(second) == geometry_of(to_mrd_image(made(), header))
    assert second.meta["JRSR_model"] == "jrsr-dc"
    with ismrmrd.File(path, "r") as file:
        assert file["dataset/image_2"].images[0].image_index == 1


def test_images_of_every_matrix_and_kind_in_one_series(tmp_path):
    """One group of the file holds one layout; none of the others is lost."""
    kinds = [((6, 8), np.float32), ((4, 8), np.float32), ((6, 8), np.uint16), ((4, 8), np.float32)]
    with ImageWriter(tmp_path / "images.h5", "<ismrmrdHeader/>") as writer:
        for i, (shape, kind) in enumerate(kinds):
            image = ismrmrd.Image.from_array(np.full(shape, i, kind), transpose=False)
            image.image_series_index = 3
            writer.write(image)
    read = {int(image.data.max()): image.data for image in ImageFile(tmp_path / "images.h5")}
    assert {i: (d.shape[2:], d.dtype.type) for i, d in read.items()} == dict(enumerate(kinds))
    with h5py.File(tmp_path / "images.h5") as file:
        groups = {k: len(v["data"]) for k, v in file["dataset"].items() if k != "xml"}
    assert groups == {"image_3": 1, "image_3_1": 2, "image_3_2": 1}


def test_an_error_leaves_nothing(header, tmp_path):
    with pytest.raises(RuntimeError), ImageWriter(tmp_path / "images.h5", header.xml) as writer:
        writer.write(to_mrd_image(made(), header))
        raise RuntimeError
    assert not list(tmp_path.iterdir())


def test_existing_output_survives_until_the_new_one_is_complete(header, tmp_path):
    path = tmp_path / "images.h5"
    path.write_text("old")
    with pytest.raises(FileExistsError, match="--overwrite"):
        ImageWriter(path, header.xml)
    with pytest.raises(KeyboardInterrupt), ImageWriter(path, header.xml, overwrite=True):
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    with ImageWriter(path, header.xml, overwrite=True) as writer:
        writer.write(to_mrd_image(made(), header))
    assert path.read_bytes()[:4] == b"\x89HDF"
