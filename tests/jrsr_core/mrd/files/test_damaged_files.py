"""Damaged and hostile files: the sandboxed subprocess ends in one line, within its limits."""

import struct
import time
import zlib

import h5py
import ismrmrd
import numpy as np
import pytest

from jrsr_core.mrd.errors import BadScan
from jrsr_core.mrd.files.sandbox import Sandbox, SandboxedScan
from jrsr_core.mrd.files.sandbox_process import SandboxLimits
from jrsr_core.mrd.files.sandboxed_images import SandboxedImages
from jrsr_core.mrd.files.scan import ROW_DTYPE, ScanFile, write_scan
from jrsr_core.mrd.files.stored_rows import VLEN
from tests.helpers.mrd_scans import small_scan

FIRST_OBJECT = 16
"""Bytes from the start of a heap to its first object."""


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(SandboxLimits(memory=2**28, answer=20.0)) as sandbox:
        yield sandbox


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "scan.h5"
    _, _, xml, lines = small_scan()
    write_scan(path, xml, lines)
    return path


def heaps(path):
    """Where heaps begin, by their signature."""
    data, found = path.read_bytes(), []
    while (at := data.find(b"GCOL", found[-1] + 1 if found else 0)) >= 0:
        found.append(at)
    return found


def overwrite(path, at, layout, *values):
    with path.open("r+b") as file:
        file.seek(at)
        file.write(struct.pack(layout, *values))


def read_all(path, sandbox):
    with SandboxedScan(path, sandbox) as scan:
        for start in range(0, len(scan.heads), 16):
            scan.samples(np.arange(start, min(start + 16, len(scan.heads))))


def test_a_whole_file_is_read(path, sandbox):
    assert len(heaps(path)) > 1
    read_all(path, sandbox)


@pytest.mark.parametrize("which", [0, -1])
def test_a_heap_that_hdf5_never_comes_back_from(path, which):
    overwrite(path, heaps(path)[which] + FIRST_OBJECT, "<H6xQ", 0, 0)
    start = time.monotonic()
    with (
        Sandbox(SandboxLimits(answer=1.0)) as sandbox,
        pytest.raises(BadScan, match=r"reading the file takes longer than 1 s"),
    ):
        read_all(path, sandbox)
    assert time.monotonic() - start < 20


@pytest.mark.parametrize("which", [0, -1])
@pytest.mark.parametrize(
    ("index", "size"), [(1, 2**64 - 16), (1, 2**64 - 20), (1, 2**63), (3, 2**32)]
)
def test_objects_of_a_heap_that_lead_nowhere(path, which, index, size):
    overwrite(path, heaps(path)[which] + FIRST_OBJECT, "<H6xQ", index, size)
    with Sandbox(SandboxLimits(answer=1.0)) as sandbox, pytest.raises(BadScan) as caught:
        read_all(path, sandbox)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("at", "layout", "value"), [(0, "<4s", b"GOAL"), (8, "<Q", 2**40), (8, "<Q", 2**64 - 1)]
)
def test_heaps_that_are_none(path, at, layout, value, sandbox):
    overwrite(path, heaps(path)[-1] + at, layout, value)
    with pytest.raises(BadScan, match=r"cut off|crashes") as caught:
        read_all(path, sandbox)
    assert "\n" not in str(caught.value)
    if at == 0:
        with ScanFile(path) as scan, pytest.raises(BadScan, match="samples cannot be read"):
            scan.samples(np.arange(len(scan.heads)))


def change_length(path, at, number):
    """Change the length of a list in the stored rows of an uncompressed file."""
    with h5py.File(path) as file:
        rows = file["dataset/data"]
        offset = rows.id.get_chunk_info(0).byte_offset
        kind = rows.id.get_type()
        offset += kind.get_member_offset(kind.get_member_index(b"data")) + at * kind.get_size()
    with path.open("r+b") as file:
        file.seek(offset)
        length = int(np.frombuffer(file.read(VLEN.itemsize), VLEN)["n"][0])
        file.seek(offset)
        file.write(np.uint32(number).tobytes())
    return length


@pytest.mark.parametrize("number", [2**31, 2**32 - 1, 2**25, 2**23])
def test_a_line_of_another_length_is_never_read(number, path, sandbox):
    assert change_length(path, 5, number) == 2 * 4 * 128
    words = f"line 5 holds {number // 2} samples"
    with SandboxedScan(path, sandbox) as scan:
        with pytest.raises(BadScan, match=words):
            scan.samples(np.arange(8))
        assert len(scan.samples(np.arange(6, 9))) == 3, "the other lines are still read"
    with ScanFile(path) as scan, pytest.raises(BadScan, match=words):
        scan.samples(np.arange(8))


def link_out(file):
    file["dataset/waveforms"] = h5py.ExternalLink("/etc/hostname", "/")


def soft_link(file):
    file["other"] = h5py.SoftLink("/dataset")


def virtual(file):
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("elsewhere.h5", "data", (4,))
    file.create_virtual_dataset("dataset/more", layout)


def external(file):
    file.create_dataset("dataset/raw", (4,), "f4", external=[("/etc/hostname", 0, 16)])


def new_header(file, *arguments):
    del file["dataset/xml"]
    file.create_dataset("dataset/xml", *arguments)


