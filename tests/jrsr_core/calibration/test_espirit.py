"""ESPIRiT against the truth, a slow reference, sigpy and BART."""

import math
import warnings

import numpy as np
import pytest
import torch

from jrsr_core.calibration.espirit import (
    CoilSubspace,
    espirit_maps,
    first_virtual_coil,
    gram_coefficients,
    row_space_kernels,
)
from jrsr_core.calibration.subspace import matrix_field
from jrsr_core.physics.fourier import fft2c, ifft2c
from jrsr_core.physics.pointwise import CoilOperator
from jrsr_core.physics.resolution import crop_or_pad, decimate
from tests.helpers.processes import needs, run_process
from tests.helpers.synthetic import coil_profiles, grid, noise_like, scan
from tests.laws import assert_close, random_complex

CASES = [(12, (64, 58)), (8, (63, 57)), (4, (47, 64)), (32, (48, 48)), (2, (64, 64))]


def _overlap(a, b):
    """|<a, b>| over the coils at every pixel."""
    return (a.conj() * b).sum(-3).abs()


def _slow_gram(acs, shape, width=6, threshold=0.02):
    """G(r) as in the paper: kernels zero-padded one by one, summed at full size."""
    windows = torch.stack(
        [
            acs[:, y : y + width, x : x + width].flatten()
            for y in range(acs.shape[1] - width + 1)
            for x in range(acs.shape[2] - width + 1)
        ]
    )
    _, s, vh = torch.linalg.svd(windows.to(torch.complex128), full_matrices=False)
    gram = 0
    # A row of `windows` is sum_n u s v^H, so the windows as columns are spanned by conj(v).
    for row in vh[s > threshold * s[0]]:
        kernel = crop_or_pad(row.reshape(-1, width, width), shape)
        image = ifft2c(kernel) * math.sqrt(math.prod(shape)) / width
        gram = gram + torch.einsum("cyx,dyx->yxcd", image, image.conj())
    return gram


@pytest.mark.parametrize(("n_coils", "shape"), CASES, ids=str)
def test_maps_are_the_truth_inside_the_object(n_coils, shape):
    kspace, csm, inside, _ = scan(n_coils, shape, 40)
    maps, eigenvalues = espirit_maps(crop_or_pad(kspace, (24, 24)), shape)
    assert maps.shape == csm.shape and maps.dtype == torch.complex64
    assert eigenvalues.shape == shape and eigenvalues.dtype == torch.float32
    overlap = _overlap(maps, csm)[inside]
    assert overlap.mean() > 0.999
    assert eigenvalues[inside].mean() > 0.98 and eigenvalues.max() < 1.001


@pytest.mark.parametrize(("n_coils", "shape"), CASES, ids=str)
def test_unit_norm_or_background(n_coils, shape):
    kspace, *_ = scan(n_coils, shape, 30)
    maps, eigenvalues = espirit_maps(crop_or_pad(kspace, (24, 24)), shape)
    power = maps.abs().square().sum(0)
    torch.testing.assert_close(power, (eigenvalues > 0.9).float(), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("n_coils", "shape"), CASES, ids=str)
def test_projection_keeps_the_coil_images(n_coils, shape):
    kspace, *_ = scan(n_coils, shape, 40)
    images = ifft2c(kspace)
    coils = CoilOperator(espirit_maps(crop_or_pad(kspace, (24, 24)), shape)[0])
    kept = coils(coils.adjoint(images)).abs().square().sum()
    assert kept > 0.99 * images.abs().square().sum()


@pytest.mark.parametrize("shape", [(32, 32), (33, 38)], ids=str)
@pytest.mark.parametrize("acs_size", [(24, 24), (23, 24), (12, 17)], ids=str)
def test_field_equals_the_slow_one(shape, acs_size):
    acs = crop_or_pad(scan(4, (64, 64))[0], acs_size)
    coefficients = gram_coefficients(row_space_kernels(acs, (6, 6), 0.02))
    y, x = grid(shape)
    field = matrix_field(coefficients, y[:, 0], x[0])
    expected = _slow_gram(acs, shape)
    assert_close(field, expected.to(field.dtype), 1e-4)
    assert_close(field, field.mH)


