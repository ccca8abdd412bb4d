"""Files: written once and read back by every reader; broken ones are named as such."""

import h5py
import ismrmrd
import numpy as np
import pytest

from jrsr_core.mrd.errors import BadScan
from jrsr_core.mrd.files.scan import ScanFile, write_scan
from jrsr_core.mrd.lines.acquired import HEAD_DTYPE
from tests.helpers.mrd_scans import noise_samples, small_scan
from tests.helpers.processes import needs, run_process


@pytest.fixture
def scan(tmp_path):
    """Path and content of a written scan."""
    _, _, xml, lines = small_scan(n_slices=2, acceleration=2, noise=noise_samples())
    path = tmp_path / "scan.h5"
    write_scan(path, xml, lines)
    return path, xml, lines


def test_own_reader(scan):
    path, xml, lines = scan
    with ScanFile(path) as file:
        assert file.header.xml == xml
        np.testing.assert_array_equal(file.heads, lines.heads)
        image = np.arange(16, len(lines.heads))
        np.testing.assert_array_equal(file.samples(image[::3]), lines.samples(image[::3]))
        np.testing.assert_array_equal(
            file.samples(image[[0, 1, 5]]), lines.samples(image[[0, 1, 5]])
        )


def test_ismrmrd_dataset_and_file(scan):
    path, xml, lines = scan
    with ismrmrd.Dataset(str(path), "dataset", create_if_needed=False) as dataset:
        assert dataset.read_xml_header().decode() == xml
        assert dataset.number_of_acquisitions() == len(lines.heads)
        acquisition = dataset.read_acquisition(20)
    np.testing.assert_array_equal(acquisition.data, lines.data[20])
    assert acquisition.idx.kspace_encode_step_1 == lines.heads["idx"]["kspace_encode_step_1"][20]
    assert ismrmrd.xsd.CreateFromDocument(xml).encoding[0].reconSpace.matrixSize.x == 64
    with ismrmrd.File(path, "r") as file:
        acquisitions = file["dataset"].acquisitions
        assert acquisitions[-1].is_flag_set(ismrmrd.ACQ_LAST_IN_MEASUREMENT)
        assert acquisitions[0].is_flag_set(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)


@needs("ismrmrd_recon_cartesian_2d")
def test_reference_reconstruction_reads_it(tmp_path):
    _, _, xml, lines = small_scan()
    write_scan(tmp_path / "scan.h5", xml, lines)
    done = run_process(["ismrmrd_recon_cartesian_2d", "scan.h5"], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "[64, 48, 1]" in done.stdout
    with h5py.File(tmp_path / "scan.h5") as file:
        assert "cpp" in file["dataset"]


def test_files_of_the_ismrmrd_library_are_read(tmp_path):
    _, _, xml, lines = small_scan(n_coils=2)
    path = str(tmp_path / "library.h5")
    with ismrmrd.Dataset(path, "dataset") as dataset:
        dataset.write_xml_header(xml.encode())
        for head, data in zip(lines.heads[:6], lines.data[:6], strict=True):
            dataset.append_acquisition(ismrmrd.Acquisition(head, data))
    with ScanFile(path) as file:
        np.testing.assert_array_equal(file.heads, lines.heads[:6])
        np.testing.assert_array_equal(file.samples(np.arange(6)), lines.samples(np.arange(6)))


@pytest.mark.parametrize("layout", [{"chunks": (16,), "compression": "gzip"}, {}])
def test_compressed_and_contiguous_files_are_read(scan, tmp_path, layout):
    path, _, lines = scan
    other = tmp_path / "other.h5"
    with h5py.File(path) as source, h5py.File(other, "w") as target:
        group = target.create_group("scan_1")
        group["xml"] = source["dataset/xml"][()]
        rows = source["dataset/data"]
        group.create_dataset("data", data=rows[()], dtype=rows.dtype, **layout)
    with ScanFile(other) as file:
        np.testing.assert_array_equal(file.heads, lines.heads)


def rewrite(path, change):
    with h5py.File(path, "r+") as file:
        change(file)


def drop(name):
    return lambda path: rewrite(path, lambda file: file.pop(name))


def cut(path):
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(size * 2 // 3)


def wrong_size(path):
    def change(file):
        row = file["dataset/data"][30]
        row["data"] = row["data"][:-2]
        file["dataset/data"][30] = row

    rewrite(path, change)


def other_kind(path):
    def change(file):
        del file["dataset/data"]
        file["dataset/data"] = np.zeros(4)

    rewrite(path, change)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda path: path.write_bytes(b"no HDF5 at all"), "not an HDF5 file"),
        (lambda path: path.write_bytes(b""), "not an HDF5 file"),
        (cut, "cut off"),
        (drop("dataset"), "no group 'dataset' in the file, found: nothing"),
        (drop("dataset/xml"), "no header: '/dataset/xml' is missing"),
        (drop("dataset/data"), "no acquisitions: '/dataset/data' is missing"),
        (other_kind, "no acquisitions"),
        (wrong_size, "line 30 holds 511 samples, its header says 4 x 128"),
    ],
)
def test_broken_files(scan, spoil, words):
    path, _, _ = scan
    spoil(path)
    with pytest.raises(BadScan, match=words) as caught, ScanFile(path) as file:
        file.samples(np.arange(16, len(file.heads)))
    assert "\n" not in str(caught.value)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.h5: no such file"):
        ScanFile(tmp_path / "nowhere.h5")


def test_empty_scan(tmp_path):
    _, _, xml, lines = small_scan()
    write_scan(tmp_path / "empty.h5", xml, type(lines)(np.empty(0, HEAD_DTYPE), []))
    with ScanFile(tmp_path / "empty.h5") as file:
        assert len(file.heads) == 0
