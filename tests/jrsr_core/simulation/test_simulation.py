"""The simulator keeps its promises: exact masks, unit coils, stated noise, one intensity scale."""

import numpy as np
import pytest
import torch
from scipy.optimize import brentq

from jrsr_core.physics.fourier import fft2c, ifft2c
from jrsr_core.physics.resolution import decimate
from jrsr_core.simulation.acquisition import acquire, fold_over, to_low_resolution
from jrsr_core.simulation.coils import random_coils
from jrsr_core.simulation.fields import outer_rim, random_phase, tissue_phase
from jrsr_core.simulation.masks import (
    MASK_NAMES,
    POISSON_POINTS,
    gaussian_mask,
    make_mask,
    regular_mask,
)
from jrsr_core.simulation.phantoms import HEAD, brain_phantom, render_ellipses, resolution_chart
from jrsr_core.simulation.protocols import PROTOCOLS, simulate_protocol


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_gaussian_mask_of_the_protocol_has_46_lines():
    mask = gaussian_mask((116, 128), 2.5, n_acs=24)
    lines = mask[:, 0]
    assert int(lines.sum()) == 46
    assert bool((mask == lines[:, None]).all())
    assert bool((lines[58 - 12 : 58 + 12] == 1).all())


@pytest.mark.parametrize("n", [111, 116])
@pytest.mark.parametrize("acceleration", [1.5, 2.5, 4.0])
def test_gaussian_mask_counts_exactly(n, acceleration):
    assert int(gaussian_mask((n, 8), acceleration)[:, 0].sum()) == round(n / acceleration)


def test_gaussian_mask_has_the_stated_density():
    """Drawn without replacement in proportion to w, line k is sampled with 1 - exp(-t w(k)).

    t follows from the number of lines (Rosen, Ann Math Stat 1972;43:373).
    """
    k = np.arange(116) - 58
    free = (k < -12) | (k >= 12)
    weight = (np.exp(-((k / 11.6) ** 2) / 2) + 0.2)[free]
    t = brentq(lambda t: (1 - np.exp(-t * weight)).sum() - (46 - 24), 0, 10)
    masks = [gaussian_mask((116, 1), 2.5, n_acs=24, seed=seed)[:, 0] for seed in range(400)]
    found = torch.stack(masks).mean(0).numpy()[free]
    for inner, outer in ((12, 20), (20, 30), (30, 40), (40, 58)):
        band = (abs(k[free]) > inner) & (abs(k[free]) <= outer)
        expected = (1 - np.exp(-t * weight[band])).mean()
        assert found[band].mean() == pytest.approx(expected, abs=0.015), (inner, outer)


def test_regular_mask_is_every_rth_line_and_the_centre():
    lines = regular_mask((116, 4), 3, n_acs=24)
    expected = {58 + 3 * k for k in range(-19, 20)} | set(range(46, 70))
    assert len(expected) == 39 + 24 - 8
    assert [set(column.nonzero().flatten().tolist()) for column in lines.T] == 4 * [expected]


@pytest.mark.parametrize("n", [16, 18])
def test_half_a_field_of_view_is_every_other_line(n):
    """Lines of a field of view half as large are twice as far apart."""
    image = torch.randn(3, 2 * n, 6, dtype=torch.complex64, generator=generator())
    lines = fft2c(image)[..., ::2, :]
    folded = fft2c(fold_over(image, n))
    torch.testing.assert_close(folded, 2**0.5 * lines, rtol=0, atol=1e-5)
    assert torch.equal(fold_over(image, 2 * n), image)


@pytest.mark.parametrize("name", MASK_NAMES)
def test_masks_repeat_with_their_seed_and_hold_the_centre(name):
    masks = [make_mask(name, (64, 72), 2.0, n_acs=16, seed=s) for s in (1, 1, 2)]
    assert torch.equal(masks[0], masks[1])
    if name not in ("regular", "full"):
        assert not torch.equal(masks[0], masks[2])
    assert bool((masks[0][24:40, 28:44] == 1).all())


