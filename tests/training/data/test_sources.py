"""Every format gives the slices that were written into it; what is not one is refused by name."""

import gzip
import re
import struct
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pytest
import torch

from jrsr_core.mrd.files.scan import write_scan
from jrsr_core.physics.fourier import fft, fft2c, ifft2c
from jrsr_core.physics.resolution import crop_or_pad
from jrsr_core.simulation.image_stack import load_image
from tests.helpers.mrd_scans import small_scan
from tests.training.conftest import write_images
from training.data.sources import SourceError, find_sources, open_source
from training.data.sources.base import own_split
from training.data.sources.volumes import read_nifti
from training.errors import UsageError


def coil_kspace(n_coils=3, shape=(20, 24)):
    return torch.randn(n_coils, *shape, dtype=torch.complex64)


def test_image_stack(images):
    source = open_source(images)
    assert (source.kind, len(source), source.subjects[2]) == ("images", 6, "b")
    image = source.read(0)
    assert image.shape == (64, 72)
    assert float(image.max()) == 1.0


def test_any_number_type_of_any_byte_order_is_read(images, tmp_path):
    with h5py.File(images) as file:
        slices = file["slices"][()]
    path = tmp_path / "stack.h5"
    for kind in (">u2", ">f4", "<f8", "i4", "u1"):
        with h5py.File(path, "w") as file:
            file["slices"] = slices.astype(kind)
        assert torch.equal(open_source(path).read(2), open_source(images).read(2))
        assert torch.equal(load_image(path, 2), load_image(images, 2))


def write_fastmri(path, kspace, n_readout):
    """The layout of fastMRI: (slice, coil, readout, phase encode), readout oversampled."""
    space = f"<reconSpace><matrixSize><x>{n_readout}</x></matrixSize></reconSpace>"
    header = f"<ismrmrdHeader><encoding>{space}</encoding></ismrmrdHeader>"
    with h5py.File(path, "w") as file:
        file["kspace"] = kspace.mT.numpy()[None].repeat(2, 0)
        file["ismrmrd_header"] = header
        file.attrs["patient_id"] = "Jane Doe"


def prefixed(header):
    """The same XML with a namespace whose prefix every element has, and spaces around numbers."""
    text = re.sub(r"<(/?)(\w)", r"<\1ns:\2", header)
    text = re.sub(r">(\d+)<", r">\n  \1\n<", text)
    return text.replace("<ns:ismrmrdHeader", '<ns:ismrmrdHeader xmlns:ns="urn:x"', 1)


@pytest.mark.parametrize("change", [prefixed, lambda text: text.replace("><", "> <!-- x --> <")])
def test_fastmri_headers_are_read_as_xml(change, tmp_path):
    path = tmp_path / "file1.h5"
    write_fastmri(path, coil_kspace(shape=(20, 48)), 24)
    with h5py.File(path, "a") as file:
        text = file["ismrmrd_header"][()].decode()
        del file["ismrmrd_header"]
        file["ismrmrd_header"] = change(text)
    assert open_source(path).read(0).shape == (3, 20, 24)
    with h5py.File(path, "a") as file:
        del file["ismrmrd_header"]
        file["ismrmrd_header"] = text.replace("</encoding>", "")
    with pytest.raises(SourceError, match=r"^file1.h5: ismrmrd_header is not readable as XML: "):
        open_source(path)


def test_fastmri_readout_oversampling_goes_and_the_name_is_hidden(tmp_path):
    kspace = coil_kspace()
    oversampled = fft(crop_or_pad(ifft2c(kspace), (48,)), -1)  # image twice as wide along x
    oversampled = fft(oversampled, -2)
    path = tmp_path / "multicoil_val" / "file1.h5"
    path.parent.mkdir()
    write_fastmri(path, oversampled, 24)
    source = open_source(path)
    assert (source.kind, len(source), source.splits) == ("fastmri", 2, ["val", "val"])
    assert "Jane" not in source.subjects[0]
    assert torch.allclose(source.read(1), kspace, atol=1e-5)


