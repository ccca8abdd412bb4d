"""What samples say against the header: k-space and geometry are those of the right header."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from jrsr_core.data import Counters
from jrsr_core.mrd.assembly.assemble import Assembler
from jrsr_core.mrd.errors import UnsupportedScan
from jrsr_core.mrd.examination.examine import LINE_TOLERANCE, plan_source
from jrsr_core.mrd.header.scan_header import parse_header
from jrsr_core.mrd.lines.acquired import NOISE, LineList, has_flag
from jrsr_core.mrd.live.live_scan import LiveScan
from jrsr_core.mrd.simulator.request import ScanRequest
from tests.helpers.live_scans import in_chunks, live, simulated
from tests.helpers.mrd_scans import (
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


def notes_of(made):
    """Notes of images of one encoding space, which are the same for all."""
    (notes,) = {image.notes for image in made}
    return notes


def noisy(lines: LineList, std: float = 0.02, seed: int = 0) -> LineList:
    """Lines with noise of their own, `std` of the largest sample over 100."""
    random = np.random.default_rng(seed)
    lines = copied(lines)
    level = std * max(np.abs(d).max() for d in lines.data) / 100
    for i, line in enumerate(lines.data):
        noise = random.normal(size=(2, *line.shape)) * level
        lines.data[i] = (line + noise[0] + 1j * noise[1]).astype(np.complex64)
    return lines


# Centre along the phase encode


@pytest.mark.parametrize("stated", [20, 28, 0, 40])
def test_the_energy_decides_where_k_0_is(stated):
    kspace, _, xml, lines = small_scan()
    (slice_,) = assembled(with_encoding(xml, center_line=stated), lines)
    close(slice_.kspace, kspace[0])
    assert notes_of([slice_]) == (
        f"k-space centre: the header gives line {stated} as centre, the energy peaks at line 24, "
        "which is used",
    )


def test_partial_fourier_with_the_middle_of_its_lines_as_centre():
    kspace, _, xml, lines = small_scan()
    kept = select(lines, np.arange(12, 48))
    kept.heads["idx"]["kspace_encode_step_1"] -= 12
    (slice_,) = assembled(with_encoding(xml, center_line=18), kept)
    rows = slice_.mask[:, 0] > 0
    assert rows.nonzero().flatten().tolist() == [*range(12, 48)]
    close(slice_.kspace[:, rows], kspace[0][:, rows])


@pytest.mark.parametrize("stated", [22, 23, 24, 25, 26, None])
def test_a_centre_within_two_lines_of_the_peak_stays(stated):
    _, _, xml, lines = small_scan()
    plan = plan_source(with_encoding(xml, center_line=stated), lines)
    assert plan.header.encodings[0].center_line == stated
    assert not any("centre" in note for note in plan.notes[0])


def test_noise_alone_has_no_centre():
    random = np.random.default_rng(0)
    _, _, xml, lines = small_scan()
    lines = copied(lines)
    for i, line in enumerate(lines.data):
        noise = random.normal(size=(2, *line.shape))
        lines.data[i] = (noise[0] + 1j * noise[1]).astype(np.complex64)
    plan = plan_source(with_encoding(xml, center_line=20), lines)
    assert plan.header.encodings[0].center_line == 20
    assert not any("centre" in note for note in plan.notes[0])


def test_a_spike_is_no_centre():
    _, _, xml, lines = small_scan()
    lines = copied(lines)
    lines.data[5][:, 17] = 50 * max(np.abs(d).max() for d in lines.data)
    assert plan_source(parse_header(xml), lines).notes == {0: ()}


def test_a_shifted_peak_that_would_push_lines_out_of_the_matrix_is_told_only():
    """All lines of the matrix are there: a strong linear phase of the image shifted the peak."""
    kspace = torch.roll(coil_kspace(), 6, -2)
    xml, lines = scan_of_kspace(kspace, torch.ones(48, 64))
    (slice_,) = assembled(xml, lines)
    close(slice_.kspace, kspace[0])
    assert notes_of([slice_]) == (
        "k-space centre: the header gives line 24 as centre, the energy peaks at line 30, where 6 "
        "lines would lie outside the matrix: the header is followed",
    )


def shifted(lines, line=0, partition=0):
    """The lines with other counters, as if those of several scans had been numbered on."""
    moved = copied(lines)
    moved.heads["idx"]["kspace_encode_step_1"] += line
    moved.heads["idx"]["kspace_encode_step_2"] += partition
    return moved


@pytest.mark.parametrize("kept", [range(48), range(12, 48)], ids=["whole", "partial Fourier"])
def test_lines_that_all_lie_outside_the_matrix_are_centred(kept):
    """The file, and the running scan, as without the shift."""
    _, _, xml, lines = small_scan(acceleration=2, n_slices=2)
    places = lines.heads["idx"]["kspace_encode_step_1"]
    header, lines = parse_header(xml), select(lines, np.flatnonzero(np.isin(places, kept)))
    right = assembled(header, lines)
    moved = shifted(lines, 100)
    images, _ = live(header, in_chunks(moved, 10), "slice")
    for made in (assembled(header, moved), list(images.values())):
        for ours, theirs in zip(made, right, strict=True):
            assert torch.equal(ours.kspace, theirs.kspace) and torch.equal(ours.mask, theirs.mask)
            assert torch.equal(ours.acs, theirs.acs)
        assert notes_of(made) == (
            "k-space centre: the header gives line 24 as centre, the energy peaks at line 124, "
            "which is used",
        )


@pytest.mark.parametrize("shift", [(100, 0), (0, 50), (100, 50)], ids=str)
def test_volumes_whose_lines_all_lie_outside_the_matrix_are_centred(shift, tmp_path):
    request = ScanRequest(
        protocol="wall-16x", positions=12, matrix="96x80", n_coils=3, acs=12, noise_db=40
    )
    header, lines = simulated(request, tmp_path)
    (right,), (made,) = assembled(header, lines), assembled(header, shifted(lines, *shift))
    assert torch.equal(made.hybrid, right.hybrid) and torch.equal(made.acs, right.acs)
    assert len(made.notes) - len(right.notes) == sum(n > 0 for n in shift)


def test_lines_outside_the_matrix_without_a_centre_are_declined():
    _, _, xml, lines = small_scan()
    lines = shifted(lines, 100)
    random = np.random.default_rng(0)
    noise = random.normal(size=(2, len(lines.data), *lines.data[0].shape)).astype(np.float32)
    lines.data[:] = noise[0] + 1j * noise[1]
    words = r"^lines 100\.\.147 lie outside the encoded matrix of 48 lines$"
    with pytest.raises(UnsupportedScan, match=words):
        assembled(xml, lines)


def test_more_lines_than_the_matrix_has_are_left_out_wherever_they_are_counted():
    """Of 64 lines for a matrix of 48 those about the centre are used, with and without a shift."""
    xml, lines = scan_of_kspace(coil_kspace((64, 64)), torch.ones(64, 64))
    header = with_encoding(xml, encoding_matrix=(1, 48, 128), center_line=32)
    (right,), (made,) = assembled(header, lines), assembled(header, shifted(lines, 100))
    assert torch.equal(made.kspace, right.kspace)
    left_out = "lines outside the encoded matrix of 48 lines are left out: 16 lines per image"
    assert left_out in right.notes and left_out in made.notes


@pytest.mark.parametrize(("axis", "name"), [(1, "center_line"), (2, "center_partition")])
def test_volumes_are_centred_along_both_phase_encodes(axis, name, tmp_path):
    request = ScanRequest(
        protocol="wall-16x", positions=12, matrix="96x80", n_coils=3, acs=12, noise_db=40
    )
    header, lines = simulated(request, tmp_path)
    right = assembled(header, lines)[0]
    stated = getattr(header.encodings[0], name)
    wrong = replace(header, encodings=(replace(header.encodings[0], **{name: stated + 5}),))
    (volume,) = assembled(wrong, lines)
    assert torch.equal(volume.hybrid, right.hybrid) and torch.equal(volume.acs, right.acs)
    assert f"the energy peaks at {('line', 'partition')[axis - 1]} {stated}" in volume.notes[0]


@pytest.mark.parametrize("mask", ["random", "full"])
@pytest.mark.parametrize(("share_y", "share_z"), [(0.75, 0.75), (0.85, 0.85), (0.7, 0.8), (1, 1)])
def test_a_volume_without_centres_in_its_header(mask, share_y, share_z, tmp_path):
    request = ScanRequest(
        protocol="wall-16x",
        mask=mask,
        acceleration=3.0,
        positions=12,
        matrix="96x88",
        n_coils=4,
        acs=16,
        noise_db=40,
        partial_fourier=share_y,
        partial_slice_fourier=share_z,
    )
    header, lines = simulated(request, tmp_path)
    right = plan_source(header, lines).encoding_of(Counters()).grid
    bare = replace(
        header.encodings[0],
        center_line=None,
        center_partition=None,
        line_limits=None,
        partition_limits=None,
    )
    found = plan_source(replace(header, encodings=(bare,)), lines).encoding_of(Counters()).grid
    assert abs(found.center_line - right.center_line) <= LINE_TOLERANCE
    assert abs(found.center_partition - right.center_partition) <= LINE_TOLERANCE


def test_echoes_are_those_of_a_centre_at_line_0(tmp_path):
    """Half of k-space: the first line is its centre."""
    request = ScanRequest(
        matrix="96x88",
        n_coils=4,
        acs=16,
        noise_db=40,
        mask="full",
        limits=False,
        partial_fourier=0.5,
    )
    header, lines = simulated(request, tmp_path)
    lines.heads["center_sample"][~has_flag(lines.heads, NOISE)] -= 16
    notes = plan_source(header, lines).notes[0]
    assert any("peaks at line 0" in note for note in notes)
    assert any("center_sample" in note for note in notes)


def test_a_running_scan_decides_as_its_file(tmp_path):
    request = ScanRequest(matrix="96x112", n_coils=4, acs=16, slices=3)
    header, lines = simulated(request, tmp_path)
    header = replace(header, encodings=(replace(header.encodings[0], center_line=30),))
    made, _ = live(header, in_chunks(lines, 7), "slice")
    of_file = {slice_.counters: slice_ for slice_ in assembled(header, lines)}
    assert made.keys() == of_file.keys()
    for counters, slice_ in made.items():
        assert torch.equal(slice_.kspace, of_file[counters].kspace)
        assert slice_.notes == of_file[counters].notes != ()


# Readouts


@pytest.mark.parametrize("share", [0.55, 0.625, 0.75])
@pytest.mark.parametrize("oversampling", [True, False])
def test_a_partial_echo_whose_center_sample_is_0(share, oversampling, tmp_path):
    request = ScanRequest(
        matrix="96x128", n_coils=4, acs=16, partial_echo=share, oversampling=oversampling
    )
    header, lines = simulated(request, tmp_path)
    (right,) = assembled(header, lines)
    unset = copied(lines)
    unset.heads["center_sample"][~has_flag(unset.heads, NOISE)] = 0
    (slice_,) = assembled(header, unset)
    assert torch.equal(slice_.mask, right.mask) and torch.equal(slice_.kspace, right.kspace)
    assert "center_sample is 0 of" in slice_.notes[0]


def test_a_whole_echo_whose_center_sample_is_0_needs_no_word():
    kspace, _, xml, lines = small_scan()
    lines.heads["center_sample"] = 0
    (slice_,) = assembled(xml, lines)
    close(slice_.kspace, kspace[0])
    assert slice_.notes == ()


@pytest.mark.parametrize(("pre", "post"), [(8, 8), (0, 10), (10, 0)])
def test_discarded_samples_do_not_count(pre, post):
    """128 samples are encoded; 8 and 8 more are to be discarded."""
    kspace, _, xml, lines = small_scan()
    lines = copied(lines)
    for i, line in enumerate(lines.data):
        lines.data[i] = np.pad(line, ((0, 0), (pre, post)), constant_values=1e6)
    lines.heads["number_of_samples"] += pre + post
    lines.heads["center_sample"] += pre
    lines.heads["discard_pre"], lines.heads["discard_post"] = pre, post
    (slice_,) = assembled(xml, lines)
    close(slice_.kspace, kspace[0])


def interpolated(oversampled: bool) -> tuple:
    """A scan of 64 samples whose header interpolates: 128 encoded samples, 64 wanted."""
    _, _, xml, lines = small_scan(oversampling=oversampled)
    header = with_encoding(xml)
    (z, y, _), (fz, fy, fx) = header.encodings[0].encoding_matrix, header.encodings[0].recon_fov_mm
    encoding = replace(
        header.encodings[0],
        encoding_matrix=(z, y, 256 if oversampled else 128),
        recon_matrix=(z, y, 128 if oversampled else 64),
        encoding_fov_mm=(fz, fy, 2 * fx),
    )
    return replace(header, encodings=(encoding,)), lines


def test_readouts_that_cover_the_encoded_field_of_view_at_a_lower_resolution():
    """128 samples, 256 encoded over 2 FOV, 128 wanted: 64 pixels of the field of view."""
    kspace, _, _, _ = small_scan()
    header, lines = interpolated(oversampled=True)
    (slice_,) = assembled(header, lines)
    close(slice_.kspace, kspace[0])
    assert slice_.geometry.fov_mm == pytest.approx(header.encodings[0].recon_fov_mm)
    assert "taken to cover the encoded field of view of 440 mm" in slice_.notes[0]


def test_readouts_that_their_object_fills_have_lost_their_oversampling():
    kspace, _, _, _ = small_scan()
    header, lines = interpolated(oversampled=False)
    (slice_,) = assembled(header, lines)
    close(slice_.kspace, kspace[0])
    assert "the object fills them" in slice_.notes[0]


def test_readouts_of_a_gadgetron_chain_have_lost_their_oversampling_whatever_they_hold():
    header, lines = interpolated(oversampled=True)
    plan = plan_source(header, lines, is_cropped=True)
    assert plan.notes == {0: ()} and plan.header.encodings[0].readout_size == 128


# Lines that are not those of one image


def stack(n_slices=4):
    """Slices 10 mm apart, and the scan of them with its slice counter unset."""
    kspace, _, xml, lines = small_scan(n_slices=n_slices)
    lines = noisy(lines)
    lines.heads["slice_dir"], lines.heads["read_dir"] = (0, 0, 1), (1, 0, 0)
    lines.heads["phase_dir"] = (0, 1, 0)
    for i, number in enumerate(lines.heads["idx"]["slice"]):
        lines.heads["position"][i] = (1, 2, 10.0 * number - 15)
    unset = copied(lines)
    unset.heads["idx"]["slice"] = 0
    return kspace, xml, lines, unset


@pytest.mark.parametrize("order", ["sequential", "interleaved"])
def test_an_unset_slice_counter_is_made_of_the_positions(order):
    _, xml, lines, unset = stack()
    if order == "interleaved":
        by_line = np.argsort(lines.heads["idx"]["kspace_encode_step_1"], kind="stable")
        lines, unset = select(lines, by_line), select(unset, by_line)
    right, made = assembled(xml, lines), assembled(xml, unset)
    assert len(made) == 4
    for a, b in zip(right, made, strict=True):
        assert torch.equal(a.kspace, b.kspace) and a.geometry == b.geometry
        assert a.counters == b.counters
    assert notes_of(made) == (
        "lines of 1 slice counter lie at 4 places: each place is a slice of its own",
    )


def test_a_running_scan_with_an_unset_slice_counter_loses_no_image():
    _, xml, _, unset = stack()
    made, _ = live(parse_header(xml), in_chunks(unset, 11), "measurement")
    assert sorted(counters.slice for counters in made) == [0, 1, 2, 3]


def test_motion_correction_moves_no_line_to_another_slice():
    _, _, xml, lines = small_scan()
    lines.heads["slice_dir"] = (0, 0, 1)
    lines.heads["position"][:, 2] = np.linspace(0, 2, len(lines.heads))
    assert len(plan_source(parse_header(xml), lines).groups) == 1


def turn(heads):
    """Turn the plane of lines about the slice axis, by the angle whose cosine is 0.8."""
    heads["read_dir"], heads["phase_dir"] = (0.8, 0.6, 0), (-0.6, 0.8, 0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda h: h["position"].__setitem__((slice(0, 5), 2), 30), "at 2 places with 5 to 43"),
        (lambda h: h["position"].__setitem__((slice(0, 24), 0), 150), "differ by 150 mm"),
        (lambda h: h["read_dir"].__setitem__(slice(0, 48, 2), (-1, 0, 0)), "by 180 degrees"),
        (lambda h: turn(h[:24]), "by 37 degrees"),
    ],
)
def test_lines_that_make_no_image_are_declined(change, words):
    _, _, xml, lines = small_scan()
    lines = copied(lines)
    lines.heads["slice_dir"], lines.heads["read_dir"] = (0, 0, 1), (1, 0, 0)
    change(lines.heads)
    with pytest.raises(UnsupportedScan, match=words):
        plan_source(parse_header(xml), lines)


@pytest.mark.parametrize("oversampling", [True, False])
def test_readouts_that_alternate_without_a_flag_are_declined(oversampling):
    _, _, xml, lines = small_scan(oversampling=oversampling)
    lines = noisy(lines)
    assert plan_source(parse_header(xml), lines).groups
    for i in range(0, len(lines.data), 2):
        lines.data[i] = np.ascontiguousarray(lines.data[i][:, ::-1])
    with pytest.raises(UnsupportedScan, match="none is flagged as reversed"):
        plan_source(parse_header(xml), lines)


def test_lines_that_were_written_twice_are_no_averages():
    _, _, xml, lines = small_scan(noise=noise_samples(), n_slices=2)
    lines = noisy(lines)
    once, twice = assembled(xml, lines), assembled(xml, joined(lines, lines))
    for a, b in zip(once, twice, strict=True):
        assert torch.equal(a.kspace, b.kspace)
        assert b.noise_std == pytest.approx(a.noise_std, rel=1e-3)
        assert b.notes == (*a.notes, twice[0].notes[0]) and "copies are left out" in b.notes[0]


def test_averages_without_a_counter_stay_averages():
    _, _, xml, lines = small_scan(noise=noise_samples())
    both = joined(noisy(lines), noisy(lines, seed=1))
    once, twice = assembled(xml, lines)[0], assembled(xml, both)[0]
    assert twice.noise_std == pytest.approx(once.noise_std / 2**0.5, rel=0.05)
    assert twice.notes == ()


# Channels and noise lines


@pytest.mark.parametrize("with_noise", [True, False])
@pytest.mark.parametrize("first_slice_is_good", [False, True])
def test_a_broken_coil_is_left_out(with_noise, first_slice_is_good):
    _, _, xml, lines = small_scan(n_slices=3, noise=noise_samples() if with_noise else None)
    lines = noisy(lines)
    is_image = ~has_flag(lines.heads, NOISE)
    if first_slice_is_good:
        is_image &= lines.heads["idx"]["slice"] == 2
    broken = copied(lines)
    for i in np.flatnonzero(is_image):
        broken.data[i][2, 9] = np.nan
    others = LineList(lines.heads.copy(), [d[[0, 1, 3]] for d in lines.data])
    others.heads["active_channels"] = 3
    right = assembled(xml.replace(">4</receiverChannels", ">3</receiverChannels"), others)[2]
    slice_ = assembled(xml, broken)[2]
    close(slice_.kspace, right.kspace)
    close(slice_.acs, right.acs)
    assert slice_.noise_std == right.noise_std
    assert slice_.notes == ("channels with NaN or infinite samples are not used: 2",)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_noise_lines_that_are_not_finite(value):
    _, _, xml, lines = small_scan(noise=noise_samples())
    n_noise = int(has_flag(lines.heads, NOISE).sum())
    one, all_ = copied(lines), copied(lines)
    one.data[0][1, 4] = value
    for line in all_.data[:n_noise]:
        line[1, 4] = value
    right = assembled(xml, select(lines, np.arange(1, len(lines.heads))))[0]
    (slice_,) = assembled(xml, one)
    assert torch.equal(slice_.kspace, right.kspace) and slice_.noise_std == right.noise_std
    assert slice_.notes == (
        f"1 of {n_noise} noise lines have NaN or infinite samples and are not used",
    )
    (slice_,) = assembled(xml, all_)
    assert slice_.noise_std is None and "the coils are not whitened" in slice_.notes[0]


def test_a_copied_channel_is_left_out_and_told():
    kspace, mask, _, _ = small_scan(n_coils=3)
    noise = noise_samples(3)
    order = [0, 1, 1, 2]
    xml, lines = scan_of_kspace(kspace[:, order], mask, noise=noise[order])
    made = assembled(xml, lines)[0]
    right = assembled(*scan_of_kspace(kspace, mask, noise=noise))[0]
    assert not made.kspace[2].any()
    close(made.kspace[[0, 1, 3]], right.kspace)
    assert made.noise_std == pytest.approx(right.noise_std)
    assert made.notes == ("channels whose noise is that of others (copies) are not used: 2",)


def test_channels_of_another_number_are_left_out_where_the_header_decides():
    _, _, xml, lines = small_scan()
    other = select(lines, np.arange(3))
    other.heads["active_channels"] = 2
    other.data[:] = [d[:2] for d in other.data]
    (slice_,) = assembled(xml, joined(other, lines))
    assert torch.equal(slice_.kspace, assembled(xml, lines)[0].kspace)
    assert slice_.notes[0].startswith("3 of 51 lines are left out")


# Broken-off images


def repeated(tmp_path, **options):
    tmp_path.mkdir(exist_ok=True)
    request = ScanRequest(matrix="96x112", n_coils=3, acs=16, slices=2, repetitions=3, **options)
    return simulated(request, tmp_path)


@pytest.mark.parametrize("order", ["sequential", "interleaved", "by-line"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_scan_that_was_broken_off(order, share, tmp_path):
    header, lines = repeated(tmp_path, order=order)
    whole = plan_source(header, lines)
    assert not whole.incomplete
    last = [c for c in whole.groups if c.repetition == 2]
    mine = np.sort(np.concatenate([whole.groups[c] for c in last]))
    stop = int(mine[int(share * len(mine))])
    kept = select(lines, np.arange(stop))
    plan = plan_source(header, kept)
    cut = {c for c in plan.groups if len(plan.groups[c]) < len(whole.groups[c])}
    assert cut and set(plan.incomplete) == cut
    counters = next(iter(cut))
    n, n_all = len(plan.groups[counters]), len(whole.groups[counters])
    text = plan.incomplete[counters]
    assert text.startswith(f"{n} of {n_all} lines were measured") or "no line near" in text


def test_a_running_scan_that_is_broken_off_is_judged_by_the_images_before(tmp_path):
    header, lines = repeated(tmp_path)
    stop = np.flatnonzero(lines.heads["idx"]["repetition"] == 2)[8]
    scan = LiveScan(header, "slice", Assembler)
    tasks = [t for chunk in in_chunks(select(lines, np.arange(stop)), 9) for t in scan.add(chunk)]
    tasks += scan.finish()
    found = {t.counters: t.assembler.plan.incomplete.get(t.counters, "") for t in tasks}
    assert [c for c, reason in found.items() if reason] == [Counters(slice=0, repetition=2)]


def test_frames_that_differ_by_intent_are_complete(tmp_path):
    """A first frame with all lines, the others undersampled; frames of interleaved calibration."""
    header, lines = repeated(tmp_path, mask="full")
    later = lines.heads["idx"]["repetition"] > 0
    odd = lines.heads["idx"]["kspace_encode_step_1"] % 2 == 1
    assert not plan_source(header, select(lines, np.flatnonzero(~(later & odd)))).incomplete
    header, lines = repeated(
        tmp_path / "tpat", calibration="interleaved", mask="regular", acceleration=3
    )
    assert not plan_source(header, lines).incomplete