def many_headers(file):
    new_header(file, (3,), h5py.string_dtype())


def long_header(file):
    del file["dataset/xml"]
    file["dataset/xml"] = "x" * (2**24 + 1)


def wide_header(file):
    new_header(file, (1,), f"S{2**31 - 1}")


def new_rows(file, *shape_and_kind, **options):
    del file["dataset/data"]
    file.create_dataset("dataset/data", *shape_and_kind, **options)


def wide_chunks(file):
    new_rows(file, (48,), ROW_DTYPE, chunks=(2**22,), maxshape=(None,), compression="gzip")
    rows = file["dataset/data"].id
    rows.write_direct_chunk((0,), zlib.compress(bytes(2**22 * rows.get_type().get_size())))


def rows_never_written(file):
    new_rows(file, (2**40,), ROW_DTYPE, chunks=(64,), maxshape=(None,))


def few_rows_never_written(file):
    new_rows(file, (48,), ROW_DTYPE, chunks=(64,), maxshape=(None,))


def some_rows_never_written(file):
    rows = file["dataset/data"][:12]
    new_rows(file, (48,), rows.dtype, chunks=(12,), maxshape=(None,))
    file["dataset/data"][:12] = rows


def contiguous_rows_never_written(file):
    new_rows(file, (48,), ROW_DTYPE)


def other_counters(file):
    kind = file["dataset/data"].dtype
    head = {n: kind["head"][n] for n in kind["head"].names}
    head["idx"] = np.dtype([(n.replace("con", "kon"), "u2") for n in head["idx"].names])
    fields = {"head": np.dtype(list(head.items()))} | {n: kind[n] for n in ("traj", "data")}
    new_rows(file, (4,), np.dtype(list(fields.items())), chunks=(4,))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (link_out, "'waveforms' in /dataset is a ExternalLink"),
        (soft_link, "'other' in / is a SoftLink"),
        (virtual, "'more' in /dataset lies in other files"),
        (external, "'raw' in /dataset lies in other files"),
        (many_headers, "holds 3 values"),
        (long_header, "header"),
        (wide_header, r"needs more than \d+ MiB|header"),
        (wide_chunks, r"needs more than \d+ MiB"),
        (rows_never_written, "has 1099511627776 rows, at most 1048576 are accepted in a file of"),
        (few_rows_never_written, "0 of 1 chunks were ever written"),
        (some_rows_never_written, "1 of 4 chunks were ever written"),
        (contiguous_rows_never_written, "never written"),
        (other_counters, "acquisition headers lack contrast"),
    ],
)
def test_files_that_ask_for_more_than_they_hold(change, words, path, sandbox):
    with h5py.File(path, "r+") as file:
        change(file)
    start = time.monotonic()
    with pytest.raises(BadScan, match=words) as caught, SandboxedScan(path, sandbox) as scan:
        scan.samples(np.arange(len(scan.heads)))
    assert "\n" not in str(caught.value)
    assert time.monotonic() - start < 15


@pytest.mark.parametrize("n_bytes", [2**26, 2**31])
def test_a_compressed_chunk_does_not_grow_beyond_its_rows(n_bytes, path, sandbox):
    with h5py.File(path, "r+") as file:
        rows = file["dataset/data"]
        content, kind = rows[()], rows.dtype
        del file["dataset/data"]
        options = {"chunks": (16,), "compression": "gzip", "shuffle": True, "fletcher32": True}
        made = file.create_dataset("dataset/data", data=content, dtype=kind, **options)
        with ScanFile(path) as good:
            np.testing.assert_array_equal(good.heads, content["head"])
        packer = zlib.compressobj(1)
        zeros = bytes(2**24)
        bomb = b"".join(packer.compress(zeros) for _ in range(n_bytes // 2**24)) + packer.flush()
        made.id.write_direct_chunk((16,), bomb + b"1234", 0)
    with pytest.raises(BadScan, match=r"a chunk|crashes|needs more"):
        read_all(path, sandbox)


def test_a_file_that_crashes_the_subprocess_costs_no_other(path, tmp_path, sandbox):
    overwrite(path, heaps(path)[0] + 8, "<Q", 2**64 - 1)
    bad, path = path, tmp_path / "good.h5"
    _, _, xml, lines = small_scan()
    write_scan(path, xml, lines)
    for _ in range(2):
        with pytest.raises(BadScan):
            read_all(bad, sandbox)
        read_all(path, sandbox)


def test_images_whose_texts_lead_nowhere(tmp_path):
    path = tmp_path / "images.h5"
    image = ismrmrd.Image.from_array(np.ones((6, 8), np.float32), transpose=False)
    with ismrmrd.Dataset(str(path)) as dataset:
        dataset.append_image("image_0", image)
    with Sandbox(SandboxLimits(answer=30.0)) as sandbox, SandboxedImages(path, sandbox) as images:
        (read,) = images
        np.testing.assert_array_equal(read.data, image.data)
    overwrite(path, heaps(path)[0] + FIRST_OBJECT, "<H6xQ", 0, 0)
    with (
        Sandbox(SandboxLimits(answer=5.0)) as sandbox,
        pytest.raises(BadScan, match="takes longer than 5 s"),
    ):
        SandboxedImages(path, sandbox)
