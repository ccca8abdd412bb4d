"""Raw data of images that failed are kept as scans, or it is said why not."""

import threading

import numpy as np
import pytest

from gadget.compute.model import make_engine
from gadget.scan.failed_scans import save_lines
from gadget.scan.stages import file_tasks, make_assembler, reconstruct
from gadget.settings import Settings
from jrsr_core.mrd.errors import BadSamples, UnsupportedScan
from jrsr_core.mrd.files.scan import ScanFile
from jrsr_core.mrd.header.scan_header import parse_header
from jrsr_core.mrd.lines.acquired import NOISE, has_flag
from jrsr_core.mrd.planning.plan import plan_scan
from tests.helpers.disk import largest_file
from tests.helpers.mrd_scans import copied, noise_samples, small_scan
from tests.helpers.peer import CHEAP


def spoilt_scan():
    """Two slices with noise lines; one line of the second slice is not a number."""
    _, _, xml, lines = small_scan(n_slices=2, acceleration=2, noise=noise_samples())
    lines = copied(lines)
    index = np.flatnonzero((lines.heads["idx"]["slice"] == 1) & ~has_flag(lines.heads, NOISE))[3]
    lines.data[index][:] = np.nan
    return parse_header(xml), lines


def tasks_of(header, lines, settings):
    return list(file_tasks(make_assembler(lines, plan_scan(header, lines.heads), settings)))


def images(**options):
    header, lines = spoilt_scan()
    settings = Settings(**CHEAP, **options)
    yield from reconstruct(tasks_of(header, lines, settings), make_engine(settings), settings)


def test_the_file_holds_the_lines_of_the_image_and_nothing_else(tmp_path, capfd):
    folder = tmp_path / "deep" / "folder"
    first, second = images(spool_dir=str(folder))
    assert not first.report.fallback and second.report.fallback
    (path,) = folder.iterdir()
    assert f"raw data of slice 1 saved: {path}" in capfd.readouterr().err
    header, lines = spoilt_scan()
    with ScanFile(path) as scan:
        assert scan.header == header
        is_noise = has_flag(scan.heads, NOISE)
        assert is_noise.sum() == has_flag(lines.heads, NOISE).sum() > 0
        assert (scan.heads["idx"]["slice"][~is_noise] == 1).all()
        expected = lines.heads[has_flag(lines.heads, NOISE) | (lines.heads["idx"]["slice"] == 1)]
        np.testing.assert_array_equal(scan.heads, expected)
        # What fails once fails again, in the same way.
        (task,) = file_tasks(
            make_assembler(scan, plan_scan(scan.header, scan.heads), Settings(**CHEAP))
        )
        with pytest.raises(BadSamples, match="1 of"):
            task.assemble()


def test_nothing_without_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert len(list(images())) == 2
    assert not list(tmp_path.iterdir())


def test_kept_also_when_the_first_failure_ends_the_scan(tmp_path):
    with pytest.raises(BadSamples):
        list(images(spool_dir=str(tmp_path), on_failure="stop"))
    assert len(list(tmp_path.iterdir())) == 1


def test_kept_also_when_the_model_fails(tmp_path, monkeypatch):
    def fails(*_):
        raise RuntimeError("no")

    monkeypatch.setattr("jrsr_core.reconstruction.slices.SliceReconstructor.batch", fails)
    with pytest.raises(UnsupportedScan, match="slice 0: RuntimeError: no"):
        list(images(spool_dir=str(tmp_path), on_failure="stop"))
    assert len(list(tmp_path.iterdir())) == 1


def one_task(protocol: str = ""):
    header, lines = spoilt_scan()
    if protocol:
        name = header.protocol_name
        header = parse_header(header.xml.replace(f">{name}<", f">{protocol}<"))
        assert header.protocol_name == protocol
    return tasks_of(header, lines, Settings(**CHEAP))[1]


def test_scans_that_fail_in_the_same_second(tmp_path):
    saved = []
    threads = [
        threading.Thread(target=lambda: saved.append(save_lines(one_task(), str(tmp_path))))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(saved)) == 6 and None not in saved
    assert sorted(tmp_path.iterdir()) == sorted(saved)
    for path in saved:
        with ScanFile(path) as scan:
            assert len(scan.heads) == len(one_task().lines().heads)


@pytest.mark.parametrize("protocol", ["../../t1 mprage/ä", "x" * 300, ".."])
def test_names_that_are_no_file_names(protocol, tmp_path):
    folder = tmp_path / "spool"
    path = save_lines(one_task(protocol), str(folder))
    assert path is not None and path.parent == folder and path.is_file()
    assert [p.name for p in tmp_path.iterdir()] == ["spool"]


@pytest.fixture
def full_disk():
    """No file may become larger than 20 kB, as on a disk with no more room."""
    with largest_file(20_000):
        yield


def test_a_full_disk_costs_no_image_and_leaves_no_half_file(tmp_path, full_disk, capfd):
    found = list(images(spool_dir=str(tmp_path)))
    assert [bool(i.report.fallback) for i in found] == [False, True]
    assert "raw data of slice 1 not saved" in capfd.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_one(tmp_path, capfd):
    (tmp_path / "file").write_text("")
    found = list(images(spool_dir=str(tmp_path / "file")))
    assert len(found) == 2 and found[1].report.fallback
    assert f"not saved in {tmp_path / 'file'}" in capfd.readouterr().err
