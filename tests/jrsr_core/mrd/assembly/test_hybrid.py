"""3-D scans: what was put in comes out, and the volume is what its planes are."""

import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from jrsr_core.calibration import coils
from jrsr_core.calibration.settings import CalibrationSettings
from jrsr_core.data import Counters
from jrsr_core.mrd.assembly.assemble import Assembler
from jrsr_core.mrd.errors import BadSamples, UnsupportedScan
from jrsr_core.mrd.header.scan_header import parse_header
from jrsr_core.mrd.images import to_mrd_image
from jrsr_core.mrd.lines.acquired import CALIBRATION, flag_bits
from jrsr_core.mrd.planning.plan import plan_scan
from jrsr_core.mrd.simulator.frames import make_frame, reference_frame
from jrsr_core.mrd.simulator.lines import scan_of_frames
from jrsr_core.mrd.simulator.request import ScanRequest
from jrsr_core.physics.fourier import fft, ifft
from jrsr_core.reconstruction import slices as pipeline
from jrsr_core.reconstruction.fallback import fallback_image
from jrsr_core.reconstruction.field_of_view import crop_to_fov
from jrsr_core.reconstruction.load import load_model
from jrsr_core.reconstruction.volume import map_sources, reconstruct_volume
from jrsr_core.simulation.masks import make_mask
from tests.helpers.mrd_scans import copied, joined, select
from tests.helpers.synthetic import coil_profiles, noise_like, phantom
from tests.laws import random_complex

FOV = (60.0, 72.0, 40.0)