@pytest.mark.parametrize("told_by", ["header", "prefixed header", "mask", "nothing"])
@pytest.mark.parametrize("phase_first", [False, True])
def test_fastmri_with_the_phase_encode_first(told_by, phase_first, tmp_path):
    """48 readout samples, 24 after removal of oversampling, and another number of lines."""
    kspace = coil_kspace()
    oversampled = fft(fft(crop_or_pad(ifft2c(kspace), (48,)), -1), -2)
    n_lines = oversampled.shape[-2]
    path = tmp_path / "file1.h5"
    write_fastmri(path, oversampled, 24)
    with h5py.File(path, "a") as file:
        if phase_first:
            del file["kspace"]
            file["kspace"] = oversampled.numpy()[None].repeat(2, 0)
        if told_by == "mask":
            file["mask"] = np.ones(n_lines, np.float32)
        if "header" in told_by:
            text = file["ismrmrd_header"][()].decode()
            encoded = "<encodedSpace><matrixSize><x>48</x></matrixSize></encodedSpace>"
            del file["ismrmrd_header"]
            text = text.replace("<reconSpace>", encoded + "<reconSpace>")
            file["ismrmrd_header"] = prefixed(text) if "prefixed" in told_by else text
    read = open_source(path).read(1)
    is_right = told_by != "nothing" or not phase_first
    assert (read.shape == kspace.shape and torch.allclose(read, kspace, atol=1e-5)) == is_right


def lines_left_out(kspace):
    """Every fourth line and the centre: what an accelerated scan measures."""
    sampled = torch.zeros(kspace.shape[-2], dtype=torch.bool)
    sampled[::4] = True
    sampled[len(sampled) // 2 - 4 : len(sampled) // 2 + 4] = True
    return sampled, kspace * sampled[:, None]


@pytest.mark.parametrize("phase_first", [False, True])
def test_undersampled_fastmri_is_refused(phase_first, tmp_path):
    sampled, kspace = lines_left_out(coil_kspace(shape=(40, 48)))
    path = tmp_path / "file1.h5"
    write_fastmri(path, kspace.mT if phase_first else kspace, 40 if phase_first else 48)
    n_first, n_last = 0, 36
    share = int(sampled.sum()) / (n_last - n_first + 1)
    with pytest.raises(SourceError) as caught:
        open_source(path).read(1)
    words = f"file1.h5: slice 1 has {share:.0%} of its k-space, 100% is needed"
    assert str(caught.value) == words


def test_a_fastmri_mask_with_gaps_is_refused_when_the_file_is_opened(tmp_path):
    kspace = coil_kspace(shape=(40, 48))
    sampled, _ = lines_left_out(kspace)
    path = tmp_path / "file1.h5"
    write_fastmri(path, kspace, 48)
    with h5py.File(path, "a") as file:
        file["mask"] = sampled.numpy().astype(np.float32)
    with pytest.raises(SourceError, match=r"file1.h5: mask has \d\d% of its k-space, 100% is"):
        open_source(path)
    folder = tmp_path / "multicoil_test_v2"
    folder.mkdir()
    path.rename(folder / path.name)
    assert open_source(folder / path.name).splits == ["test", "test"]


def test_fastmri_padded_with_zeros_is_fully_sampled(tmp_path):
    kspace = coil_kspace(shape=(40, 48))
    kspace[:, :3], kspace[:, 36:] = 0, 0
    path = tmp_path / "file1.h5"
    write_fastmri(path, kspace, 48)
    with h5py.File(path, "a") as file:
        file["mask"] = (kspace[0, :, 0] != 0).numpy()
    torch.testing.assert_close(open_source(path).read(0), kspace)


def write_modl(path, n=3):
    image = torch.randn(n, 24, 20, dtype=torch.complex64)
    csm = torch.randn(n, 3, 24, 20, dtype=torch.complex64)
    with h5py.File(path, "w") as file:
        for prefix, count in (("trn", n), ("tst", 1)):
            file[f"{prefix}Org"] = image[:count].numpy()
            file[f"{prefix}Csm"] = csm[:count].numpy()
            file[f"{prefix}Mask"] = np.ones((count, 24, 20), np.int8)
    return image, csm


def test_modl(tmp_path):
    path = tmp_path / "dataset.hdf5"
    image, csm = write_modl(path)
    source = open_source(path)
    assert (source.kind, source.splits) == ("modl", ["", "", "", "test"])
    assert torch.allclose(source.read(1), fft2c((csm[1] * image[1]).mT), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("kspace", None, "a group, expected (slice, coil, readout, phase encode)"),
        ("kspace", (4, 8, 8), "(4, 8, 8), expected (slice, coil, readout, phase encode)"),
        ("trnOrg", (), "(), expected (n, readout, phase encode)"),
        ("trnCsm", (3, 24, 20), "(3, 24, 20), expected (n, coil, readout, phase encode)"),
    ],
)
def test_a_data_set_of_other_axes_is_named(name, content, words, tmp_path):
    path = tmp_path / "dataset.hdf5"
    write_modl(path)
    with h5py.File(path, "a") as file:
        file.pop(name, None)
        if content is None:
            file.create_group(name)
        else:
            file[name] = np.ones(content)
    with pytest.raises(UsageError, match=rf"^{path}: '{name}' is {re.escape(words)}$"):
        open_source(path)


