"""Heaps that are broken are refused before HDF5 walks through them, some of them for ever."""

import struct

import numpy as np
import pytest

from jrsr_core.mrd.errors import BadScan
from jrsr_core.mrd.files.heaps import HEAP, MAX_OBJECTS, OBJECT
from jrsr_core.mrd.files.scan import ScanFile, write_scan
from tests.helpers.mrd_scans import small_scan

FIRST = HEAP.size


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "scan.h5"
    _, _, xml, lines = small_scan()
    write_scan(path, xml, lines)
    return path


def _heaps(path):
    """Where heaps begin, by their signature."""
    data, found = path.read_bytes(), []
    while (at := data.find(b"GCOL", found[-1] + 1 if found else 0)) >= 0:
        found.append(at)
    return found


def _spoil(path, at, layout, *values):
    with path.open("r+b") as file:
        file.seek(at)
        file.write(struct.pack(layout, *values))


def _read_all(path):
    with ScanFile(path) as scan:
        for _ in scan.blocks():
            pass
        scan.samples(np.array([len(scan.heads) - 1]))


def test_sound_heaps_are_found(path):
    assert len(_heaps(path)) > 1
    _read_all(path)


@pytest.mark.parametrize("which", [0, -1])
@pytest.mark.parametrize(
    ("index", "size"),
    [(0, 0), (1, 2**64 - 16), (1, 2**64 - 20), (1, 2**63), (3, 2**32)],
)
def test_objects_that_lead_nowhere(path, which, index, size):
    _spoil(path, _heaps(path)[which] + FIRST, "<H6xQ", index, size)
    with pytest.raises(BadScan, match=r"the heap at byte \d+ is broken"):
        _read_all(path)


@pytest.mark.parametrize(
    ("at", "layout", "value"), [(0, "<4s", b"GOAL"), (8, "<Q", 2**40), (8, "<Q", 2**64 - 1)]
)
def test_heaps_that_are_none(path, at, layout, value):
    _spoil(path, _heaps(path)[-1] + at, layout, value)
    with pytest.raises(BadScan, match="is broken"):
        _read_all(path)


def test_more_objects_than_their_index_can_number(path):
    objects = OBJECT.pack(1, 0) * (MAX_OBJECTS + 1)
    with path.open("r+b") as file:
        end = file.seek(0, 2)
        file.write(HEAP.pack(b"GCOL", HEAP.size + len(objects)) + objects)
    with ScanFile(path) as scan, pytest.raises(BadScan, match=f"heap at byte {end} is broken"):
        scan._heaps.check(np.array([0, end], np.uint64))
