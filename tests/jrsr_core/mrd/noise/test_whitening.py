"""Noise lines: of this scan, of several scans, of an earlier scan, of a chain that whitened."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from jrsr_core.calibration.settings import CalibrationSettings
from jrsr_core.mrd.assembly.assemble import Assembler
from jrsr_core.mrd.errors import UnsupportedScan
from jrsr_core.mrd.header.scan_header import parse_header
from jrsr_core.mrd.lines.acquired import NOISE, has_flag
from jrsr_core.mrd.noise.measured import noise_of_scan
from jrsr_core.mrd.planning.plan import plan_scan
from jrsr_core.reconstruction.load import load_model
from tests.helpers.mrd_scans import (
    copied,
    joined,
    noise_samples,
    scan_of_kspace,
    select,
    small_scan,
)


def whitening(xml, lines, **options):
    header = parse_header(xml)
    return Assembler(lines, plan_scan(header, lines.heads), **options).whitening


def noise_lines(lines):
    return select(lines, np.flatnonzero(has_flag(lines.heads, NOISE)))


def test_two_noise_scans_of_different_dwell_time_are_one():
    """Twice the dwell time halves the power; both scans measure the same receivers."""
    first, second = noise_samples(n=131072).split(65536, dim=1)
    _, _, xml, lines = small_scan(noise=first)
    _, _, _, other = small_scan(noise=second)
    slow = copied(noise_lines(other))
    slow.heads["sample_time_us"] *= 2
    slow.data[:] = [d / np.sqrt(2) for d in slow.data]
    once, twice = whitening(xml, lines), whitening(xml, joined(lines, slow))
    assert twice.noise_std == pytest.approx(once.noise_std, rel=0.01)
    error = (twice.matrix - once.matrix).norm() / once.matrix.norm()
    assert error < 0.02


def test_noise_of_other_coils_is_set_aside_and_counted():
    _, _, xml, lines = small_scan(noise=noise_samples())
    stranger = copied(noise_lines(small_scan(noise=noise_samples(3), n_coils=3)[3]))
    plan = plan_scan(parse_header(xml), joined(lines, stranger).heads)
    assert plan.rejected == {"noise of other coils": 16}
    assert len(plan.noise) == 16


def test_earlier_noise_replaces_that_of_the_scan():
    _, _, xml, lines = small_scan(noise=noise_samples())
    _, _, _, bare = small_scan()
    earlier = noise_of_scan(parse_header(xml), lines)
    ours = whitening(xml, bare, noise=earlier)
    assert torch.equal(ours.matrix, whitening(xml, lines).matrix)
    louder = replace(earlier, samples=2 * earlier.samples)
    assert whitening(xml, lines, noise=louder).noise_std == pytest.approx(2 * ours.noise_std)
    with pytest.raises(UnsupportedScan, match="noise has 3 channels, scan has 4"):
        whitening(xml, bare, noise=replace(earlier, samples=earlier.samples[:3]))


@pytest.mark.parametrize("dwell", [2.0, 0.5])
def test_noise_of_an_image_goes_with_its_own_dwell_time(dwell):
    """A contrast of another bandwidth: E|n|^2 goes with 1 / dwell time."""
    _, _, xml, lines = small_scan(n_slices=2, noise=noise_samples())
    lines.heads["sample_time_us"][lines.heads["idx"]["slice"] == 1] *= dwell
    first, second = Assembler(lines, plan_scan(parse_header(xml), lines.heads))
    assert second.noise_std == pytest.approx(first.noise_std / dwell**0.5)


def test_channels_that_are_white_already_stay_as_they_are():
    generator = torch.Generator().manual_seed(0)
    white = torch.randn((4, 65536), dtype=torch.complex64, generator=generator)
    _, _, xml, lines = small_scan(noise=white)
    found = whitening(xml, lines)
    assert found.noise_std == pytest.approx(1.0, rel=0.01)
    torch.testing.assert_close(found.matrix, torch.eye(4).to(found.matrix), atol=0.02, rtol=0)


def test_channels_of_pure_noise_do_no_harm():
    """A coil far from the object: the image is that of the other coils."""
    kspace, mask, _, _ = small_scan(n_coils=6)
    deaf = kspace.clone()
    std = float(kspace.abs().square().mean().sqrt()) / 30
    generator = torch.Generator().manual_seed(3)
    deaf[:, 4:] = 0
    deaf += std * torch.randn(deaf.shape, dtype=deaf.dtype, generator=generator)
    xml, lines = scan_of_kspace(deaf, mask)
    recon = load_model("cg-sense+sinc", calibration=CalibrationSettings(kernel_width=4))
    (slice_,) = Assembler(lines, plan_scan(parse_header(xml), lines.heads))
    image = recon(slice_)
    four = scan_of_kspace(deaf[:, :4].contiguous(), mask)
    (other,) = Assembler(four[1], plan_scan(parse_header(four[0]), four[1].heads))
    reference = recon(other).magnitude
    inside = reference > 0.3 * reference.max()
    error = (image.magnitude - reference)[inside].norm() / reference[inside].norm()
    assert not image.report.fallback and error < 0.03