def test_ismrmrd(tmp_path):
    kspace, _, xml, lines = small_scan((24, 32), n_slices=2)
    path = tmp_path / "scan.h5"
    write_scan(path, xml, lines)
    source = open_source(path)
    assert (source.kind, len(source)) == ("ismrmrd", 2)
    assert torch.allclose(source.read(1), kspace[1], atol=1e-4)


def test_undersampled_ismrmrd_is_refused(tmp_path):
    _, _, xml, lines = small_scan((24, 32), acceleration=2, n_acs=8)
    path = tmp_path / "scan.h5"
    write_scan(path, xml, lines)
    with pytest.raises(SourceError, match=r"slice 0 has \d+% of its k-space, 100% is needed"):
        open_source(path).read(0)


def nifti_bytes(volume, order="<", slope=2.0, shift=1.0):
    header = bytearray(352)
    struct.pack_into(f"{order}i", header, 0, 348)
    struct.pack_into(f"{order}8h", header, 40, 3, *volume.shape, 1, 1, 1, 1)
    struct.pack_into(f"{order}h", header, 70, 4)
    struct.pack_into(f"{order}3f", header, 108, 352.0, slope, shift)
    header[344:348] = b"n+1\0"
    return bytes(header) + volume.astype(f"{order}i2").tobytes(order="F")


@pytest.mark.parametrize(("suffix", "order"), [(".nii", "<"), (".nii.gz", ">")])
def test_nifti(tmp_path, suffix, order):
    volume = np.random.default_rng(0).integers(0, 500, (20, 30, 4))
    path = tmp_path / f"t1{suffix}"
    content = nifti_bytes(volume, order)
    path.write_bytes(gzip.compress(content) if suffix.endswith("gz") else content)
    source = open_source(path)
    assert (source.kind, len(source), source.subjects[0]) == ("nifti", 4, "t1")
    plane = 2.0 * volume[:, :, 1] + 1.0
    assert np.allclose(source.read(1).numpy(), plane / plane.max(), atol=1e-6)


@pytest.mark.parametrize("axes", [(0, 1, 2), (1, 0, 2), (2, 0, 1), (1, 2, 0)])
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, -1), (1, -1, -1)])
def test_slices_of_nifti_point_to_the_right_anterior_and_superior(tmp_path, axes, signs):
    # The intensity grows towards the right by 1, anterior by 10 and superior by 100 per pixel.
    shape, steps = (9, 7, 5), (1, 10, 100)
    affine = np.zeros((4, 4))
    affine[3, 3] = 1
    for stored, (axis, sign) in enumerate(zip(axes, signs, strict=True)):
        affine[axis, stored] = sign
    grid = [np.arange(shape[i])[:: signs[i]] * steps[axes[i]] for i in range(3)]
    volume = grid[0][:, None, None] + grid[1][:, None] + grid[2]
    nibabel.save(nibabel.Nifti1Image(volume.astype(np.int16), affine), tmp_path / "t1.nii.gz")
    found = read_nifti(tmp_path / "t1.nii.gz")
    in_plane = sorted(axes[:2])
    expected = [steps[axis] for axis in (*in_plane, axes[2])]
    assert [int(np.diff(found, axis=i).max()) for i in range(3)] == expected
    assert [int(np.diff(found, axis=i).min()) for i in range(3)] == expected