def volume_kspace(shape=(20, 24, 12), n_coils=5):
    """Fully sampled k-space ``(coil, kz, ky, kx)`` of an object that changes along x."""
    nz, ny, nx = shape
    planes = []
    for x in range(nx):
        image, _ = phantom((ny, nz))
        weight = 1 - ((x - nx // 2) / (0.8 * nx)) ** 2
        profiles = coil_profiles(n_coils, (ny, nz)) * torch.polar(
            torch.ones(n_coils), 0.1 * x * torch.arange(n_coils)
        ).reshape(-1, 1, 1)
        planes.append(fft(fft(weight * profiles * image, -1), -2))
    return fft(torch.stack(planes, -1), -1).permute(0, 2, 1, 3).contiguous().to(torch.complex64)


def scan(kspace, mask, request=None, reference=None, fov=FOV, **options):
    frame = make_frame(Counters(), kspace, mask)
    frames = [frame] if reference is None else [reference_frame(frame, *reference), frame]
    return scan_of_frames(frames, fov_mm=fov, request=request, **options)


def assembled(header, lines, **options):
    header = parse_header(header) if isinstance(header, str) else header
    (volume,) = Assembler(lines, plan_scan(header, lines.heads), **options)
    return volume


def close(a, b, atol=1e-5):
    torch.testing.assert_close(a, b, rtol=1e-4, atol=atol * float(b.abs().max()))


def expected_hybrid(kspace, mask):
    """``(x, coil, ky, kz)`` by the FFT alone."""
    return ifft(mask[..., None] * kspace, -1).permute(3, 0, 2, 1)


@pytest.mark.parametrize("shape", [(20, 24, 12), (19, 23, 11)])
@pytest.mark.parametrize("oversampling", [True, False])
def test_round_trip(shape, oversampling):
    kspace = volume_kspace(shape)
    mask = make_mask("random", shape[1::-1], 2, n_acs=8).mT
    volume = assembled(*scan(kspace, mask, ScanRequest(oversampling=oversampling)))
    close(volume.hybrid, expected_hybrid(kspace, mask))
    assert torch.equal(volume.mask, mask.mT)
    assert volume.acs.shape[2] >= 8 and volume.acs.shape[3] >= 8
    assert volume.geometry.fov_mm == pytest.approx(FOV)


def test_order_of_lines_and_averages():
    kspace, mask = volume_kspace(), make_mask("random", (24, 20), 2, n_acs=8).mT
    xml, lines = scan(kspace, mask)
    twice = joined(lines, select(lines, np.arange(0, len(lines.heads), 3)))
    shuffled = select(twice, np.random.default_rng(0).permutation(len(twice.heads)))
    close(assembled(xml, shuffled).hybrid, expected_hybrid(kspace, mask))


def test_partial_fourier_along_both_phase_encodes():
    kspace, mask = volume_kspace(), torch.ones(20, 24)
    xml, lines = scan(kspace, mask, ScanRequest(partial_slice_fourier=0.8, partial_fourier=0.75))
    assert lines.heads["idx"]["kspace_encode_step_1"].min() == 0
    assert lines.heads["idx"]["kspace_encode_step_2"].min() == 0
    volume = assembled(xml, lines)
    kept = torch.zeros(24, 20)
    kept[6:, 4:] = 1
    assert torch.equal(volume.mask, kept)
    close(volume.hybrid, expected_hybrid(kspace, kept.mT))


def test_compression_keeps_the_signal_and_is_aligned_along_the_readout():
    kspace, mask = volume_kspace(n_coils=16), make_mask("random", (24, 20), 2, n_acs=10).mT
    full = assembled(*scan(kspace, mask), n_virtual_coils=16)
    few = assembled(*scan(kspace, mask), n_virtual_coils=8)
    assert few.hybrid.shape[1] == few.acs.shape[1] == 8
    energy = few.hybrid.abs().square().sum() / full.hybrid.abs().square().sum()
    assert energy > 0.98
    # The ACS went through the same matrices as the data.
    ay, az = few.acs.shape[2:]
    rows, columns = slice(12 - ay // 2, 12 - ay // 2 + ay), slice(10 - az // 2, 10 - az // 2 + az)
    close(few.acs, few.hybrid[:, :, rows, columns])
    # Virtual coils are as smooth along the readout as the coils themselves; without alignment they
    # change their order and phase.
    steps = [(h[1:] - h[:-1]).norm() / h.norm() for h in (few.hybrid, full.hybrid)]
    assert steps[0] < 1.05 * steps[1]


@pytest.mark.parametrize("mode", ["separate", "external"])
def test_separate_reference(mode):
    kspace = volume_kspace()
    mask = torch.zeros(20, 24)
    mask[:, ::2] = 1
    request = ScanRequest(calibration=mode, acceleration=2)
    volume = assembled(*scan(kspace, mask, request, reference=(10, mode)))
    block = (slice(None), slice(None), slice(7, 17), slice(5, 15))
    truth = expected_hybrid(kspace, torch.ones(20, 24))[block]
    if mode == "separate":
        close(volume.acs, truth)
    else:
        # Half the resolution along the readout, interpolated to all of its positions.
        assert volume.acs.shape == truth.shape
        assert (volume.acs - truth).norm() / truth.norm() < 0.25


def test_planes_are_2d_slices():
    """A 3-D scan of one readout position after another is the 2-D reconstruction of each."""
    kspace, mask = volume_kspace((24, 28, 6)), make_mask("random", (28, 24), 2, n_acs=12).mT
    volume = replace(assembled(*scan(kspace, mask)), noise_std=0.01)
    recon = load_model("cg-sense+sinc", calibration=CalibrationSettings(kernel_width=4))
    ticks = []
    image = reconstruct_volume(recon.slices, volume, batch_size=4, tick=lambda: ticks.append(1))
    assert len(ticks) == 6 and image.image.shape == (48, 56, 6)
    for x in range(6):
        plane = recon(volume.position(x)).image
        close(image.image[:, :, x].mT, plane, atol=2e-4)


@pytest.mark.parametrize("batch_size", [1, 5])
def test_the_batch_size_does_not_matter(batch_size):
    kspace, mask = volume_kspace((24, 28, 6)), make_mask("random", (28, 24), 2, n_acs=12).mT
    volume = assembled(*scan(kspace, mask))
    recon = load_model("cg-sense+sinc", calibration=CalibrationSettings(kernel_width=4))
    one = reconstruct_volume(recon.slices, volume, batch_size=3).image
    close(reconstruct_volume(recon.slices, volume, batch_size=batch_size).image, one)


def test_air_takes_the_maps_of_its_nearest_neighbour():
    generator = torch.Generator().manual_seed(0)
    kspace = ifft(volume_kspace((24, 28, 8)), -1)
    kspace[..., :3] = 0
    std = float(kspace.abs().square().mean().sqrt()) / 10
    kspace = kspace + std * torch.randn(kspace.shape, dtype=kspace.dtype, generator=generator)
    request = ScanRequest(oversampling=False)
    volume = assembled(*scan(fft(kspace, -1), torch.ones(24, 28), request))
    assert map_sources(volume, std) == [3, 3, 3, 3, 4, 5, 6, 7]


def test_positions_without_signal_stay_zero():
    kspace = ifft(volume_kspace((24, 28, 6)), -1)
    kspace[..., :2] = 0
    volume = assembled(*scan(fft(kspace, -1), torch.ones(24, 28), ScanRequest(oversampling=False)))
    volume = replace(volume, noise_std=0.01)
    image = reconstruct_volume(
        load_model("cg-sense+sinc", calibration=CalibrationSettings(kernel_width=4)).slices, volume
    ).image
    assert image[..., :2].abs().max() < 1e-6 * image[..., 2:].abs().max()


def test_without_acs_every_plane_is_a_fallback():
    kspace = volume_kspace((24, 28, 6))
    mask = torch.zeros(24, 28)
    mask[:, 1::3] = 1
    volume = assembled(*scan(kspace, mask))
    recon = load_model("cg-sense+sinc", calibration=CalibrationSettings(kernel_width=4))
    with pytest.raises(ValueError, match="ACS"):
        reconstruct_volume(recon.slices, volume)
    image = fallback_image(recon.slices, volume, "because")
    assert image.report.fallback == "because" and image.image.shape == (48, 56, 6)
    assert image.report.n_readout == 6
    assert torch.isfinite(image.magnitude).all() and image.magnitude.max() > 0


def test_slice_oversampling_is_cropped_and_the_header_follows():
    kspace = volume_kspace((24, 28, 6))
    xml, lines = scan(
        kspace, torch.ones(24, 28), fov=(60.0, 72.0, 40.0), recon_fov_mm=(45.0, 54.0, 40.0)
    )
    header = parse_header(xml)
    recon = load_model("cg-sense+sinc", calibration=CalibrationSettings(kernel_width=4))
    image = reconstruct_volume(recon.slices, assembled(xml, lines))
    cropped = crop_to_fov(image, header.encodings[0].recon_fov_mm)
    assert cropped.image.shape == (36, 42, 6)
    assert torch.equal(cropped.image[18, 21], image.image[24, 28])
    mrd = to_mrd_image(cropped, header)
    assert list(mrd.getHead().matrix_size) == [6, 42, 36]
    assert list(mrd.getHead().field_of_view) == pytest.approx([40.0, 54.0, 45.0])
    assert mrd.meta["JRSR_upsampling_factor"] == ["2.0", "2.0", "1.0"]
    np.testing.assert_array_equal(mrd.data[0], cropped.magnitude.numpy())


def test_the_report_tells_the_time_of_the_whole_volume():
    volume = assembled(*scan(volume_kspace(), torch.ones(20, 24)))
    start = time.perf_counter()
    seconds = reconstruct_volume(
        load_model("cg-sense+sinc", calibration=CalibrationSettings(kernel_width=4)).slices, volume
    ).report.seconds
    assert 0 < seconds["calibration"] < seconds["total"] < time.perf_counter() - start


@pytest.mark.parametrize("fraction", [1.0, 0.75])
def test_noise_of_hybrid_space_counts_what_was_measured(fraction):
    """Missing samples of an asymmetric echo are zero and bring no noise."""
    noise = 0.3 * random_complex(5, 20 * 24 * 32 + 4096, seed=4)
    kspace, noise = noise[:, :-4096].reshape(5, 20, 24, 32), noise[:, -4096:]
    request = ScanRequest(partial_echo=fraction, oversampling=False)
    volume = assembled(*scan(kspace, torch.ones(20, 24), request, noise=noise))
    rms = float(volume.hybrid.abs().square().mean().sqrt())
    assert volume.noise_std == pytest.approx(rms, rel=0.02)
    assert volume.acs_noise_std == pytest.approx(rms / fraction**0.5, rel=0.02)


def contrasts(n=2):
    """Volumes of several contrasts, and the plan's assembler."""
    frames = [
        make_frame(Counters(contrast=c), (1 + c) * volume_kspace(), torch.ones(20, 24))
        for c in range(n)
    ]
    xml, lines = scan_of_frames(frames, fov_mm=FOV)
    return list(Assembler(lines, plan_scan(parse_header(xml), lines.heads), n_virtual_coils=3))


@pytest.mark.parametrize("max_bytes", [2**29, 4 * 40 * 48 * 3 * 8])
def test_contrasts_share_the_maps_of_every_position(max_bytes, monkeypatch):
    one, two = contrasts()
    assert one.is_acs_shared and one.acs is two.acs
    torch.testing.assert_close(two.hybrid, 2 * one.hybrid)
    calls = []
    real = pipeline.calibrate_coils
    monkeypatch.setattr(pipeline, "calibrate_coils", lambda *a: calls.append(1) or real(*a))
    monkeypatch.setattr(coils, "MAX_CACHE_BYTES", max_bytes)
    recon = load_model("cg-sense+sinc", calibration=CalibrationSettings(kernel_width=4))
    first = reconstruct_volume(recon.slices, one)
    n_first = len(calls)
    second = reconstruct_volume(recon.slices, two)
    alone = reconstruct_volume(recon.slices, replace(two, is_acs_shared=False))
    # Every volume also calibrates the position of the most signal, for its intensity scale.
    n_again = len(calls) - 2 * n_first - 1
    close(second.image, 2 * first.image, atol=1e-3)
    assert torch.equal(second.image, alone.image)
    # With room for four positions these four are not computed again; with enough room, none is.
    assert n_again == (0 if max_bytes > 2**20 else n_first - 1 - 4)


def test_broken_samples_and_lines_outside():
    xml, lines = scan(volume_kspace(), torch.ones(20, 24))
    broken = copied(lines)
    broken.data[5] = broken.data[5].copy()
    broken.data[5][0, 0] = np.nan
    with pytest.raises(BadSamples, match="in 1 of 480 lines") as caught:
        assembled(xml, broken)
    assert caught.value.rest.mask.sum() == 479
    empty = copied(lines)
    empty.data[5] = 0 * empty.data[5]
    volume = assembled(xml, empty)
    assert volume.mask.sum() == 479 and volume.notes[0].startswith("1 of 480 lines are zero")
    far = copied(lines)
    far.heads["idx"]["kspace_encode_step_2"] += 100
    with pytest.raises(UnsupportedScan, match=r"partitions 100\.\.119 lie outside .* 20 partition"):
        assembled(xml, far)


def test_reference_of_a_volume_calibrates_no_slices():
    """A 3-D reference has no k-space in the plane of a 2-D slice; the image's own centre serves."""
    kspace = volume_kspace()
    xml, lines = scan(kspace[:, :1].contiguous(), torch.ones(1, 24))
    reference = copied(select(lines, np.arange(8, 16)))
    reference.heads["flags"] = flag_bits(CALIBRATION)
    reference.heads["idx"]["kspace_encode_step_2"] = np.arange(8) % 2
    header = parse_header(xml)
    encoding = replace(header.encodings[0], calibration_mode="separate")
    plan = plan_scan(replace(header, encodings=(encoding,)), joined(reference, lines).heads)
    assert {c.kind for c in plan.calibration.values()} == {"shared"}


def separate_volume():
    """Header, reference and image lines of a 3-D scan."""
    kspace, mask = volume_kspace(), torch.zeros(20, 24)
    mask[:, ::2] = 1
    # Without oversampling a shift of the object leaves nothing outside the field of view.
    request = ScanRequest(calibration="separate", acceleration=2, oversampling=False)
    xml, lines = scan(kspace, mask, request, reference=(10, "separate"))
    is_reference = lines.heads["flags"] & np.uint64(flag_bits(CALIBRATION)) != 0
    parts = (select(lines, np.flatnonzero(s)) for s in (is_reference, ~is_reference))
    return parse_header(xml), *parts


@pytest.mark.parametrize(
    ("move", "turn", "reason"),
    [
        ((0, 0, 31), 1, "reference that does not reach every slice"),
        ((0, 0, 0), -1, "reference of another orientation"),
    ],
)
def test_a_reference_of_another_place_is_set_aside_with_the_reason(move, turn, reason):
    header, reference, lines = separate_volume()
    reference.heads["position"] += np.array(move, np.float32)
    for name in ("read_dir", "phase_dir"):
        reference.heads[name] *= turn
    plan = plan_scan(header, joined(reference, lines).heads)
    assert {c.kind for c in plan.calibration.values()} == {"shared"}
    assert plan.rejected == {reason: len(reference.heads)}


@pytest.mark.parametrize("move", [(0, 17.3, 0), (0, 0, -21), (-11, 9, 4)])
def test_the_centre_of_the_reference_does_not_matter(move):
    """A reference scanned about another centre, of an object that stays where it is."""
    header, reference, lines = separate_volume()
    expected = assembled(header, joined(reference, lines)).acs
    reference.heads["position"] -= np.array(move, np.float32)
    (fov_z, fov_y, fov_x), idx = header.encodings[0].encoding_fov_mm, reference.heads["idx"]
    k_y, k_z = (
        (counters.astype(float) - counters.min() - (np.ptp(counters) + 1) // 2) / fov
        for counters, fov in (
            (idx["kspace_encode_step_1"], fov_y),
            (idx["kspace_encode_step_2"], fov_z),
        )
    )
    for i, samples in enumerate(reference.data):
        k_x = (np.arange(samples.shape[1]) - float(reference.heads["center_sample"][i])) / fov_x
        turns = k_x * move[0] + k_y[i] * move[1] + k_z[i] * move[2]
        reference.data[i] = samples * np.exp(-2j * np.pi * turns)
    close(assembled(header, joined(reference, lines)).acs, expected, atol=1e-4)


def partial_average(lines, n_lost, every=1):
    """Lines measured a second time without their first samples."""
    again = copied(select(lines, np.arange(0, len(lines.heads), every)))
    again.heads["idx"]["average"] = 1
    again.heads["discard_pre"] = n_lost
    return again


@pytest.mark.parametrize(("n_averages", "every"), [(1, 1), (1, 3), (2, 2)])
def test_averages_of_full_and_partial_echoes_are_means_of_every_sample(n_averages, every):
    """Averages of one signal are that signal, whichever samples they lack."""
    kspace, mask = volume_kspace(), make_mask("random", (24, 20), 2, n_acs=8).mT
    xml, lines = scan(kspace, mask, ScanRequest(oversampling=False))
    partial = [partial_average(lines, 2 + n, every + n) for n in range(n_averages)]
    volume = assembled(xml, joined(lines, *partial))
    close(volume.hybrid, expected_hybrid(kspace, mask))
    # A line that is not finite has no part in the mean.
    broken = joined(lines, *partial)
    broken.data[-1] = np.full_like(broken.data[-1], np.nan)
    with pytest.raises(BadSamples, match="in 1 of") as caught:
        assembled(xml, broken)
    close(caught.value.rest.hybrid, expected_hybrid(kspace, mask))


@pytest.mark.parametrize("n_virtual", [4, 8])
def test_a_loud_coil_of_a_volume_is_weighted_before_compression(n_virtual):
    clean = volume_kspace((24, 40, 32), n_coils=8)
    noise = noise_like(clean, 0.02 * float(clean.abs().square().mean().sqrt()))
    kspace = clean + torch.where(torch.arange(8) == 2, 40.0, 1.0)[:, None, None, None] * noise
    mask = make_mask("random", (40, 24), 2, n_acs=16).mT
    volume = assembled(*scan(kspace, mask), n_virtual_coils=n_virtual)
    (note,) = [n for n in volume.notes if "noisier" in n]
    assert "less weight: 2 (" in note
    ay, az = volume.acs.shape[2:]
    rows, columns = slice(20 - ay // 2, 20 - ay // 2 + ay), slice(12 - az // 2, 12 - az // 2 + az)
    close(volume.acs, volume.hybrid[:, :, rows, columns])
    weighted = kspace.clone()
    weighted[2] = clean[2] / 40 + noise[2]
    energy = expected_hybrid(weighted, mask).abs().square().sum()
    assert float(volume.hybrid.abs().square().sum() / energy) == pytest.approx(1, abs=0.05)
