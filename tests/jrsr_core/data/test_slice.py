"""A slice, or a volume, of arrays: what is checked, converted, and seen in the samples."""

import dataclasses
import re

import numpy as np
import pytest
import torch

from jrsr_core.data import KSpaceSlice, KSpaceVolume, SliceGeometry
from jrsr_core.metrics.image import psnr
from jrsr_core.physics.fourier import fft2c
from jrsr_core.physics.resolution import crop_or_pad
from jrsr_core.reconstruction.load import load_model
from tests.helpers.synthetic import coil_profiles, line_mask, noise_like, phantom, unit_norm

ONES = np.ones((4, 12, 10), "c8")
GEOMETRY = SliceGeometry.axial((5.0, 12.0, 10.0))
from_array = KSpaceSlice.from_array


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"noise_std": -1.0}, "noise_std is -1.0, expected a finite number of at least 0"),
        ({"noise_std": float("nan")}, "noise_std is nan, expected a finite number"),
        ({"noise_std": float("inf")}, "noise_std is inf, expected a finite number"),
        ({"noise_std": "0.1"}, "noise_std is '0.1', expected a finite number"),
        ({"noise_std": np.ones(4)}, "noise_std is an array (4,), expected one number for all"),
        ({"lr_readout": 5.0}, "lr_readout is 5.0, expected a whole number of at least 1"),
        ({"lr_readout": 0}, "lr_readout is 0, expected a whole number of at least 1"),
        ({"lr_readout": 4}, "lr_readout is 4, kspace has 10 samples along kx"),
        ({"geometry": (5, 220, 220)}, "geometry is (5, 220, 220), expected a SliceGeometry"),
        ({"kspace": ONES[:, :0]}, "kspace is (4, 0, 10), expected at least one element of each of"),
        ({"mask": np.array([np.nan] * 2 + [1] * 10)}, "mask has 2 elements that are NaN"),
        ({"mask": np.ones(10)}, "mask is (10,), kspace is (12, 10) along (ky, kx)"),
        ({"mask": np.ones((1, 12, 10))}, "mask is (1, 12, 10), kspace is (12, 10) along"),
        ({"acs": ONES[:3]}, "acs has 3 coils, kspace has 4"),
    ],
)
def test_what_does_not_fit_is_named(change, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}") as caught:
        from_array(**{"kspace": ONES, **change})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"geometry": None}, "geometry is None, expected a SliceGeometry"),
        ({"noise_std": -5}, "noise_std is -5, expected a finite number of at least 0"),
        ({"lr_readout": 5.0}, "lr_readout is 5.0, expected a whole number of at least 1"),
        ({"kspace": ONES[0]}, "kspace is (12, 10), expected complex (coil, ky, kx)"),
        ({"acs": ONES[:3]}, "acs has 3 coils, kspace has 4"),
        ({"mask": np.ones(12)}, "mask is (12,), kspace is (12, 10) along (ky, kx)"),
    ],
)
def test_a_slice_of_fields_is_checked_as_one_of_arrays(change, message):
    fields = {"kspace": ONES, "mask": np.ones((12, 10)), "acs": ONES, "geometry": GEOMETRY}
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        KSpaceSlice(**(fields | change))


def test_a_slice_of_fields_converts_arrays_and_keeps_tensors():
    mask = np.arange(120).reshape(12, 10) % 3
    made = KSpaceSlice(ONES.astype("c16"), mask, ONES.astype("c16"), GEOMETRY, noise_std=1)
    assert made.kspace.dtype == made.acs.dtype == torch.complex64
    assert torch.equal(made.mask, torch.from_numpy(mask != 0).float())
    assert isinstance(made.noise_std, float)
    again = dataclasses.replace(made, noise_std=2.0)
    assert again.kspace is made.kspace and again.mask is made.mask and again.acs is made.acs


# Masks


def slice_with(mask):
    return KSpaceSlice(ONES, mask, ONES, GEOMETRY)


def volume_with(mask):
    return KSpaceVolume(ONES[None], mask, ONES[None], GEOMETRY)


@pytest.mark.parametrize("make", [slice_with, volume_with])
@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.int16, torch.bool])
def test_a_mask_is_one_wherever_it_is_not_zero(make, kind):
    mask = torch.tensor([0, 1, 7, -2])[torch.arange(120).reshape(12, 10) % 4].to(kind)
    made = make(mask)
    assert made.mask.dtype == torch.float32
    assert torch.equal(made.mask, mask.ne(0).float())
    assert dataclasses.replace(made, noise_std=2.0).mask is made.mask


@pytest.mark.parametrize("make", [slice_with, volume_with])
@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.complex64])
def test_a_mask_of_nan_is_refused(make, kind):
    mask = torch.ones(12, 10, dtype=kind)
    mask[3, :2] = torch.nan
    with pytest.raises(ValueError, match=r"^mask has 2 elements that are NaN, expected nonzero"):
        make(mask)


