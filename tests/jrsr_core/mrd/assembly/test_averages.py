"""Averages: sound ones are added up bit for bit, others do not cancel each other."""

import math
import re

import numpy as np
import pytest
import torch

from jrsr_core.mrd.assembly.averages import Scatter
from jrsr_core.mrd.errors import ContradictoryLines
from jrsr_core.mrd.lines.acquired import NOISE, has_flag
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
)

from .test_hybrid import expected_hybrid, scan, volume_kspace

FULL = torch.ones(48, 64)
PHASES = (0.0, 2.0, -2.2, 3.0)


def averages(phases=(0.0,) * 4, noise_std=0.0, has_noise=True, changed=lambda kspace: kspace):
    """Header and lines of averages of these phases; the noise lines have the level of the image.

    The object of all but the first is `changed`.
    """
    clean = coil_kspace()
    generator = torch.Generator().manual_seed(1)
    kspace = torch.stack(
        [
            (changed(clean) if i else clean) * complex(math.cos(p), math.sin(p))
            + noise_std * torch.randn(clean.shape, dtype=torch.complex64, generator=generator)
            for i, p in enumerate(phases)
        ]
    )
    noise = torch.randn((4, 4096), dtype=torch.complex64, generator=generator)
    return scan_of_kspace(
        kspace, FULL, noise=noise_std * noise if has_noise and noise_std else None
    )


@pytest.mark.parametrize("has_noise", [True, False])
@pytest.mark.parametrize("noise_std", [0.01, 0.2, 1.0])
def test_sound_averages_are_their_sum_bit_for_bit(noise_std, has_noise, monkeypatch):
    """At 1.0 the noise of one average has 14 times the power of its signal."""
    header, lines = averages(noise_std=noise_std, has_noise=has_noise)
    (made,) = assembled(header, lines)
    assert made.notes == ()
    monkeypatch.setattr("jrsr_core.mrd.assembly.averages.find_scatter", lambda *_: Scatter())
    (plain,) = assembled(header, lines)
    assert torch.equal(made.kspace, plain.kspace) and torch.equal(made.acs, plain.acs)


@pytest.mark.parametrize("has_noise", [True, False])
def test_averages_of_different_phase_do_not_cancel(has_noise):
    """As with motion during diffusion encoding; the phase of the first average is kept."""
    (made,) = assembled(*averages(PHASES, noise_std=0.02, has_noise=has_noise))
    (sound,) = assembled(*averages(noise_std=0.02, has_noise=has_noise))
    # The noise of both; the mean of these phases has 0.36 of the signal.
    for ours, theirs in ((made.kspace, sound.kspace), (made.acs, sound.acs)):
        assert (ours - theirs).norm() < 0.08 * theirs.norm()
    assert made.noise_std == sound.noise_std
    (note,) = made.notes
    assert "averages differ in phase, by up to 172 degrees" in note


def test_the_phase_of_repeated_lines_without_an_average_counter_is_removed():
    header, lines = averages((0.0, 2.0))
    lines.heads["idx"]["average"] = 0
    (made,) = assembled(header, lines)
    close(made.kspace, coil_kspace()[0])


@pytest.mark.parametrize("angle", [0.1, 1.0, 2.0])
def test_the_scatter_of_two_phases(angle):
    """Two lines that differ by the phase p have the scatter sin(p / 2)^2 of their power."""
    (made,) = assembled(*averages((0.0, angle), noise_std=1e-3))
    share = math.sin(angle / 2) ** 2
    wanted = (
        rf"lines of one place differ by {share:.0%} of their power, noise explains at most [0-3]%"
    )
    if angle < 0.5:
        assert made.notes == ()
    else:
        (note,) = made.notes
        assert re.match(wanted, note)


WINDOWS = {
    "Hann": lambda x: 0.5 + 0.5 * np.cos(np.pi * x),
    "Hamming": lambda x: 0.54 + 0.46 * np.cos(np.pi * x),
    "Fermi": lambda x: 1 / (1 + np.exp((np.abs(x) - 0.7) / 0.05)),
}


@pytest.mark.parametrize("has_noise", [True, False])
@pytest.mark.parametrize("window", WINDOWS)
def test_a_filter_of_the_raw_data_is_no_contradiction(window, has_noise):
    """It leaves less noise in the outer places, nearly none in the weakest."""
    header, lines = averages(noise_std=0.5, has_noise=has_noise)
    steps = lines.heads["idx"]["kspace_encode_step_1"]
    along, across = (WINDOWS[window](np.linspace(-1, 1, n + 2)[1:-1]) for n in (128, 48))
    image = ~has_flag(lines.heads, NOISE)
    lines.data[:] = [
        (d * along * across[step]).astype(np.complex64) if i else d
        for d, step, i in zip(lines.data, steps, image, strict=True)
    ]
    (made,) = assembled(header, lines)
    assert made.notes == ()


@pytest.mark.parametrize("factor", [0.1, 0.3, 0.5])
def test_noise_lines_that_are_too_weak_make_no_contradiction(factor):
    header, lines = averages(noise_std=0.5)
    is_noise = has_flag(lines.heads, NOISE)
    (sound,) = assembled(header, lines)
    lines.data[:] = [factor * d if n else d for d, n in zip(lines.data, is_noise, strict=True)]
    (made,) = assembled(header, lines)
    assert made.notes == ()
    close(made.kspace, sound.kspace)


@pytest.mark.parametrize("noise_std", [0.02, 0.2])
@pytest.mark.parametrize("axis", [-1, -2], ids=["mirrored", "upside down"])
def test_noise_does_not_hide_another_object(noise_std, axis):
    """With noise lines; at 0.2 the noise has half of the power of the signal."""
    scan = averages((0.0, 2.0), noise_std, changed=lambda kspace: kspace.flip(axis))
    with pytest.raises(ContradictoryLines):
        assembled(*scan)


