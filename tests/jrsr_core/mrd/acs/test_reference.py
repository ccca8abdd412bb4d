"""Separate and external reference scans: their lines, their place, their grid."""

import math

import numpy as np
import pytest
import torch

from jrsr_core.acs import cut_acs
from jrsr_core.calibration.coils import compress_acs, make_compressor
from jrsr_core.calibration.settings import CalibrationSettings
from jrsr_core.mrd.assembly.assemble import Assembler
from jrsr_core.mrd.assembly.read_acs import resample_fov
from jrsr_core.mrd.header.scan_header import parse_header
from jrsr_core.mrd.lines.acquired import CALIBRATION, LineList, flag_bits
from jrsr_core.mrd.planning.plan import plan_scan
from jrsr_core.physics.fourier import fft2c
from jrsr_core.reconstruction.load import load_model
from jrsr_core.simulation.masks import make_mask
from tests.helpers.mrd_scans import (
    assembled,
    close,
    coil_kspace,
    copied,
    joined,
    scan_of_kspace,
    select,
    small_scan,
    with_encoding,
)
from tests.helpers.synthetic import coil_profiles, noise_like, phantom


def reference_of(lines, rows, first_counter=0):
    """The central lines of a scan as a reference that counts from `first_counter`."""
    part = select(lines, rows)
    part.heads["flags"] = flag_bits(CALIBRATION)
    part.heads["idx"]["kspace_encode_step_1"] = first_counter + np.arange(len(rows))
    return part


@pytest.mark.parametrize("mode", ["separate", "external"])
@pytest.mark.parametrize("n", [16, 15])
@pytest.mark.parametrize("first_counter", [0, 7])
def test_separate_reference_is_centred_on_its_own_block(mode, n, first_counter):
    kspace, _, xml, lines = small_scan()
    start = 24 - n // 2
    reference = reference_of(lines, np.arange(start, start + n), first_counter)
    for i, line in enumerate(reference.data):
        reference.data[i] = 5 * line
    thin = select(lines, np.arange(0, 48, 2))
    header = with_encoding(xml, calibration_mode=mode)
    (slice_,) = assembled(header, joined(reference, thin))
    close(slice_.acs, 5 * kspace[0][:, start : start + n])
    assert slice_.mask[:, 0].nonzero().flatten().tolist() == list(range(0, 48, 2))
    close(slice_.kspace[:, ::2], kspace[0][:, ::2])


def test_every_slice_has_its_own_reference_and_frames_share_it():
    kspace, _, xml, lines = small_scan(n_slices=3)
    refs = [reference_of(lines, 48 * s + np.arange(16, 32)) for s in range(3)]
    frames = []
    for repetition in range(2):
        frames.append(select(lines, np.arange(0, 144, 2)))
        frames[-1].heads["idx"]["repetition"] = repetition
    header = with_encoding(xml, calibration_mode="separate")
    slices = assembled(header, joined(*refs, *frames))
    assert len(slices) == 6
    for s in slices:
        close(s.acs, kspace[s.counters.slice][:, 16:32])
    assert slices[0].acs is slices[3].acs and slices[0].acs is not slices[1].acs


@pytest.mark.parametrize("n_samples", [100, 64, 50])
def test_a_short_reference_is_oversampled_as_the_image_is(n_samples):
    _, _, xml, lines = small_scan()
    header = with_encoding(xml, calibration_mode="separate")
    n = lines.data[0].shape[-1]
    assert header.encodings[0].readout_oversampling == 2 and n == 128
    reference = reference_of(lines, np.arange(16, 32))
    first = n // 2 - n_samples // 2
    data = [d[:, first : first + n_samples] for d in reference.data]
    short = LineList(reference.heads.copy(), data)
    short.heads["number_of_samples"] = n_samples
    short.heads["center_sample"] = n_samples // 2
    thin = select(lines, np.arange(0, 48, 2))
    (whole,) = assembled(header, joined(reference, thin))
    (cut,) = assembled(header, joined(short, thin))
    # Both know the same k-space, where the short one has been measured.
    middle = slice(32 - 10, 32 + 10)
    start = cut.acs.shape[-1] // 2 - 10
    ours, theirs = cut.acs[..., start : start + 20], whole.acs[..., middle]
    assert float((ours - theirs).norm() / theirs.norm()) < 0.01


