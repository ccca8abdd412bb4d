"""A 3-D reference scan of 2-D slices: k-space of the slice at its place in the volume."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from jrsr_core.data import Counters
from jrsr_core.mrd.acs.place import Misplaced, place_in_volume
from jrsr_core.mrd.assembly.assemble import Assembler
from jrsr_core.mrd.assembly.read_acs import plane_of_volume
from jrsr_core.mrd.header.encoding import Encoding
from jrsr_core.mrd.header.scan_header import parse_header
from jrsr_core.mrd.lines.acquired import HEAD_DTYPE, LineList
from jrsr_core.mrd.planning.plan import plan_scan
from jrsr_core.mrd.simulator.frames import make_frame, reference_volume
from jrsr_core.mrd.simulator.header import ScanMetadata
from jrsr_core.mrd.simulator.lines import scan_of_frames
from jrsr_core.mrd.simulator.request import ScanRequest
from jrsr_core.physics.fourier import ifft
from jrsr_core.physics.resolution import crop_or_pad
from jrsr_core.simulation.masks import make_mask
from tests.helpers.mrd_scans import coil_kspace
from tests.laws import random_complex

SLAB = Encoding((8, 12, 20), (8, 12, 10), (40.0, 120.0, 200.0), (40.0, 120.0, 100.0))
REQUEST = ScanRequest(calibration="volume", acceleration=2)


def head(position, read=(1, 0, 0), phase=(0, 1, 0), normal=(0, 0, 1)):
    line = np.zeros(1, HEAD_DTYPE)
    line["position"], line["read_dir"], line["phase_dir"] = position, read, phase
    line["slice_dir"] = normal
    return line[0]


@pytest.mark.parametrize("shape", [(6, 7, 8), (5, 8, 9)])
def test_a_plane_is_the_image_of_the_volume_at_its_place(shape):
    nz, ny, nx = shape
    kspace = random_complex(3, ny, nz, nx, seed=1)
    volume = ifft(kspace, (1, 2, 3))
    for z, dy, dx in ((0, 0, 0), (nz - 1, 2, -3), (2, -1, 1)):
        offset = ((z - nz // 2) / nz, dy / ny, dx / nx)
        plane = ifft(plane_of_volume(kspace, offset), (1, 3))[:, :, 0]
        expected = volume[:, :, z].roll((-dy, -dx), (1, 2))
        torch.testing.assert_close(plane, expected, rtol=1e-4, atol=1e-5)


def test_between_the_partitions_it_is_interpolated():
    """A volume with one spatial frequency along z, seen anywhere in between."""
    kspace = torch.zeros(1, 1, 8, 1, dtype=torch.complex64)
    kspace[0, 0, 6] = 1.0
    for d in (0.1, -0.33):
        value = plane_of_volume(kspace, (d, 0.0, 0.0)).squeeze() * 8**0.5
        assert complex(value) == pytest.approx(np.exp(2j * np.pi * 2 * d), abs=1e-5)


def test_place_on_the_axes_of_the_reference():
    read, phase, normal = (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.0, 0.0, 0.0)
    reference = head((1, 2, 3), read, phase, normal)
    image = head((1 + 10, 2 + 25, 3 - 30), read, phase, normal)
    assert place_in_volume(reference, SLAB, image) == pytest.approx((0.25, -0.25, 0.25))
    nowhere = head((0, 0, 10), (0, 0, 0), (0, 0, 0), (0, 0, 0))
    origin = head((0, 0, 0), (0, 0, 0), (0, 0, 0), (0, 0, 0))
    assert place_in_volume(origin, SLAB, nowhere) == pytest.approx((0.25, 0.0, 0.0))


@pytest.mark.parametrize(
    ("encoding", "image", "words"),
    [
        (SLAB, head((0, 0, 0), (0, 1, 0), (-1, 0, 0)), "another orientation"),
        (SLAB, head((0, 0, 21)), "does not reach every slice"),
        (replace(SLAB, encoding_matrix=(1, 12, 20)), head((0, 0, 0)), "2-D encoding"),
    ],
)
def test_a_reference_that_cannot_serve_says_why(encoding, image, words):
    with pytest.raises(Misplaced, match=words):
        place_in_volume(head((0, 0, 0)), encoding, image)


def slices_and_reference(n=6, metadata=None):
    """Undersampled slices after a reference of the whole slab."""
    kspace = coil_kspace((48, 64), 4, n)
    mask = make_mask("regular", (48, 64), 2, n_acs=1)[:, 0][None]
    frames = [
        make_frame(Counters(slice=s), kspace[s][:, None], mask, flagged=False) for s in range(n)
    ]
    whole = [replace(f, mask=torch.ones_like(mask)) for f in frames]
    frames = [reference_volume(whole, 16), *frames]
    xml, lines = scan_of_frames(
        frames, fov_mm=(5.0, 200.0, 260.0), metadata=metadata, request=REQUEST
    )
    return kspace, parse_header(xml), lines


def test_every_slice_is_calibrated_from_its_place_in_the_slab():
    tilted = ScanMetadata(
        read_dir=(0.0, 1.0, 0.0),
        phase_dir=(0.0, 0.0, 1.0),
        slice_dir=(1.0, 0.0, 0.0),
        position_mm=(7.0, -3.0, 20.0),
    )
    for metadata in (None, tilted):
        kspace, header, lines = slices_and_reference(metadata=metadata)
        plan = plan_scan(header, lines.heads)
        assert {c.kind for c in plan.calibration.values()} == {"volume"} and not plan.rejected
        for slice_ in Assembler(lines, plan):
            expected = crop_or_pad(kspace[slice_.counters.slice], (16, 32))
            torch.testing.assert_close(slice_.acs, expected, rtol=1e-3, atol=1e-3)
            assert slice_.mask.sum() < 0.6 * slice_.mask.numel()


def test_an_asymmetric_echo_of_the_slab_is_cut_to_its_measured_centre():
    kspace, header, lines = slices_and_reference()
    lines.heads["discard_pre"][lines.heads["encoding_space_ref"] == 1] = 20
    for slice_ in Assembler(lines, plan_scan(header, lines.heads)):
        # 10 of 32 samples are missing: 6 before the centre remain, and as many after it.
        expected = crop_or_pad(kspace[slice_.counters.slice], (16, slice_.acs.shape[-1]))
        assert slice_.acs.shape[-1] in (11, 12, 13)
        error = (slice_.acs - expected).norm() / expected.norm()
        assert error < 0.1, error


def test_the_slab_is_read_once_for_all_slices(monkeypatch):
    _, header, lines = slices_and_reference()
    read = []
    real = LineList.samples
    monkeypatch.setattr(LineList, "samples", lambda self, i: read.extend(i) or real(self, i))
    assert len(list(Assembler(lines, plan_scan(header, lines.heads)))) == 6
    assert sorted(read) == list(range(len(lines.heads)))


def test_a_slab_elsewhere_is_set_aside_with_the_reason():
    _, header, lines = slices_and_reference()
    lines.heads["position"][lines.heads["encoding_space_ref"] == 1] += (0.0, 0.0, 500.0)
    plan = plan_scan(header, lines.heads)
    assert {c.kind for c in plan.calibration.values()} == {"shared"}
    assert plan.rejected == {"reference volume that does not reach every slice": 96}
