"""Files: the order in which lines were written, and copies of all of them, change no image."""

import dataclasses

import numpy as np
import pytest
import torch

from jrsr_core.mrd.assembly.assemble import Assembler
from jrsr_core.mrd.examination.examine import plan_source
from jrsr_core.mrd.files.sandbox import Sandbox, SandboxedScan
from jrsr_core.mrd.files.scan import ScanFile, write_scan
from jrsr_core.mrd.lines.acquired import NOISE, has_flag
from jrsr_core.mrd.simulator.request import ScanRequest
from jrsr_core.mrd.simulator.simulate import simulate_scan
from tests.helpers.mrd_scans import select

SMALL = ScanRequest(matrix="64x48", n_coils=4, acs=12, mask="regular", acceleration=2)
WALL = SMALL.override(protocol="wall-16x", matrix="48x40", positions=6, mask="random")
KINDS = {
    "slice": SMALL,
    "interleaved": SMALL.override(slices=3, contrasts=2, order="interleaved"),
    "separate": SMALL.override(calibration="separate", slices=2),
    "external": SMALL.override(calibration="external"),
    "volume": WALL,
    "volume, separate": WALL.override(calibration="separate"),
}


@pytest.fixture(scope="module")
def simulated():
    """Header and lines of a kind of scan, made once."""
    made = {}

    def scan(kind):
        if kind not in made:
            made[kind] = simulate_scan(KINDS[kind])
        return made[kind].header_xml, made[kind].lines

    return scan


def reordered(lines, order):
    """The lines with those that are no noise in another order."""
    is_noise = has_flag(lines.heads, NOISE)
    rest = np.flatnonzero(~is_noise)
    ky = lines.heads["idx"]["kspace_encode_step_1"][rest].astype(int)
    kz = lines.heads["idx"]["kspace_encode_step_2"][rest].astype(int)
    distance = np.hypot(ky - ky.max() / 2, kz - kz.max() / 2)
    ranks = {
        "ascending": np.arange(len(rest)),
        "descending": -np.arange(len(rest)),
        "centre out": distance,
        "random": np.random.default_rng(0).permutation(len(rest)),
    }
    ordered = rest[np.argsort(ranks[order], kind="stable")]
    return select(lines, np.concatenate([np.flatnonzero(is_noise), ordered]))


def assembled_from(source):
    return list(Assembler(source, plan_source(source.header, source)))


def tensors(data):
    return {k: v for k, v in vars(data).items() if isinstance(v, torch.Tensor)}


def assert_same(found, expected):
    """K-space, mask and ACS of every image, up to the order in which numbers are added."""
    found, expected = ({d.counters: d for d in data} for data in (found, expected))
    assert found.keys() == expected.keys()
    for counters, data in expected.items():
        other = tensors(found[counters])
        for name, value in tensors(data).items():
            torch.testing.assert_close(other[name], value, rtol=1e-5, atol=1e-6, msg=name)


@pytest.mark.parametrize("order", ["descending", "centre out", "random"])
@pytest.mark.parametrize("kind", KINDS)
def test_lines_may_come_in_any_order(simulated, tmp_path, kind, order):
    xml, lines = simulated(kind)
    for name in ("ascending", order):
        write_scan(tmp_path / f"{name}.h5", xml, reordered(lines, name))
    with ScanFile(tmp_path / "ascending.h5") as ascending:
        expected = assembled_from(ascending)
    with ScanFile(tmp_path / f"{order}.h5") as scan:
        assert_same(assembled_from(scan), expected)


def test_a_subprocess_reads_lines_in_any_order(simulated, tmp_path):
    xml, lines = simulated("slice")
    path = tmp_path / "scan.h5"
    write_scan(path, xml, lines)
    wanted = np.random.default_rng(1).permutation(np.flatnonzero(~has_flag(lines.heads, NOISE)))
    with ScanFile(path) as plain, Sandbox() as sandbox, SandboxedScan(path, sandbox) as sandboxed:
        for source in (plain, sandboxed):
            np.testing.assert_array_equal(source.samples(wanted), lines.samples(wanted))
            np.testing.assert_array_equal(
                source.samples(wanted[[3, 3, 0]]), lines.samples(wanted[[3, 3, 0]])
            )


@pytest.mark.parametrize("kind", KINDS)
def test_a_scan_that_was_written_twice_is_that_of_its_first_lines(simulated, tmp_path, kind):
    xml, lines = simulated(kind)
    write_scan(tmp_path / "once.h5", xml, lines)
    write_scan(tmp_path / "twice.h5", xml, select(lines, [*range(len(lines.heads))] * 2))
    with ScanFile(tmp_path / "once.h5") as once, ScanFile(tmp_path / "twice.h5") as twice:
        expected, found = assembled_from(once), assembled_from(twice)
    assert_same([dataclasses.replace(d, noise_std=None) for d in found], expected)
    assert all(any("copies are left out" in note for note in d.notes) for d in found)