@pytest.mark.parametrize(("n_coils", "shape"), CASES, ids=str)
def test_eigenvectors_equal_a_direct_decomposition(n_coils, shape):
    kspace, _, inside, _ = scan(n_coils, shape, 30)
    acs = crop_or_pad(kspace, (24, 24))
    maps, eigenvalues = espirit_maps(acs, shape)
    coefficients = gram_coefficients(row_space_kernels(acs / acs.abs().max(), (6, 6), 0.02))
    y, x = grid(shape)
    values, vectors = torch.linalg.eigh(matrix_field(coefficients, y[:, 0], x[0]))
    direct = vectors[..., -1].permute(2, 0, 1)
    assert (eigenvalues - values[..., -1]).abs()[inside].max() < 1e-3
    assert _overlap(maps, direct)[inside].mean() > 0.9999
    assert _overlap(maps, direct)[maps.abs().sum(0) > 0].mean() > 0.999


def test_phase_reference_is_the_first_virtual_coil():
    kspace, *_ = scan(6, (64, 64))
    acs = crop_or_pad(kspace, (24, 24))
    maps, _ = espirit_maps(acs, (64, 64))
    projection = torch.einsum("c,cyx->yx", first_virtual_coil(acs).conj(), maps)
    assert projection.imag.abs().max() < 1e-5 and projection.real.min() > -1e-5


def test_maps_do_not_depend_on_the_scale_or_on_a_wide_acs():
    kspace, *_ = scan(6, (64, 64))
    acs = crop_or_pad(kspace, (24, 24))
    maps, _ = espirit_maps(acs, (64, 64))
    assert_close(espirit_maps(1e12 * acs, (64, 64))[0], maps, 1e-3)
    assert_close(espirit_maps(1e-12 * acs, (64, 64))[0], maps, 1e-3)
    assert torch.equal(espirit_maps(crop_or_pad(kspace, (24, 64)), (64, 64))[0], maps)


@pytest.mark.parametrize("lr", [(48, 48), (47, 51)], ids=str)
def test_maps_on_lr_are_decimated_hr_maps(lr):
    hr = (2 * lr[0], 2 * lr[1])
    acs = crop_or_pad(scan(6, lr)[0], (24, 24))
    low, high = espirit_maps(acs, lr)[0], espirit_maps(acs, hr)[0]
    both = (low.abs().sum(0) > 0) & (decimate(high, lr).abs().sum(0) > 0)
    assert _overlap(low, decimate(high, lr))[both].mean() > 0.9999


def test_single_coil_sees_everything_with_one():
    kspace, _, inside, _ = scan(1, (32, 33))
    maps, _ = espirit_maps(crop_or_pad(kspace, (24, 24)), (32, 33))
    torch.testing.assert_close(maps[0][inside], torch.ones_like(maps[0][inside]))


def test_pure_noise_and_small_acs_do_not_break():
    maps, eigenvalues = espirit_maps(random_complex(8, 24, 24), (40, 40))
    assert torch.isfinite(torch.view_as_real(maps)).all() and torch.isfinite(eigenvalues).all()
    maps, _ = espirit_maps(random_complex(8, 6, 6), (40, 40))
    assert torch.isfinite(torch.view_as_real(maps)).all()