# Kinds of arrays


def pairs(values, names=("real", "imag")):
    """Complex numbers as HDF5 files hold them."""
    kind = values.real.dtype
    found = np.zeros(values.shape, [(name, kind) for name in names])
    found[names[0]], found[names[1]] = values.real, values.imag
    return found


@pytest.mark.parametrize(
    "kind",
    [
        pairs,
        lambda values: pairs(values, ("r", "i")),
        lambda values: values.astype(np.clongdouble),
        lambda values: values.astype(">c16"),
        lambda values: np.ma.masked_array(values),
        lambda values: values.tolist(),
    ],
)
def test_complex_numbers_of_any_kind_are_k_space(kind):
    generator = np.random.default_rng(0)
    values = (generator.normal(size=(2, 4, 12, 10)) * [[[[1]]], [[[1j]]]]).sum(0).astype("c8")
    assert torch.equal(from_array(kind(values)).kspace, torch.from_numpy(values))


@pytest.mark.parametrize(
    ("kspace", "message"),
    [
        (ONES.astype(object), "kspace is an array of object, expected an array of numbers"),
        (np.zeros((4, 4), [("a", "f4"), ("b", "f4")]), "kspace is an array of [('a', '<f4'), ('b'"),
        (None, "kspace is None, expected an array of numbers"),
        ("scan.h5", "kspace is 'scan.h5', expected an array of numbers"),
        ([[1], [1, 2]], "kspace is [[1], [1, 2]], expected an array of numbers"),
        (ONES.real, "kspace is float32, expected complex (coil, ky, kx)"),
    ],
)
def test_what_holds_no_complex_numbers_is_named(kspace, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        from_array(kspace)


@pytest.mark.parametrize("name", ["kspace", "mask", "acs"])
def test_masked_elements_do_not_count_as_values(name):
    given = {"kspace": ONES, "mask": np.ones((12, 10)), "acs": ONES}
    hidden = np.zeros(given[name].shape, bool)
    hidden[..., 3, :] = True
    given[name] = np.ma.masked_array(given[name], hidden)
    message = f"{name} has {hidden.sum()} elements masked by numpy.ma, expected a plain array"
    with pytest.raises(ValueError, match=f"^{message}.*mask="):
        from_array(**given)


@pytest.mark.parametrize("value", [0, 0.25, np.float32(0.25), np.array(0.25), torch.tensor(0.25)])
def test_a_noise_level_is_one_number_of_any_kind(value):
    found = from_array(ONES, noise_std=value).noise_std
    assert isinstance(found, float) and found == float(value)


def test_a_slice_shares_no_memory_with_its_arrays():
    kspace, mask, acs = ONES.copy(), np.ones((12, 10), np.float32), ONES.copy()
    tensor = torch.from_numpy(acs)
    slices = [from_array(kspace, mask, acs=block) for block in (acs, tensor)]
    for array in (kspace, mask, acs):
        array[:] = 0
    for made in slices:
        assert made.kspace.all() and made.mask.all() and made.acs.all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SliceGeometry.axial((220, 220)), "fov_mm is (220, 220), expected three numbers"),
        (lambda: SliceGeometry.axial((5, 0, 220)), "fov_mm is (5, 0, 220), expected (z, y, x) in"),
        (lambda: SliceGeometry.axial((5, np.nan, 1)), "fov_mm is (5, nan, 1), expected (z, y, x)"),
        (lambda: SliceGeometry.axial((5, 1, 1), 7), "position_mm is 7, expected three numbers"),
        (
            lambda: placed(fov_mm=(5, 0, 220)),
            "fov_mm is (5, 0, 220), expected (z, y, x) in mm, above",
        ),
        (lambda: placed(fov_mm=(5, -1, 1)), "fov_mm is (5, -1, 1), expected (z, y, x) in mm"),
        (lambda: placed(fov_mm=(np.inf, 1, 1)), "fov_mm is (inf, 1, 1), expected (z, y, x) in mm"),
        (
            lambda: placed(position_mm=(0, np.nan, 0)),
            "position_mm is (0, nan, 0), expected three f",
        ),
        (lambda: placed(read_dir=(np.inf, 0, 0)), "read_dir is (inf, 0, 0), expected three finite"),
        (lambda: placed(read_dir=(0, 1, 0)), "read_dir and phase_dir are not perpendicular"),
        (
            lambda: lone(slice_dir=(1, 0, 0)),
            "slice_dir is [1.0, 0.0, 0.0] and no other direction is given",
        ),
        (lambda: lone(read_dir=(0, 2, 0)), "read_dir is [0.0, 2.0, 0.0] and no other direction"),
    ],
)
def test_a_geometry_is_vectors(make, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        make()


def placed(**changes):
    return dataclasses.replace(GEOMETRY, **changes)


def lone(**given):
    return placed(**(dict.fromkeys(("read_dir", "phase_dir", "slice_dir"), (0, 0, 0)) | given))


@pytest.mark.parametrize("missing", ["read_dir", "phase_dir", "slice_dir"])
def test_one_direction_of_a_geometry_follows_from_the_others(missing):
    axes = {"read_dir": (0.6, 0.8, 0), "phase_dir": (-0.8, 0.6, 0), "slice_dir": (0, 0, 1)}
    whole, without = placed(**axes), placed(**(axes | {missing: (0, 0, 0)}))
    np.testing.assert_allclose(without.affine((12, 10)), whole.affine((12, 10)), atol=1e-12)


@pytest.mark.parametrize("given", [{}, {"slice_dir": (0, 0, 2)}, {"phase_dir": (0, 1, 0)}])
def test_without_an_orientation_a_geometry_is_axial(given):
    np.testing.assert_array_equal(lone(**given).affine((12, 10)), GEOMETRY.affine((12, 10)))


def test_a_geometry_takes_sequences():
    fov = (5.0, 220.0, 200.0)
    for given in (list(fov), np.array(fov)):
        assert SliceGeometry.axial(given) == SliceGeometry.axial(fov)


# Asymmetric echoes


def echo(shape, fraction=0.25, std=2e-3):
    """k-space whose readout begins late, filled up with zeros, its lines, and the truth."""
    hr = (2 * shape[0], 2 * shape[1])
    image, _ = phantom(hr)
    kspace = 0.5 * crop_or_pad(fft2c(unit_norm(coil_profiles(6, hr)) * image), shape)
    kspace = kspace + noise_like(kspace, std)
    missing = int(fraction * shape[1])
    kspace[..., :missing] = 0
    return kspace.to(torch.complex64), line_mask(shape, 2.0, 20)[:, 0], image.abs(), missing


@pytest.mark.parametrize("shape", [(48, 64), (47, 63)])
def test_ends_of_zeros_were_not_measured(shape):
    kspace, lines, truth, missing = echo(shape)
    stated = lines[:, None].repeat(1, shape[1])
    stated[:, :missing] = 0
    made, wanted = from_array(kspace, lines), from_array(kspace, stated)
    assert torch.equal(made.mask, wanted.mask) and torch.equal(made.acs, wanted.acs)
    text = f"kx: {missing} of {shape[1]} samples before and 0 of {shape[1]} after are zero"
    assert any(note.startswith(text) for note in made.notes) and len(wanted.notes) == 1
    model = load_model("cg-sense+sinc")
    image = model(made)
    assert torch.equal(image.image, model(wanted).image)
    assert any(text in warning for warning in image.report.warnings)
    # As measured zeros they would pull the image away from the truth.
    filled = from_array(kspace, lines[:, None].repeat(1, shape[1]))
    network = load_model("jrsr-dc", accept_contradictions=True)
    assert psnr(network(made), truth) > psnr(network(filled), truth) + 0.5


@pytest.mark.parametrize("mask", [np.ones(12), np.ones((12, 10))])
def test_a_line_of_zeros_was_not_measured(mask):
    """A coil or a part of a line says nothing, nor does k-space without a sample."""
    kspace = ONES.copy()
    kspace[1], kspace[:, 3], kspace[:, :, 0] = 0, 0, 0
    kspace[2, 5, 0] = 1
    made = from_array(kspace, mask)
    assert made.mask.any(1).logical_not().nonzero().flatten().tolist() == [3]
    assert made.mask[np.arange(12) != 3].all()
    assert "1 of 12 lines are zero in every channel: they count as not measured" in made.notes
    assert from_array(0 * ONES, mask).mask.all()


def test_lines_outside_the_mask_hold_no_samples():
    kspace = ONES.copy()
    kspace[:, :, 0], kspace[:, 4, 0] = 0, 1
    lines = np.arange(12) != 4
    made = from_array(kspace, lines)
    assert not made.mask[:, 0].any() and made.mask[:, 1:].sum() == 11 * 9


@pytest.mark.parametrize("shape", [(12, 10), (11, 9), (5, 12, 9)])
def test_the_centre_of_the_field_of_view_is_voxel_half_n(shape):
    """Counted from the first voxel along the axes, in its header and in the matrix of NIfTI."""
    axes = {"read_dir": (0.6, 0.8, 0), "phase_dir": (-0.8, 0.6, 0), "slice_dir": (0, 0, -1)}
    geometry = placed(**axes, position_mm=(10, -20, 30))
    half = [n // 2 for n in reversed(shape)]
    steps = np.multiply(half, geometry.voxel_mm(shape)[::-1][: len(half)])
    there = geometry.first_voxel(shape) + steps @ np.array([*axes.values()])[: len(half)]
    np.testing.assert_allclose(there, (10, -20, 30), atol=1e-12)
    voxel = (*[*half, 0][:3], 1)
    np.testing.assert_allclose(geometry.affine(shape) @ voxel, (-10, 20, 30, 1), atol=1e-12)