def test_nifti_that_is_no_magnitude_volume_is_refused(tmp_path):
    path = tmp_path / "t1.nii"
    nibabel.save(nibabel.Nifti1Image(np.ones((4, 4, 4), np.complex64), np.eye(4)), path)
    with pytest.raises(SourceError, match=r"t1.nii: data type complex64 is not a magnitude"):
        read_nifti(path)
    nibabel.save(nibabel.Nifti1Image(np.ones((4, 4, 4, 2), np.int16), np.eye(4)), path)
    with pytest.raises(
        SourceError, match=r"t1.nii: shape \(4, 4, 4, 2\) is not that of one volume"
    ):
        read_nifti(path)
    path.write_bytes(b"no")
    with pytest.raises(SourceError, match=r"t1.nii: not a NIfTI file, or cut off"):
        read_nifti(path)


@pytest.mark.parametrize(
    ("name", "subject"),
    [
        ("sub-01_ses-1_T1w.nii", "sub-01"),
        ("sub-01_ses-2_acq-fast_T2w.nii", "sub-01"),
        ("sub-02/ses-1/anat/T1w.nii", "sub-02"),
        ("sub-02/anat/sub-02_T2w.nii", "sub-02"),
        ("subset-3/t1.nii", "t1"),
    ],
)
def test_contrasts_and_sessions_of_a_person_are_one_subject(tmp_path, name, subject):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(nifti_bytes(np.ones((8, 10, 2))))
    assert open_source(path).subjects == [subject] * 2


def write_dicom(folder, pixels):
    pydicom = pytest.importorskip("pydicom")
    from pydicom.dataset import FileDataset, FileMetaDataset

    for number, plane in enumerate(pixels):
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID = pydicom.uid.MRImageStorage
        meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}"
        data = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        data.PatientID, data.SeriesInstanceUID = "Jane Doe", "1.2.3"
        data.InstanceNumber = len(pixels) - number  # written backwards
        data.Rows, data.Columns = plane.shape
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated = data.BitsStored = 16
        data.HighBit, data.PixelRepresentation = 15, 0
        data.RescaleSlope, data.RescaleIntercept = 0.5, 0
        data.PixelData = plane.astype("<u2").tobytes()
        data.save_as(folder / f"{number}.dcm", enforce_file_format=True)


def test_dicom_folder(tmp_path):
    pixels = np.random.default_rng(0).integers(1, 900, (3, 20, 30))
    write_dicom(tmp_path, pixels)
    (source,) = find_sources([tmp_path])
    assert (source.kind, len(source)) == ("dicom", 3)
    assert "Jane" not in source.subjects[0]
    assert np.allclose(source.read(0).numpy(), pixels[2] / pixels[2].max(), atol=1e-6)


@pytest.mark.parametrize("cut", [None, 100])
def test_dicom_pixels_that_cannot_be_read_are_named(tmp_path, cut):
    pydicom = pytest.importorskip("pydicom")
    write_dicom(tmp_path, np.ones((1, 20, 30), int))
    data = pydicom.dcmread(tmp_path / "0.dcm")
    if cut:
        data.PixelData = data.PixelData[:cut]
    else:
        # JPEG-LS, for which no decoder is installed.
        data.file_meta.TransferSyntaxUID = pydicom.uid.JPEGLSLossless
        data.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8\xff\xf7" + b"\0" * 60])
        data["PixelData"].is_undefined_length = True
    data.save_as(tmp_path / "0.dcm", enforce_file_format=True)
    (source,) = find_sources([tmp_path])
    with pytest.raises(SourceError, match=r"^0\.dcm: its pixels cannot be read \(") as caught:
        source.read(0)
    assert "\n" not in str(caught.value)


