"""Planning grows with the number of lines alone; what is beyond a limit is declined at once."""

import hashlib
import json

import h5py
import numpy as np
import pytest

from jrsr_core.mrd.acs import choose
from jrsr_core.mrd.errors import BadScan, UnsupportedScan
from jrsr_core.mrd.files import stored_rows
from jrsr_core.mrd.files.scan import ROW_DTYPE, ScanFile, write_scan
from jrsr_core.mrd.header.scan_header import parse_header
from jrsr_core.mrd.planning import positions
from jrsr_core.mrd.planning.plan import plan_scan
from jrsr_core.weights.card import CardError
from jrsr_core.weights.load import MAX_HEADER_BYTES, load_weights
from tests.helpers.mrd_scans import small_scan


def heads_of(n_slices=1, n_repetitions=1, step_mm=5.0):
    """Headers of a scan with many slices, and its encodings."""
    _, _, xml, lines = small_scan()
    n_lines = len(lines.heads)
    heads = np.tile(lines.heads, n_slices * n_repetitions)
    image = np.arange(len(heads)) // n_lines
    heads["idx"]["slice"], heads["idx"]["repetition"] = image % n_slices, image // n_slices
    heads["position"] = step_mm * (image % n_slices)[:, None] * heads["slice_dir"]
    return parse_header(xml), heads


def count_calls(monkeypatch, module, name):
    """Count the calls of a function of a module."""
    calls, function = [], getattr(module, name)

    def counted(*arguments):
        calls.append(None)
        return function(*arguments)

    monkeypatch.setattr(module, name, counted)
    return calls


@pytest.mark.parametrize(("n_slices", "n_repetitions"), [(400, 1), (20, 20)])
def test_work_of_planning(n_slices, n_repetitions, monkeypatch):
    header, heads = heads_of(n_slices, n_repetitions)
    sizes = count_calls(monkeypatch, choose, "acs_size")
    places = count_calls(monkeypatch, positions, "_are_same_slice")
    plan = plan_scan(header, heads)
    assert len(plan.groups) == n_slices * n_repetitions
    assert len(plan.calibration) == n_slices
    assert len(sizes) == 1, "images of one sampling are looked at once"
    assert len(places) <= n_slices


def test_places_of_one_counter_are_limited(monkeypatch):
    monkeypatch.setattr(positions, "MAX_PLACES", 20)
    header, heads = heads_of(20)
    heads["idx"]["slice"] = 3
    assert len(plan_scan(header, heads).groups) == 20
    header, heads = heads_of(21)
    heads["idx"]["slice"] = 3
    with pytest.raises(UnsupportedScan, match="slice counter 3 lie at more than 20 places"):
        plan_scan(header, heads)


def test_more_lines_than_a_scan_has(tmp_path):
    with h5py.File(tmp_path / "bomb.h5", "w") as file:
        _, _, xml, _ = small_scan()
        text = file.create_dataset("dataset/xml", (1,), h5py.special_dtype(vlen=bytes))
        text[0] = xml.encode()
        options = {"chunks": (2**14,), "compression": "gzip"}
        file.create_dataset("dataset/data", (2**22,), ROW_DTYPE, **options)
    with pytest.raises(
        BadScan, match="has 4194304 rows, at most 1048576 are accepted in a file of"
    ):
        ScanFile(tmp_path / "bomb.h5")


def test_more_tensors_than_a_network_has(tmp_path):
    empty = {"dtype": "F16", "shape": [0], "data_offsets": [0, 0]}
    text = json.dumps({f"t{i}": empty for i in range(20_000)}).encode()
    content = len(text).to_bytes(8, "little") + text
    assert len(text) > MAX_HEADER_BYTES
    (tmp_path / "w.safetensors").write_bytes(content)
    from jrsr_core.models.registry import architecture

    card = {
        "model": "sr",
        "preset": "tiny",
        "file": "w.safetensors",
        "sha256": hashlib.sha256(content).hexdigest(),
        "architecture": architecture("sr", "tiny"),
    }
    (tmp_path / "card.json").write_text(json.dumps(card))
    with pytest.raises(CardError, match=r"w\.safetensors: safetensors header of \d+ bytes, limit"):
        load_weights(tmp_path / "card.json")


def test_a_large_file_may_have_more_lines(tmp_path, monkeypatch):
    """Dynamic volumes have more than 2^20 lines; each of them takes its bytes in the file."""
    monkeypatch.setattr(stored_rows, "SMALL", 20)
    _, _, xml, lines = small_scan()
    write_scan(tmp_path / "scan.h5", xml, lines)
    n = len(lines.heads)
    assert n > 20 and (tmp_path / "scan.h5").stat().st_size > n * stored_rows.BYTES_PER_ROW
    with ScanFile(tmp_path / "scan.h5") as scan:
        assert len(scan.heads) == n
    monkeypatch.setattr(stored_rows, "MAX_ROWS", n - 1)
    with pytest.raises(BadScan, match=f"has {n} rows, at most {n - 1} are accepted"):
        ScanFile(tmp_path / "scan.h5")


def test_the_smallest_line_of_a_scan_is_larger_than_the_bytes_of_a_row():
    assert ROW_DTYPE["head"].itemsize + 8 * 64 > stored_rows.BYTES_PER_ROW


def test_lines_that_all_lie_at_places_of_their_own(monkeypatch):
    """A thousand slices without a counter, every line moved a little: one pass per slice."""
    _, heads = heads_of(1, 1)
    n = 2**14
    heads = np.resize(heads, n)
    random = np.random.default_rng(0)
    heads["idx"]["kspace_encode_step_1"] = np.arange(n) // 1000
    heads["position"][:, 2] = np.arange(n) % 1000 * 20 + random.uniform(-0.4, 0.4, n)
    heads["slice_dir"], heads["read_dir"] = (0, 0, 1), (1, 0, 0)
    passes = count_calls(monkeypatch, positions, "_are_same_slice")
    encoding = heads_of(1, 1)[0].encodings[0]
    split = positions.split_slices(heads, np.arange(n), (encoding,))
    assert len(np.unique(split.heads["idx"]["slice"])) == 1000
    assert len(passes) == 1000