def _aliased(n_coils=8, shape=(64, 64), shift=20):
    """An object longer than the field of view: its end folds over onto the other side."""
    wide = (2 * shape[0], shape[1])
    y, x = grid(wide)
    profiles = coil_profiles(n_coils, wide)
    inside = (y / 0.32) ** 2 + (x / 0.36) ** 2 < 1
    image = inside * (1 + 0.3 * torch.cos(40 * y) * torch.sin(20 * x))
    full = fft2c(profiles * image)
    # Every second line of the long field of view is the scan of the short one.
    kspace = full[:, wide[0] // 2 % 2 :: 2]
    return kspace + noise_like(kspace, 1e-3 * float(kspace.abs().square().mean().sqrt()))


def test_two_maps_for_an_object_larger_than_the_field_of_view():
    kspace = _aliased()
    images = ifft2c(kspace)
    acs = crop_or_pad(kspace, (24, 24))
    one, _ = espirit_maps(acs, (64, 64))
    two, eigenvalues = espirit_maps(acs, (64, 64), n_maps=2)
    assert two.shape == (2, 8, 64, 64) and eigenvalues.shape == (2, 64, 64)
    assert (eigenvalues[0] >= eigenvalues[1] - 1e-5).all()
    lost = {}
    for name, operator in (("1", CoilOperator(one)), ("2", CoilOperator(two, has_map_axis=True))):
        rest = images - operator(operator.adjoint(images))
        lost[name] = float(rest.abs().square().sum() / images.abs().square().sum())
    assert lost["2"] < 0.01 and lost["2"] < 0.2 * lost["1"]


def test_two_maps_are_orthogonal_and_softly_weighted():
    acs = crop_or_pad(_aliased(), (24, 24))
    maps, eigenvalues = espirit_maps(acs, (64, 64), n_maps=2)
    assert _overlap(maps[0], maps[1]).max() < 1e-4
    ramp = ((eigenvalues - 0.9) / 0.1).clamp(0, 1)
    weight = 0.5 - 0.5 * torch.cos(math.pi * ramp)
    torch.testing.assert_close(maps.abs().square().sum(1), weight, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("n_coils", "snr_db"), [(4, 0), (4, -3), (12, -10), (24, -12)])
def test_known_noise_has_no_part_in_the_maps(n_coils, snr_db):
    """Above the threshold noise spans everything; its level tells it from the signal."""
    kspace, csm, inside, std = scan(n_coils, (96, 90), snr_db)
    acs = crop_or_pad(kspace, (24, 24))
    overlaps = []
    for noise_std in (None, lambda: std):
        subspace = CoilSubspace.of_acs(acs, kernel_width=6, threshold=0.02, noise_std=noise_std)
        maps, _ = subspace.maps((96, 90), n_maps=1, crop=0.0)
        overlaps.append(float(_overlap(maps, csm)[inside].mean()))
    assert overlaps[1] > 0.95 and overlaps[1] > overlaps[0] + 0.02, overlaps


def test_noise_below_the_threshold_is_not_even_asked_for():
    kspace, *_ = scan(8, (96, 90), 30)
    acs = crop_or_pad(kspace, (24, 24))

    def never():
        raise AssertionError

    with_it = CoilSubspace.of_acs(acs, kernel_width=6, threshold=0.02, noise_std=never)
    without = CoilSubspace.of_acs(acs, kernel_width=6, threshold=0.02)
    assert torch.equal(with_it.coefficients, without.coefficients)


@pytest.mark.parametrize(
    ("acs", "kwargs", "text"),
    [
        (random_complex(4, 5, 24), {}, "acs is 5x24, the kernel needs at least 6x6"),
        (torch.zeros(4, 24, 24, dtype=torch.complex64), {}, "acs is zero everywhere"),
        (random_complex(4, 24, 24) * float("nan"), {}, "not finite"),
        (random_complex(1, 24, 24), {"n_maps": 2}, "n_maps is 2, 1 coils allow 1 to 1"),
        (
            random_complex(2, 24, 24),
            {"threshold": 2},
            "threshold is 2, expected a number from 0.0 to 0.99",
        ),
        (random_complex(2, 24, 24), {"threshold": float("nan")}, "threshold is nan, expected"),
        (
            random_complex(2, 24, 24),
            {"crop": 1, "n_maps": 2},
            "crop is 1, expected a number from 0.0 to 0.99",
        ),
        (random_complex(2, 24, 24), {"kernel_width": 0}, "kernel_width is 0, expected a whole"),
        (random_complex(2, 24, 24), {"kernel_width": 2.5}, "kernel_width is 2.5, expected a whole"),
        (
            random_complex(2, 24, 24),
            {"kernel_width": (6, 0)},
            r"kernel_width is \(6, 0\), expected",
        ),
        (random_complex(2, 24, 24), {"n_maps": 1.5}, "n_maps is 1.5, expected a whole number"),
        (random_complex(2, 24, 24), {"image_shape": (1, 48)}, r"image_shape is \(1, 48\), exp"),
        (random_complex(2, 24, 24), {"image_shape": (256,)}, r"image_shape is \(256,\), expected"),
        (random_complex(2, 24, 24), {"image_shape": (32.0, 32.0)}, "of at least 2"),
        (random_complex(2, 24, 24), {"image_shape": 256}, r"image_shape is 256, expected \(y, x\)"),
    ],
)
def test_bad_input_is_named(acs, kwargs, text):
    with pytest.raises(ValueError, match=text):
        espirit_maps(acs, **({"image_shape": (32, 32)} | kwargs))


def _assert_same_maps(ours, other, inside):
    both = inside & (other.abs().sum(0) > 0) & (ours.abs().sum(0) > 0)
    assert both.sum() > 0.98 * inside.sum()
    assert _overlap(ours, other)[both].mean() >= 0.999


ORACLE_CASES = [(12, (128, 116)), (8, (111, 94)), (2, (64, 64))]


@pytest.mark.parametrize(("n_coils", "shape"), ORACLE_CASES, ids=str)
def test_agrees_with_sigpy(n_coils, shape):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        app = pytest.importorskip("sigpy.mri.app")
        kspace, _, inside, _ = scan(n_coils, shape, 40)
        other = app.EspiritCalib(
            kspace.numpy(), calib_width=24, thresh=0.02, kernel_width=6, crop=0.9, show_pbar=False
        ).run()
    ours, _ = espirit_maps(crop_or_pad(kspace, (24, 24)), shape)
    _assert_same_maps(ours, torch.from_numpy(np.asarray(other)), inside)


def _write_cfl(path, array):
    path.with_suffix(".hdr").write_text(f"# Dimensions\n{' '.join(map(str, array.shape))}\n")
    array.astype(np.complex64).ravel(order="F").tofile(path.with_suffix(".cfl"))


def _read_cfl(path):
    sizes = path.with_suffix(".hdr").read_text().splitlines()[1].split()
    flat = np.fromfile(path.with_suffix(".cfl"), dtype=np.complex64)
    return flat.reshape([int(n) for n in sizes], order="F")


@needs("bart")
@pytest.mark.parametrize(("n_coils", "shape"), ORACLE_CASES, ids=str)
def test_agrees_with_bart(n_coils, shape, tmp_path):
    kspace, _, inside, _ = scan(n_coils, shape, 40)
    _write_cfl(tmp_path / "kspace", kspace.permute(1, 2, 0)[:, :, None].numpy())
    # BART compares squared singular values: 0.0004 is 0.02 on sigma.
    options = "-r 24:24:1 -k 6 -t 0.0004 -c 0.9 -m 1".split()
    command = ["bart", "ecalib", *options, "kspace", "maps"]
    run_process(command, cwd=tmp_path, check=True)
    other = torch.from_numpy(_read_cfl(tmp_path / "maps"))[:, :, 0]
    other = other.reshape(*shape, n_coils).permute(2, 0, 1)
    ours, _ = espirit_maps(crop_or_pad(kspace, (24, 24)), shape)
    _assert_same_maps(ours, other, inside)
    # Both take the first principal coil as phase reference; its own phase is a constant.
    both = inside & (other.abs().sum(0) > 0) & (ours.abs().sum(0) > 0)
    phase = torch.polar(torch.ones(1), (other.conj() * ours).sum(0)[both].angle())
    assert phase.mean().abs() > 0.999