def test_folder_stands_for_its_files(tmp_path):
    write_images(tmp_path / "b_val.h5")
    write_images(tmp_path / "a_train.h5")
    sources = find_sources([tmp_path])
    assert [(s.path.name, s.splits[0]) for s in sources] == [
        ("a_train.h5", "train"),
        ("b_val.h5", "val"),
    ]


def test_deeper_folders_are_to_be_named(tmp_path):
    """They may be other subjects, or stand for a split."""
    anat = tmp_path / "sub-01" / "anat"
    anat.mkdir(parents=True)
    (anat / "sub-01_T1w.nii").write_bytes(nifti_bytes(np.ones((4, 4, 4))))
    with pytest.raises(UsageError, match=r"in this folder; name those below it, such as .*anat"):
        find_sources([tmp_path])
    (source,) = find_sources([anat])
    assert source.subjects[0] == "sub-01"


def test_a_file_is_listed_once(tmp_path):
    path = write_images(tmp_path / "x.h5")
    with pytest.raises(UsageError, match=r"x\.h5 is listed twice"):
        find_sources([tmp_path, path])


def test_a_file_that_a_link_misses_is_named(tmp_path):
    (tmp_path / "sub-01_T1w.nii.gz").symlink_to(tmp_path / ".git" / "annex" / "gone")
    with pytest.raises((SourceError, OSError), match=r"sub-01_T1w\.nii\.gz"):
        find_sources([tmp_path])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.png",
            b"\x89PNG\r\n",
            "a.png: it is a PNG picture; images are read from the data set 's",
        ),
        (
            "a.jpg",
            b"\xff\xd8\xff",
            "a.jpg: it is a JPEG picture; images are read from the data set",
        ),
        (
            "a.dcm",
            bytes(128) + b"DICM",
            "a.dcm: it is a DICOM image; known are HDF5, NIfTI and fold",
        ),
        ("a.h5", b"\x89PNG\r\n", "a.h5: not an HDF5 file, but a PNG picture"),
    ],
)
def test_a_foreign_file_is_not_refused_for_a_lack_of_raw_data(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises((SourceError, UsageError)) as caught:
        open_source(tmp_path / name)
    assert str(caught.value).startswith(message)
    assert "raw data" not in str(caught.value) and "k-space" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("x_train.h5", "train"),
        ("training.h5", ""),
        ("val.nii.gz", "val"),
        ("multicoil_test/a.h5", "test"),
        ("multicoil_test_v2/a.h5", "test"),
        ("brain_multicoil_test_batch_0/a.h5", "test"),
        ("multicoil_challenge/a.h5", "test"),
        ("multicoil_challenge_transfer/a.h5", "test"),
        ("singlecoil_train/a.h5", "train"),
        ("multicoil_testing/a.h5", ""),
        ("my_test_data/a.h5", ""),
    ],
)
def test_a_name_tells_the_split(name, split):
    assert own_split(Path(name)) == split


def test_what_cannot_be_read_is_named(tmp_path):
    (tmp_path / "text.h5").write_text("no")
    with pytest.raises(SourceError, match=r"text.h5: not an HDF5 file"):
        open_source(tmp_path / "text.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["frames"] = np.zeros(3)
    words = r"no data set 'slices', 'kspace' or 'trnOrg' and no raw data, found \['frames'\]$"
    with pytest.raises(UsageError, match=rf"other\.h5: {words}"):
        open_source(tmp_path / "other.h5")
    (tmp_path / "cut.nii").write_bytes(nifti_bytes(np.zeros((4, 4, 4)))[:-5])
    with pytest.raises(SourceError, match=r"cut.nii: not a NIfTI file, or cut off .*Expected 128"):
        open_source(tmp_path / "cut.nii")
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(UsageError, match="known are HDF5, NIfTI"):
        open_source(tmp_path / "a.txt")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UsageError, match="no HDF5, NIfTI or DICOM"):
        find_sources([empty])
    with pytest.raises(FileNotFoundError, match=r"none\.h5"):
        find_sources([tmp_path / "none.h5"])
