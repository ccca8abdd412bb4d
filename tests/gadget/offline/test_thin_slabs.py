"""Volumes of few partitions, and single coils: reconstructed with the kernel that fits, or none."""

import numpy as np
import pytest
import torch

from gadget.compute.model import make_engine
from gadget.scan.inspect import inspect_scan
from gadget.scan.stages import file_tasks, make_assembler, reconstruct
from gadget.settings import Settings
from jrsr_core.calibration.espirit import espirit_maps
from jrsr_core.calibration.settings import kernel_shape
from jrsr_core.data import Counters
from jrsr_core.mrd.files.scan import write_scan
from jrsr_core.mrd.header.scan_header import parse_header
from jrsr_core.mrd.simulator.frames import make_frame
from jrsr_core.mrd.simulator.lines import scan_of_frames
from jrsr_core.mrd.simulator.request import ScanRequest
from jrsr_core.physics.fourier import fft, fft2c
from tests.helpers.commands import NO_WEIGHTS, jrsr
from tests.helpers.live_scans import simulated
from tests.helpers.mrd_scans import select
from tests.helpers.synthetic import coil_profiles, phantom


def slab(n_partitions: int, n_coils: int, n_lines: int = 48, n_readout: int = 40):
    """Truth ``(z, y, x)``, header and lines of a volume, every other line but for 16 in the middle.

    Every partition holds the same object; coils differ in all directions.
    """
    plane, _ = phantom((n_lines, n_readout))
    profiles = coil_profiles(n_coils, (n_lines, n_readout))
    z = (torch.arange(n_partitions) - n_partitions // 2) / n_partitions
    along = 1 + 0.5 * torch.arange(n_coils)[:, None] / n_coils * z
    images = profiles[..., None] * along[:, None, None] * plane[None, ..., None]
    kspace = fft(images.to(torch.complex64), (1, 2, 3))
    mask = torch.zeros(n_lines, n_partitions)
    mask[::2] = 1
    mask[n_lines // 2 - 8 : n_lines // 2 + 8] = 1
    # Frames are (coil, kz, ky, kx), masks (kz, ky).
    frame = make_frame(Counters(), kspace.permute(0, 3, 1, 2), mask.T)
    xml, lines = scan_of_frames([frame], fov_mm=(3.0 * n_partitions, 200.0, 220.0))
    weight = (profiles[..., None] * along[:, None, None]).abs().square().sum(0).sqrt()
    return (weight * plane[..., None].abs()).permute(2, 0, 1), xml, lines


@pytest.mark.parametrize(("n_partitions", "n_coils"), [(2, 4), (5, 4), (8, 6), (5, 1)])
def test_a_volume_of_few_partitions(n_partitions, n_coils):
    truth, xml, lines = slab(n_partitions, n_coils)
    settings = Settings(model="cg-sense+sinc")
    header = parse_header(xml)
    found = inspect_scan(header, lines, settings)
    assert found.spaces[0].n_without_acs == 0
    engine = make_engine(settings)
    (image,) = reconstruct(
        file_tasks(make_assembler(lines, found.plan, settings)), engine, settings
    )
    assert not image.report.fallback
    ours = image.low_resolution.abs()
    error = float((ours - truth).norm() / truth.norm())
    # A single coil unfolds nothing: every other line is missing outside the centre.
    assert error < (0.25 if n_coils == 1 else 0.08), error


@pytest.mark.parametrize("model", ["jrsr-dc", "jrsr"])
def test_the_networks_take_few_partitions(model):
    _, xml, lines = slab(6, 4, n_readout=6)
    settings = Settings(model=model, preset="compact")
    found = inspect_scan(parse_header(xml), lines, settings)
    tasks = file_tasks(make_assembler(lines, found.plan, settings))
    (image,) = reconstruct(tasks, make_engine(settings), settings)
    assert not image.report.fallback and image.image.shape == (12, 96, 6)


def test_the_kernel_is_half_of_a_short_axis():
    assert kernel_shape((48, 64), 6) == (6, 6)
    assert kernel_shape((48, 8), 6) == (6, 4) and kernel_shape((48, 2), 6) == (6, 1)


@pytest.mark.parametrize("kernel", [(6, 4), (3, 6), (6, 1)])
def test_maps_of_an_oblong_kernel_explain_the_coils(kernel):
    profiles = coil_profiles(5, (48, 40))
    if kernel[1] == 1:
        profiles = profiles[..., 20:21].expand(-1, -1, 40)
    image, inside = phantom((48, 40))
    maps, _ = espirit_maps(fft2c(profiles * image)[:, 12:36, 8:32], (48, 40), kernel_width=kernel)
    unit = profiles / profiles.abs().square().sum(0).sqrt()
    overlap = (maps.conj() * unit).sum(0).abs()
    assert float(np.quantile(overlap[inside > 0].numpy(), 0.02)) > 0.99


@pytest.mark.parametrize(
    ("partitions", "reason"),
    [
        # Every second one, through the centre at 10.
        (
            range(0, 20, 2),
            "acs is 24 lines x 1 partition, the kernel needs at least 6 x 6 next to each other "
            "about the centre of k-space: acquire more of them, or lower kernel_width",
        ),
        (
            range(4),
            "no line near the centre of k-space: the nearest is 0 lines and 7 partitions away, "
            "4 of 20 partitions were measured",
        ),
    ],
)
def test_a_volume_of_few_central_partitions_names_them(partitions, reason, tmp_path, capfd):
    request = ScanRequest(
        protocol="wall-16x", matrix="48x40", n_coils=3, mask="full", positions=16, noise_scan=False
    )
    header, lines = simulated(request, tmp_path)
    kept = np.isin(lines.heads["idx"]["kspace_encode_step_2"], partitions)
    write_scan(tmp_path / "few.h5", header.xml, select(lines, np.flatnonzero(kept)))
    outcome = jrsr(capfd, "recon", tmp_path / "few.h5", *NO_WEIGHTS)
    assert (outcome.code, outcome.err) == (3, f"jrsr: few.h5: image 1: {reason}\n")
    checked = jrsr(capfd, "check", tmp_path / "few.h5")
    assert "1 fallback image, no ACS of 6 lines x 6 partitions" in " ".join(checked.out.split())
