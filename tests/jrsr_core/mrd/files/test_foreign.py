"""Files of other formats are named, and the command that takes them."""

import gzip
import io
import zipfile

import h5py
import nibabel
import numpy as np
import pydicom
import pytest
import scipy.io
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from jrsr_core.mrd.errors import UnsupportedScan
from jrsr_core.mrd.files.foreign import foreign_kind, foreign_words
from jrsr_core.mrd.files.scan import ScanFile
from tests.helpers.foreign_scans import write_cfl, write_mat_7_3
from tests.helpers.paths import SHARED

K = np.ones((2, 3, 4, 5), np.complex64)


def npy(path):
    with path.open("wb") as file:
        np.save(file, K)


def mat(path):
    with path.open("wb") as file:
        scipy.io.savemat(file, {"k": K})


def mat_7_3(path):
    write_mat_7_3(path, "k", K)


def cfl_header(path):
    write_cfl(path, K)
    path.write_bytes(path.with_suffix(".hdr").read_bytes())


def archive(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a", "b")


def nifti(path):
    path.write_bytes(nibabel.Nifti1Image(np.zeros((2, 3, 4), np.float32), np.eye(4)).to_bytes())


def nifti_gz(path):
    nifti(path)
    path.write_bytes(gzip.compress(path.read_bytes()))


def nifti_2(path):
    path.write_bytes(nibabel.Nifti2Image(np.zeros((2, 3, 4), np.float32), np.eye(4)).to_bytes())


def gz(path):
    path.write_bytes(gzip.compress(b"something"))


def dicom(path):
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = MRImageStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset(str(path), pydicom.Dataset(), file_meta=meta, preamble=b"\0" * 128)
    ds.save_as(path)


def picture(path):
    buffer = io.BytesIO()
    Image.new("L", (4, 4)).save(buffer, "PNG")
    path.write_bytes(buffer.getvalue())


def fastmri(path):
    with h5py.File(path, "w") as file:
        file["kspace"] = K
        file["ismrmrd_header"] = b"<ismrmrdHeader/>"


def fastmri_images(path):
    with h5py.File(path, "w") as file:
        file["reconstruction_rss"] = np.zeros((2, 4, 5), np.float32)


def training_images(path):
    with h5py.File(path, "w") as file:
        file["slices"] = np.zeros((2, 4, 5), np.uint8)


CASES = {
    npy: ("a NumPy array", "jrsr import"),
    mat: ("a MATLAB file", "jrsr import"),
    mat_7_3: ("a MATLAB file", "jrsr import"),
    cfl_header: ("BART", "jrsr import"),
    fastmri: ("fastMRI", "jrsr import"),
    archive: ("ZIP", "unpack"),
    nifti: ("NIfTI", "k-space"),
    nifti_gz: ("NIfTI", "gzip"),
    nifti_2: ("NIfTI", "k-space"),
    gz: ("gzip", "unpack"),
    dicom: ("DICOM", "k-space"),
    picture: ("PNG", "no raw data"),
    fastmri_images: ("images of fastMRI", "k-space"),
    training_images: ("for training", "jrsr-train prepare"),
}


@pytest.mark.parametrize("write", CASES, ids=lambda write: write.__name__)
def test_named_whatever_the_ending(tmp_path, write):
    path = tmp_path / "scan.h5"
    write(path)
    with pytest.raises(UnsupportedScan) as found:
        ScanFile(path)
    for word in ("not an ISMRMRD file but", *CASES[write]):
        assert word in str(found.value)
    assert "\n" not in str(found.value)


@pytest.mark.data
@pytest.mark.parametrize("name", ["twix_pulseq_gre_1ch", "twix_skyra_bodycoil_2ch"])
def test_real_siemens_files(name):
    path = SHARED / "data" / "raw" / f"{name}.dat"
    if not path.exists():
        pytest.skip("no shared data")
    assert foreign_kind(path) == "siemens"
    with pytest.raises(UnsupportedScan, match="Siemens raw data"):
        ScanFile(path)


@pytest.mark.parametrize("content", [b"", b"text", b"\0" * 64, b"\x1f\x8b\x08" + b"x" * 40])
def test_anything_else_is_not(tmp_path, content):
    (tmp_path / "a").write_bytes(content)
    assert foreign_kind(tmp_path / "a") == ""
    assert "jrsr import" not in foreign_words(tmp_path / "a")


def test_random_bytes_are_nothing(tmp_path):
    """No false alarm in a thousand random files, and no error either."""
    generator = np.random.default_rng(0)
    path = tmp_path / "a"
    for _ in range(1000):
        n = int(generator.integers(0, 2000))
        path.write_bytes(generator.bytes(n))
        assert foreign_words(path) == ""
