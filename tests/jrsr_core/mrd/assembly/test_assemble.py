"""Assembly: what was put into a scan comes out of it, however the lines were ordered."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from jrsr_core.mrd.assembly.assemble import Assembler
from jrsr_core.mrd.errors import BadSamples, IncompleteImage, UnsupportedScan
from jrsr_core.mrd.header.scan_header import parse_header
from jrsr_core.mrd.lines.acquired import (
    CALIBRATION,
    CALIBRATION_AND_IMAGING,
    PHASE_CORRECTION,
    REVERSE,
    flag_bits,
    has_flag,
)
from jrsr_core.mrd.lines.grid import line_places
from jrsr_core.mrd.planning.plan import plan_scan
from jrsr_core.mrd.simulator.header import ScanMetadata
from jrsr_core.mrd.simulator.request import ScanRequest
from jrsr_core.mrd.simulator.simulate import simulate_scan
from jrsr_core.simulation.masks import make_mask
from tests.helpers.mrd_scans import (
    FOV_MM,
    assembled,
    close,
    coil_kspace,
    copied,
    joined,
    noise_samples,
    scan_of_kspace,
    select,
    small_scan,
    with_encoding,
)
from tests.helpers.scan_oracle import slice_oracle


@pytest.mark.parametrize("shape", [(48, 64), (47, 63), (111, 94)])
@pytest.mark.parametrize("oversampling", [True, False])
def test_round_trip(shape, oversampling):
    kspace, mask, xml, lines = small_scan(shape, acceleration=2, oversampling=oversampling)
    (slice_,) = assembled(xml, lines)
    close(slice_.kspace, kspace[0])
    assert torch.equal(slice_.mask, mask)
    assert slice_.geometry.fov_mm == pytest.approx(FOV_MM)
    assert slice_.noise_std is None


@pytest.mark.parametrize("readout_pixel", [1.0, 0.5])
@pytest.mark.parametrize("calibration", ["embedded", "interleaved", "separate", "external", "none"])
def test_every_part_of_a_slice_is_that_of_its_frames(calibration, readout_pixel):
    request = ScanRequest(
        matrix="96x112",
        n_coils=3,
        mask="regular",
        acceleration=2,
        acs=16,
        averages=2,
        repetitions=2 if calibration == "interleaved" else 1,
        calibration=calibration,
        readout_pixel=readout_pixel,
        oversampling=False,
        partial_echo=0.8,
    )
    made = simulate_scan(request)
    # The level of the noise lines, which whiten the coils, instead of the stated one.
    level = float(made.noise.abs().square().mean().sqrt()) / made.noise_std
    for slice_ in assembled(made.header_xml, made.lines):
        oracle = slice_oracle(made, request, slice_.counters)
        close(slice_.kspace, oracle.kspace)
        close(slice_.acs, oracle.acs)
        assert torch.equal(slice_.mask, oracle.mask)
        assert slice_.lr_readout == oracle.lr_readout
        assert slice_.noise_std == pytest.approx(level * oracle.noise_std, rel=1e-5)


def test_embedded_calibration_lines_belong_to_the_image():
    kspace, _, xml, lines = small_scan(acceleration=3, n_acs=16)
    extra, both = has_flag(lines.heads, CALIBRATION), has_flag(lines.heads, CALIBRATION_AND_IMAGING)
    assert extra.any() and both.any() and not (extra & both).any()
    (slice_,) = assembled(xml, lines)
    assert slice_.acs.shape == (4, 16, 64)
    close(slice_.acs, kspace[0][:, 16:32])


def test_order_of_the_lines_does_not_matter():
    _, _, xml, lines = small_scan(n_slices=3, acceleration=2)
    shuffled = select(lines, np.random.default_rng(0).permutation(len(lines.heads)))
    for a, b in zip(assembled(xml, lines), assembled(xml, shuffled), strict=True):
        close(a.kspace, b.kspace)
        assert a.counters == b.counters and a.geometry == b.geometry


def test_interleaved_slices_keep_number_and_position():
    mask = make_mask("full", (48, 64), 1)
    kspace = coil_kspace(n_slices=5)
    metadata = ScanMetadata(slice_gap_mm=1.0, position_mm=(1.0, 2.0, -3.0))
    request = ScanRequest(order="interleaved")
    xml, lines = scan_of_kspace(kspace, mask, metadata=metadata, request=request)
    assert lines.heads["idx"]["slice"][::48].tolist() == [0, 2, 4, 1, 3]
    for number, slice_ in enumerate(assembled(xml, lines)):
        assert slice_.counters.slice == number
        assert slice_.geometry.position_mm == pytest.approx((1.0, 2.0, -3.0 + 6.0 * number))
        close(slice_.kspace, kspace[number])


def test_repetitions_and_contrasts_become_images_of_their_own():
    _, _, xml, lines = small_scan(n_slices=2)
    parts = []
    for repetition in range(2):
        for contrast in range(2):
            part = copied(lines)
            part.heads["idx"]["repetition"] = repetition
            part.heads["idx"]["contrast"] = contrast
            parts.append(part)
    slices = assembled(xml, joined(*parts))
    keys = [(s.counters.repetition, s.counters.contrast, s.counters.slice) for s in slices]
    assert keys == [(r, c, s) for r in range(2) for c in range(2) for s in range(2)]


def test_averages_are_averaged_line_by_line():
    kspace, mask, xml, lines = small_scan()
    again = copied(lines)
    again.heads["idx"]["average"] = 1
    again = select(again, np.arange(16, 32))
    for i, samples in enumerate(again.data):
        again.data[i] = 1.2 * samples
    (slice_,) = assembled(xml, joined(lines, again))
    expected = kspace[0].clone()
    expected[:, 16:32] *= 1.1
    close(slice_.kspace, expected)
    assert torch.equal(slice_.mask, mask)


@pytest.mark.parametrize(
    ("rows", "n_more", "ratio"),
    [(range(48), 3, 1 / 2), (range(16, 32), 1, math.sqrt((32 + 16 / 2) / 48))],
)
def test_averages_lower_the_noise_level(rows, n_more, ratio):
    """The variance of n averages is 1/n, and the level that of the mean variance of all lines."""
    _, _, xml, lines = small_scan(noise=noise_samples())
    again = []
    for average in range(1, n_more + 1):
        part = select(lines, len(lines.data) - 48 + np.array(rows))
        part.heads["idx"]["average"] = average
        again.append(part)
    (single,), (averaged,) = assembled(xml, lines), assembled(xml, joined(lines, *again))
    assert averaged.noise_std == pytest.approx(ratio * single.noise_std)


@pytest.mark.parametrize("center", [20, 24, 30])
def test_partial_fourier_lines_lie_where_they_belong(center):
    kspace, _, xml, lines = small_scan()
    measured = np.arange(24 - 6, 48)
    part = select(lines, measured)
    part.heads["idx"]["kspace_encode_step_1"] += center - 24 + 10
    header = with_encoding(xml, center_line=center + 10)
    (slice_,) = assembled(header, part)
    assert slice_.mask[:, 0].nonzero().flatten().tolist() == measured.tolist()
    close(slice_.kspace[:, 18:], kspace[0][:, 18:])
    assert slice_.acs.shape[1] == 13
    assert slice_.stamp.scan_counter == lines.heads["scan_counter"][24]


def test_partial_matrix_leaves_the_rim_empty():
    kspace, _, xml, lines = small_scan()
    header = with_encoding(xml, encoding_matrix=(1, 60, 128), encoding_fov_mm=(5.0, 250.0, 440.0))
    (slice_,) = assembled(header, lines)
    assert slice_.kspace.shape == (4, 60, 64)
    assert slice_.mask[:, 0].nonzero().flatten().tolist() == list(range(6, 54))
    close(slice_.kspace[:, 6:54], kspace[0])


def test_without_limits_the_counter_is_the_row():
    kspace, _, xml, lines = small_scan()
    (slice_,) = assembled(with_encoding(xml, center_line=None), lines)
    close(slice_.kspace, kspace[0])


def test_lines_outside_the_matrix_are_left_out_and_counted():
    kspace, _, xml, lines = small_scan()
    header = with_encoding(xml, center_line=20)
    encoding = header.encodings[0]
    assert line_places(lines.heads, encoding.grid).tolist() == [*range(4, 48), *[-1] * 4]
    plan = plan_scan(header, lines.heads)
    assert plan.rejected == {"outside the encoded matrix": 4}
    (slice_,) = Assembler(lines, plan)
    close(slice_.kspace[:, 4:], kspace[0][:, :-4])
    assert slice_.notes == (
        "lines outside the encoded matrix of 48 lines are left out: 4 lines per image",
    )


def test_lines_outside_are_counted_by_image():
    _, _, xml, lines = small_scan(n_slices=2)
    lines.heads["idx"]["kspace_encode_step_1"][[3, 4, 60]] = 60_000
    plan = plan_scan(parse_header(xml), lines.heads)
    assert plan.rejected == {"outside the encoded matrix": 3}
    assert plan.notes[0][0].endswith("are left out: up to 2 lines per image")


def test_noise_lines_whiten_the_channels():
    noise = noise_samples(n=32768)
    quiet = torch.zeros(1, 4, 96, 128, dtype=torch.complex64)
    picked = torch.randint(noise.shape[1], (96, 128), generator=torch.Generator().manual_seed(1))
    quiet[0] = noise[:, picked]
    xml, lines = scan_of_kspace(quiet, torch.ones(96, 128), noise=noise)
    (slice_,) = assembled(xml, lines)
    flat = slice_.kspace.flatten(1)
    covariance = flat @ flat.mH / flat.shape[1] / slice_.noise_std**2
    torch.testing.assert_close(covariance, torch.eye(4).to(covariance), atol=0.03, rtol=0)
    # The scanner's own scale: the mean power of the channels is what it was.
    assert slice_.noise_std**2 == pytest.approx(float(noise.abs().square().mean()), rel=1e-3)
    (raw,) = assembled(xml, lines, prewhiten=False)
    close(raw.kspace, quiet[0])
    assert raw.noise_std is None


def test_noise_of_another_bandwidth_is_scaled():
    _, _, xml, lines = small_scan(noise=noise_samples())
    header = parse_header(xml)
    same = Assembler(lines, plan_scan(header, lines.heads)).whitening
    slow = copied(lines)
    slow.heads["sample_time_us"][has_flag(slow.heads, 19)] /= 4
    header = replace(header, noise_bandwidth=0.81)
    other = Assembler(slow, plan_scan(header, slow.heads)).whitening
    close(other.matrix, same.matrix)
    assert other.noise_std == pytest.approx(same.noise_std / (0.9 * 2))


def test_empty_directions_become_the_axes():
    _, _, xml, lines = small_scan()
    lines = copied(lines)
    for name in ("read_dir", "phase_dir", "slice_dir"):
        lines.heads[name] = 0
    (slice_,) = assembled(xml, lines)
    assert slice_.geometry.read_dir == (1.0, 0.0, 0.0)
    assert slice_.geometry.slice_dir == (0.0, 0.0, 1.0)


@pytest.mark.parametrize("missing", ["read_dir", "phase_dir", "slice_dir"])
def test_one_empty_direction_follows_from_the_others(missing):
    _, _, xml, lines = small_scan()
    lines = copied(lines)
    directions = {
        "read_dir": (0.0, 1.0, 0.0),
        "phase_dir": (0.6, 0.0, 0.8),
        "slice_dir": (0.8, 0.0, -0.6),
    }
    for name, direction in directions.items():
        lines.heads[name] = direction if name != missing else 0
    (slice_,) = assembled(xml, lines)
    for name, direction in directions.items():
        assert getattr(slice_.geometry, name) == pytest.approx(direction, abs=1e-6)


def test_a_slice_without_its_center_is_incomplete_and_has_an_empty_calibration_block():
    _, _, xml, lines = small_scan()
    with pytest.raises(IncompleteImage, match="the nearest is 5 lines away") as caught:
        assembled(xml, select(lines, np.arange(0, 20)))
    assert caught.value.rest.acs.shape == (4, 0, 0)
    assert caught.value.rest.mask[:, 0].nonzero().flatten().tolist() == [*range(20)]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_not_finite(value):
    kspace, _, xml, lines = small_scan()
    lines = copied(lines)
    lines.data[7][1, 3] = value
    with pytest.raises(BadSamples, match="NaN or infinite samples in 1 of 48 lines") as caught:
        assembled(xml, lines)
    rest = caught.value.rest
    assert rest.mask[:, 0].nonzero().flatten().tolist() == [*range(7), *range(8, 48)]
    close(rest.kspace[:, rest.mask[:, 0] > 0], kspace[0][:, rest.mask[:, 0] > 0])


def test_lines_of_zeros_are_not_measured():
    """The centre of k-space is not read as zero; parts of a line stay as they are."""
    kspace, _, xml, lines = small_scan()
    lines = copied(lines)
    lines.data[23][:], lines.data[24][:3], lines.data[25][:, :40] = 0, 0, 0
    (made,) = assembled(xml, lines)
    assert made.mask[:, 0].nonzero().flatten().tolist() == [*range(23), *range(24, 48)]
    assert made.notes == ("1 of 48 lines are zero in every channel: they count as not measured",)
    rest = [*range(23), *range(26, 48)]
    close(made.kspace[:, rest], kspace[0][:, rest])
    # The calibration block ends at the line that is missing.
    assert made.acs.shape == (4, 1, 64)


def test_an_average_of_zeros_does_not_halve_its_line():
    kspace, _, xml, lines = small_scan()
    again = copied(lines)
    again.heads["idx"]["average"] = 1
    again.data[24][:] = 0
    (made,) = assembled(xml, joined(lines, again))
    close(made.kspace, kspace[0])
    assert made.notes[0].startswith("1 of 96 lines are zero")


def test_a_scan_of_zeros_alone_was_measured():
    _, _, xml, lines = small_scan()
    lines = copied(lines)
    for data in lines.data:
        data[:] = 0
    (made,) = assembled(xml, lines)
    assert made.mask.all() and not made.kspace.any()


def change(**columns):
    def apply(heads):
        for name, value in columns.items():
            target = heads["idx"] if name in heads["idx"].dtype.names else heads
            target[name][5] = value

    return apply


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (change(kspace_encode_step_2=1), "lines of 2 partitions, the encoded matrix has 1"),
    ],
)
def test_declined_by_heads(spoil, words):
    _, _, xml, lines = small_scan()
    lines = copied(lines)
    spoil(lines.heads)
    with pytest.raises(UnsupportedScan, match=words):
        assembled(xml, lines)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"trajectory": "spiral"}, "trajectory is spiral"),
        ({"trajectory": "epi"}, "echo-planar"),
        ({"multiband_factor": 2}, "multiband factor is 2"),
    ],
)
def test_declined_by_header(changes, words):
    _, _, xml, lines = small_scan(acceleration=2)
    with pytest.raises(UnsupportedScan, match=words):
        assembled(with_encoding(xml, **changes), lines)


def test_reversed_lines_with_phase_correction_are_echo_planar():
    _, _, xml, lines = small_scan()
    lines = copied(lines)
    lines.heads["flags"][0] = flag_bits(PHASE_CORRECTION)
    lines.heads["flags"][1::2] |= np.uint64(flag_bits(REVERSE))
    with pytest.raises(UnsupportedScan, match="echo-planar"):
        assembled(xml, lines)


def test_echoes_of_opposite_directions_with_phase_correction_are_images():
    """A bipolar multi-echo scan: every readout of the second echo is reversed."""
    kspace, _, xml, lines = small_scan()
    second = copied(lines)
    second.heads["idx"]["contrast"] = 1
    second.heads["flags"] |= np.uint64(flag_bits(REVERSE))
    second.heads["center_sample"] = (
        second.heads["number_of_samples"] - 1 - lines.heads["center_sample"]
    )
    second.data[:] = [line[:, ::-1] for line in second.data]
    correction = select(lines, [24])
    correction.heads["flags"] = flag_bits(PHASE_CORRECTION)
    for slice_ in assembled(xml, joined(correction, lines, second)):
        close(slice_.kspace, kspace[0])


def test_scan_of_noise_lines_only():
    _, _, xml, lines = small_scan(noise=noise_samples())
    noise = select(lines, np.flatnonzero(has_flag(lines.heads, 19)))
    with pytest.raises(UnsupportedScan, match=r"no image lines among 16 acquisitions \(16 noise"):
        assembled(xml, noise)


def test_too_few_noise_samples():
    """The image is that of the scan without noise lines, with a note."""
    kspace, _, xml, lines = small_scan(noise=noise_samples(n=5))
    (slice_,) = assembled(xml, lines)
    assert slice_.noise_std is None
    assert slice_.notes == (
        "noise lines have 5 samples, 4 coils need 8: "
        "the coils are not whitened, the noise level is estimated",
    )
    close(slice_.kspace, kspace[0])