def second_scan(kspace, uid=99):
    """Header and lines of `coil_kspace`, followed by those of another measurement."""
    _, _, xml, lines = small_scan()
    other = copied(scan_of_kspace(kspace, FULL)[1])
    other.heads["measurement_uid"] = uid
    return xml, joined(lines, other)


def test_two_scans_in_one_group_are_no_average():
    """The fallback image is that of the first one."""
    kspace = coil_kspace()
    xml, lines = second_scan(kspace.flip(-1))
    with pytest.raises(ContradictoryLines, match="the first line of every place is used") as caught:
        assembled(xml, lines)
    rest = caught.value.rest
    close(rest.kspace, kspace[0])
    close(rest.acs, kspace[0][:, 4:44])
    assert rest.notes == (
        "lines of one image are of 2 measurements (measurement_uid 1 to 99): lines at one "
        "place count as averages",
    )


def mirrored(kspace):
    return kspace.flip(-1)


def moved(kspace):
    """By a quarter of the field of view along the phase encode."""
    return kspace * torch.tensor([1, 1j, -1, -1j]).repeat(12)[:, None]


def faint(kspace):
    return 1e-3 * kspace.flip(-2)


@pytest.mark.parametrize("noise_std", [0.0, 0.02])
@pytest.mark.parametrize("change", [mirrored, moved, faint])
@pytest.mark.parametrize("bad", [0, 1, 2])
def test_the_fallback_is_an_average_that_agrees_with_another(bad, change, noise_std):
    """Of three averages one is another object, moved, or a dummy; phases differ besides."""
    clean = coil_kspace()
    generator = torch.Generator().manual_seed(1)
    kspace = torch.stack([clean, clean * 1j, -clean])
    kspace[bad] = change(clean)
    kspace += noise_std * torch.randn(kspace.shape, dtype=kspace.dtype, generator=generator)
    used = 1 if bad == 0 else 0
    words = "first line of every place" if used == 0 else "average 2, which agrees best with the"
    with pytest.raises(ContradictoryLines, match=words) as caught:
        assembled(*scan_of_kspace(kspace, FULL))
    rest = caught.value.rest
    close(rest.kspace, kspace[used, 0])
    close(rest.acs, kspace[used, 0][:, 4:44])


def test_a_better_average_that_lacks_lines_does_not_stand_for_the_others():
    """Averages 2 and 3 measured the central lines only: the image would be of both objects."""
    _, _, xml, lines = small_scan()
    parts = [lines]
    for number in (1, 2):
        part = copied(select(lines, np.arange(16, 32)))
        part.heads["idx"]["average"] = number
        part.data[:] = [line[:, ::-1].copy() for line in part.data]
        parts.append(part)
    with pytest.raises(ContradictoryLines, match="the first line of every place") as caught:
        assembled(xml, joined(*parts))
    close(caught.value.rest.kspace, coil_kspace()[0])


@pytest.mark.parametrize(("row", "is_central"), [(24, True), (46, False)])
def test_one_line_measured_again_with_other_content(row, is_central):
    """It spoils the image in the centre of k-space only."""
    _, _, xml, lines = small_scan(noise=1e-4 * noise_samples())
    (once,) = assembled(xml, lines)
    n_noise = len(lines.data) - 48
    again = copied(select(lines, [n_noise + row]))
    again.data[0] = again.data[0][:, ::-1].copy()
    lines = joined(lines, again)
    if is_central:
        with pytest.raises(ContradictoryLines) as caught:
            assembled(xml, lines)
        assert torch.equal(caught.value.rest.kspace, once.kspace)
    else:
        (made,) = assembled(xml, lines)
        assert made.notes[0].endswith("noise explains at most 0%: their mean is used")
        others = torch.arange(48) != row
        assert torch.equal(made.kspace[:, others], once.kspace[:, others])


def volumes(*factors):
    """Header and lines of averages of a volume, each times its factor."""
    kspace = volume_kspace()
    xml, lines = scan(kspace, torch.ones(20, 24))
    parts = []
    for number, factor in enumerate(factors):
        part = copied(lines)
        part.heads["idx"]["average"] = number
        part.data[:] = [(factor * line).astype(np.complex64) for line in part.data]
        parts.append(part)
    return xml, joined(*parts), expected_hybrid(kspace, torch.ones(20, 24))


def test_averages_of_a_volume_do_not_cancel():
    xml, lines, expected = volumes(1, np.exp(2j), np.exp(-2.2j))
    (made,) = assembled(xml, lines, n_virtual_coils=8)
    close(made.hybrid, expected)
    assert "by up to 126 degrees" in made.notes[0]


def test_volumes_of_other_content_are_no_average():
    xml, lines, expected = volumes(1, 1)
    half = len(lines.data) // 2
    lines.data[half:] = [line[:, ::-1].copy() for line in lines.data[half:]]
    with pytest.raises(ContradictoryLines) as caught:
        assembled(xml, lines, n_virtual_coils=8)
    close(caught.value.rest.hybrid, expected)


def test_of_three_volumes_the_first_one_may_be_the_wrong_one():
    xml, lines, expected = volumes(1, 1, 1)
    third = len(lines.data) // 3
    lines.data[:third] = [line[:, ::-1].copy() for line in lines.data[:third]]
    with pytest.raises(ContradictoryLines, match="average 2, which agrees best") as caught:
        assembled(xml, lines, n_virtual_coils=8)
    close(caught.value.rest.hybrid, expected)