def external_scan(m: int, n: int):
    """A reference of another field of view and resolution in an encoding space of its own."""
    image_shape, n_coils = (64, 64), 4
    profile = coil_profiles(n_coils, (256, 256))
    image, _ = phantom((256, 256), (0.3, 0.28))
    fine = profile * image
    full = fft2c(fine)
    start = [128 - m // 2 for m in image_shape]
    kspace = full[:, start[0] : start[0] + 64, start[1] : start[1] + 64]
    # The same object in a field of view of m mm instead of 256.
    inner = fine[:, 128 - m // 2 : 128 - m // 2 + m, 128 - m // 2 : 128 - m // 2 + m]
    centre = fft2c(inner)[:, m // 2 - n // 2 : m // 2 - n // 2 + n]
    # A receiver measures sums over the object, whatever the field of view; an orthonormal FFT
    # divides them by the root of the number of its pixels.
    reference = m / 256 * centre[..., m // 2 - n // 2 : m // 2 - n // 2 + n]
    fov = (5.0, 256.0, 256.0)
    xml, lines = scan_of_kspace(kspace[None], torch.ones(image_shape), fov_mm=fov)
    small = (5.0, float(m), float(m))
    ref_xml, ref_lines = scan_of_kspace(reference[None], torch.ones(n, n), fov_mm=small)
    ref_lines.heads["encoding_space_ref"] = 1
    ref_lines.heads["flags"] = flag_bits(CALIBRATION)
    header = with_encoding(xml, parse_header(ref_xml).encodings[0], calibration_mode="external")
    thin = select(lines, np.arange(0, 64, 2))
    return kspace, header, joined(ref_lines, thin)


@pytest.mark.parametrize(("m", "n"), [(256, 24), (204, 24), (192, 30)])
def test_external_reference_is_brought_to_the_image_grid(m, n):
    kspace, header, lines = external_scan(m, n)
    ratio = 256 / m
    plan = plan_scan(header, lines.heads)
    (slice_,) = Assembler(lines, plan)
    size = math.floor(n * ratio) if ratio != 1 else n
    assert slice_.acs.shape == (4, size, size)
    assert plan.calibration[0, 0, 0].acs_size(lines.heads) == (size, size)
    # The rim of the block feels the window of the resampling; the centre is the image's k-space.
    inner = (slice(None), *(slice(32 - 6, 32 + 6),) * 2)
    ours = slice_.acs[(slice(None), *(slice(size // 2 - 6, size // 2 + 6),) * 2)]
    truth = kspace[inner]
    assert (ours - truth).norm() / truth.norm() < (1e-4 if ratio == 1 else 0.02)


@pytest.mark.parametrize("ratio", [0.8, 1.25])
def test_resampling_neither_moves_nor_scales_a_point(ratio):
    """A point at r has k-space exp(-2 pi i k r / FOV) in every field of view."""
    n, place = 32, 0.15
    k = torch.arange(n) - n // 2
    point = torch.polar(torch.ones(n), -2 * math.pi * place * k)
    # A window on the samples keeps the side lobes of the point within the field of view.
    window = torch.exp(-((k / (n / 6)) ** 2))
    moved = resample_fov((window * point).to(torch.complex64)[None], 1, ratio)[0]
    m = math.floor(n * ratio)
    k_new = (torch.arange(m) - m // 2) / ratio
    expected = torch.exp(-((k_new / (n / 6)) ** 2)) * torch.polar(
        torch.ones(m), -2 * math.pi * place * k_new
    )
    torch.testing.assert_close(moved, expected.to(moved), atol=0.02, rtol=0)


@pytest.mark.parametrize("ratio", [0.5, 0.8, 1.25])
def test_resampled_noise_is_at_most_that_of_a_sample(ratio):
    """A smaller field of view leaves out the noise beyond it, a larger one has none to add."""
    noise = noise_like(torch.zeros(4000, 64, dtype=torch.complex64), 2.0)
    resampled = resample_fov(noise, 1, ratio)
    # The outermost samples have neighbours on one side only.
    found = resampled[:, 8:-8].abs().square().mean().sqrt()
    assert float(found) == pytest.approx(2 * math.sqrt(min(ratio, 1)), rel=0.02)


def test_reference_without_its_own_centre_reconstructs():
    """No line of the image is near k = 0 twice over: noise and maps come from the reference."""
    _, _, xml, lines = small_scan()
    reference = reference_of(lines, np.arange(12, 36))
    thin = select(lines, np.arange(0, 48, 2))
    (slice_,) = assembled(with_encoding(xml, calibration_mode="separate"), joined(reference, thin))
    image = load_model("cg-sense+sinc", calibration=CalibrationSettings(kernel_width=4))(slice_)
    assert not image.report.fallback and image.report.acs_shape == (24, 64)


@pytest.mark.parametrize("n_coils", [20, 64])
@pytest.mark.parametrize("pad", [False, True])
def test_data_and_reference_are_compressed_by_the_same_matrices(n_coils, pad):
    shape = (48, 64)
    mask = make_mask("regular", shape, 2, n_acs=24)
    kspace = mask * coil_kspace(shape, n_coils)[0]
    acs = cut_acs(kspace, mask)
    if pad:
        acs = acs[..., 8:56]
    compressor = make_compressor(acs, mask, 12)
    virtual, reference = compressor(kspace), compress_acs(acs, compressor, 64)
    assert virtual.shape[0] == reference.shape[0] == 12
    own = cut_acs(virtual, mask)[..., 8:56] if pad else cut_acs(virtual, mask)
    tolerance = 0.03 if pad else 1e-5
    assert (own - reference).norm() / own.norm() < tolerance


def test_readouts_that_are_partly_measured_need_one_matrix():
    mask = torch.ones(48, 64)
    mask[:, :9] = 0
    acs = cut_acs(mask * coil_kspace((48, 64), 16)[0], mask)
    assert not make_compressor(acs, mask, 12).is_geometric


def seen_from(reference, header, dy, dx):
    """The reference as scanned about a centre so many mm (phase, read) before that of the image."""
    part, (_, fov_y, fov_x) = copied(reference), header.encodings[0].encoding_fov_mm
    heads = part.heads
    heads["position"] -= dy * heads["phase_dir"] + dx * heads["read_dir"]
    rows = heads["idx"]["kspace_encode_step_1"].astype(float)
    for i, (row, center) in enumerate(zip(rows, heads["center_sample"], strict=True)):
        k_x = (np.arange(part.data[i].shape[1]) - float(center)) / fov_x
        k_y = (row - (rows.min() + len(set(rows)) // 2)) / fov_y
        part.data[i] = part.data[i] * np.exp(-2j * np.pi * (k_y * dy + k_x * dx))
    return part


def separate_scan(n_slices=1):
    """k-space, header, reference and twofold undersampled image lines."""
    # Without oversampling a shift of the object leaves nothing outside the field of view.
    kspace, _, xml, lines = small_scan(n_slices=n_slices, oversampling=False)
    rows = [reference_of(lines, 48 * s + np.arange(16, 32)) for s in range(n_slices)]
    thin = select(lines, np.arange(0, 48 * n_slices, 2))
    return kspace, with_encoding(xml, calibration_mode="separate"), joined(*rows), thin


def sources(header, lines):
    plan = plan_scan(header, lines.heads)
    return {c.kind for c in plan.calibration.values()}, plan.rejected


@pytest.mark.parametrize(("dy", "dx"), [(30.0, 0.0), (0.0, -40.0), (-17.3, 25.9)])
def test_the_centre_of_the_reference_does_not_matter(dy, dx):
    kspace, header, reference, thin = separate_scan()
    (slice_,) = assembled(header, joined(seen_from(reference, header, dy, dx), thin))
    close(slice_.acs, kspace[0][:, 16:32])


@pytest.mark.parametrize("turned", [("read_dir", "phase_dir"), ("phase_dir", "slice_dir")])
def test_a_reference_on_other_axes_is_set_aside_with_the_reason(turned):
    _, header, reference, thin = separate_scan()
    for name in turned:
        reference.heads[name] *= -1
    expected = ({"shared"}, {"reference of another orientation": 16})
    assert sources(header, joined(reference, thin)) == expected
    (slice_,) = assembled(header, joined(reference, thin))
    reason = "reference of another orientation"
    assert f"the image is calibrated by its own lines: {reason}" in slice_.notes


def test_a_reference_far_off_is_set_aside_with_the_reason():
    _, header, reference, thin = separate_scan(2)
    aside, beyond = copied(reference), copied(reference)
    aside.heads["position"] += 101 * aside.heads["phase_dir"]
    beyond.heads["position"] += 16 * beyond.heads["slice_dir"]
    for part, reason in (
        (aside, "reference that does not reach every slice"),
        (beyond, "reference slices that do not reach every slice"),
    ):
        assert sources(header, joined(part, thin)) == ({"shared"}, {reason: 32})


@pytest.mark.parametrize("order", [[2, 1, 0], [1, 2, 0], [12, 10, 11]])
def test_slices_of_a_reference_are_found_by_their_place(order):
    kspace, header, reference, thin = separate_scan(3)
    numbers = reference.heads["idx"]["slice"]
    reference.heads["idx"]["slice"] = np.array(order)[numbers]
    # Planned between two slices of the image, nearer to the right one.
    reference.heads["position"] += 0.3 * header.encodings[0].recon_fov_mm[0] * np.array([0, 0, 1])
    for slice_ in assembled(header, joined(reference, thin)):
        close(slice_.acs, kspace[slice_.counters.slice][:, 16:32])


@pytest.mark.parametrize("missing", ["position", "directions", "image position"])
def test_without_places_slices_of_a_reference_are_found_by_their_counters(missing):
    kspace, header, reference, thin = separate_scan(3)
    reference.heads["position"] = 1000 - 2 * reference.heads["position"]
    if missing == "position":
        reference.heads["position"] = (0, 0, 70)
    elif missing == "directions":
        for name in ("read_dir", "phase_dir", "slice_dir"):
            reference.heads[name] = 0
    else:
        thin.heads["position"] = 0
    for slice_ in assembled(header, joined(reference, thin)):
        close(slice_.acs, kspace[slice_.counters.slice][:, 16:32])