@pytest.mark.parametrize("side, acceleration, n_acs", [(12, 6, 4), (16, 3, 8), (16, 6, 4)])
def test_a_poisson_disc_on_a_small_grid_is_found(side, acceleration, n_acs):
    """The bisection of sigpy never ended on these."""
    mask = make_mask("poisson", (side, side), acceleration, n_acs=n_acs, seed=0)
    assert abs(float(mask.sum()) - side**2 / acceleration) <= POISSON_POINTS * 1.5
    centre = slice((side - n_acs) // 2, (side + n_acs) // 2)
    assert bool(mask[centre, centre].all())


def test_bad_masks_are_refused():
    with pytest.raises(ValueError, match="leaves 20 of 100 lines, the ACS alone has 24"):
        gaussian_mask((100, 4), 5.0)
    with pytest.raises(ValueError, match="unknown mask 'spiral', known: gaussian"):
        make_mask("spiral", (64, 64), 2.0)
    with pytest.raises(ValueError, match="whole acceleration"):
        make_mask("regular", (64, 64), 2.5)


def test_coils_have_unit_norm_and_are_smooth():
    csm = random_coils(8, (60, 50), generator())
    assert torch.allclose(csm.abs().square().sum(0), torch.ones(60, 50), atol=1e-5)
    kspace = fft2c(csm).abs().square()
    centre = kspace[:, 15:45, 12:38].sum() / kspace.sum()
    assert float(centre) > 0.98


def test_phase_is_a_phase():
    assert torch.allclose(random_phase((40, 30), generator()).abs(), torch.ones(40, 30))


def disk(radius, shape=(96, 80)):
    y, x = torch.meshgrid(*(torch.arange(n) - n // 2 for n in shape), indexing="ij")
    return ((y**2 + x**2).sqrt() < radius).to(torch.float32)


def test_the_rim_of_a_disk_is_a_ring_whatever_is_inside():
    # Squares on the pixel grid stand for circles, so the ring's inner edge is not sharp.
    rim = outer_rim(disk(30), 6)
    assert bool((rim[disk(19) == 1] == 0).all()) and bool((rim[disk(30) == 0] == 0).all())
    assert bool((rim[(disk(30) - disk(25.5)) == 1] == 1).all())
    hollow = disk(30) - disk(4)
    assert torch.equal(outer_rim(hollow, 6), rim)


def test_bright_tissue_has_a_phase_of_its_own():
    image = disk(38) - 0.75 * disk(32)
    jumps = []
    for seed in range(40):
        phase = tissue_phase(image, generator(seed))
        assert torch.allclose(phase.abs(), torch.ones_like(image))
        inside, fat = (image == 0.25), (image == 1.0)
        jumps.append(float((phase[fat].mean() * phase[inside].mean().conj()).angle()))
    jumps = torch.tensor(jumps)
    assert float(jumps.min()) < -2.0 and float(jumps.max()) > 2.0
    assert abs(float(jumps.mean())) < 0.8


@pytest.mark.parametrize("shape", [(48, 64), (46, 62)])
def test_lr_and_hr_share_one_intensity_scale(shape):
    # A band-limited HR image at the LR pixels is the LR image.
    lr_shape = (shape[0] // 2, shape[1] // 2)
    small = torch.randn(lr_shape, dtype=torch.complex64, generator=generator())
    hr_kspace = torch.zeros(shape, dtype=torch.complex64)
    top, left = (n // 2 - m // 2 for n, m in zip(shape, lr_shape, strict=True))
    hr_kspace[top : top + lr_shape[0], left : left + lr_shape[1]] = fft2c(small)
    lr_image = ifft2c(to_low_resolution(hr_kspace, lr_shape))
    assert torch.allclose(lr_image, decimate(ifft2c(hr_kspace), lr_shape), atol=1e-5)


@pytest.mark.parametrize("noise_db", [20.0, 30.0])
def test_noise_is_at_the_stated_level(noise_db):
    image = brain_phantom((96, 96)).to(torch.complex64)
    csm = random_coils(6, (96, 96), generator())
    mask = torch.ones(48, 48)
    noisy = acquire(image, csm, mask, noise_db=noise_db, generator=generator(1))
    clean = acquire(image, csm, mask, noise_db=300.0, generator=generator(1))
    difference = noisy.kspace - clean.kspace
    assert float(difference.abs().square().mean().sqrt()) == pytest.approx(noisy.noise_std, 0.03)
    signal = float((csm.new_zeros(()).real + clean.kspace.abs().square().sum(0)).mean().sqrt())
    assert signal / noisy.noise_std == pytest.approx(10 ** (noise_db / 20), 1e-3)
    assert torch.equal(noisy.clean, clean.clean) and torch.equal(noisy.kspace, noisy.fully_sampled)


def test_protocols_are_those_of_the_paper():
    scan = simulate_protocol("brain-5x", brain_phantom())
    assert scan.kspace.shape == (16, 116, 128)
    assert scan.truth.shape == (232, 256)
    assert PROTOCOLS["wall-16x"].n_coils == 18
    assert [p.is_3d for p in PROTOCOLS.values()] == [False, True]


def test_options_change_the_scan():
    phantom = brain_phantom((96, 96))
    base = simulate_protocol("brain-5x", phantom, n_acs=16)
    same = simulate_protocol("brain-5x", phantom, n_acs=16)
    assert torch.equal(base.kspace, same.kspace)
    for change in (
        {"seed": 1},
        {"mask_seed": 1},
        {"n_coils": 4},
        {"acceleration": 1.5},
        {"noise_db": 20.0},
        {"mask": "regular", "acceleration": 2.0},
        {"n_acs": 18},
    ):
        other = simulate_protocol("brain-5x", phantom, **({"n_acs": 16} | change))
        assert other.kspace.shape != base.kspace.shape or not torch.equal(
            other.kspace, base.kspace
        ), change


def test_odd_hr_matrix_is_refused():
    with pytest.raises(ValueError, match=r"\(97, 96\), both sizes"):
        simulate_protocol("brain-5x", torch.zeros(97, 96))


def test_phantom_is_the_same_object_on_every_grid():
    # Coarse pixel j is centred on fine pixel 4j and covers 4j - 2 to 4j + 2, half of the ends.
    fine, coarse = render_ellipses(HEAD, (256, 256)), render_ellipses(HEAD, (64, 64))
    taps = torch.tensor([0.5, 1.0, 1.0, 1.0, 0.5]) / 4
    kernel = torch.outer(taps, taps)[None, None]
    means = torch.nn.functional.conv2d(fine[None, None], kernel, stride=4, padding=2)[0, 0]
    assert float((means - coarse).abs().mean()) < 0.005
    moved = torch.roll(coarse, 1, 0)
    assert float((means - moved).abs().mean()) > 0.02, "one pixel off would be seen"


def test_resolution_chart_has_detail_beyond_the_lr_band():
    chart = resolution_chart((232, 256))
    spectrum = fft2c(chart.to(torch.complex64)).abs().square()
    inside = spectrum[58:174, 64:192].sum() / spectrum.sum()
    assert 0.05 < 1 - float(inside) < 0.5
