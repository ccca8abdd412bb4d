"""A volume of arrays, and where its planes lie."""

import numpy as np
import pytest
import torch

from jrsr_core.acs import cut_acs
from jrsr_core.data import KSpaceSlice, KSpaceVolume, SliceGeometry
from jrsr_core.physics.fourier import fft, ifft
from jrsr_core.reconstruction.load import load_model
from tests.helpers.synthetic import coil_profiles, line_mask, noise_like, phantom
from tests.laws import assert_close, random_complex

SHAPE = (25, 23, 7)
"""Along y, z and x: all of them odd."""

TILTED = ((0.36, 0.48, -0.8), (-0.8, 0.6, 0.0), (0.48, 0.64, 0.6))
FOV = (46.0, 60.0, 21.0)
"""Along z, y and x."""


def tilted(sign=1.0):
    read, phase, through = TILTED
    return SliceGeometry((11.0, -7.0, 30.0), read, phase, tuple(sign * v for v in through), FOV)


def kspace_of(shape=SHAPE, n_coils=5, std=1e-3):
    """k-space ``(coil, ky, kz, kx)`` of an object that changes along x."""
    ny, nz, nx = shape
    image, _ = phantom((ny, nz))
    weight = 1 - 0.1 * (torch.arange(nx) - nx // 2).abs()
    hybrid = (coil_profiles(n_coils, (ny, nz)) * image)[..., None] * weight
    kspace = fft(hybrid.to(torch.complex64), (-3, -2, -1))
    return kspace + noise_like(kspace, std)


@pytest.fixture(scope="module")
def model():
    return load_model("cg-sense+sinc")


@pytest.mark.parametrize("sign", [1.0, -1.0], ids=["right-handed", "left-handed"])
def test_an_image_of_a_plane_lies_where_it_does_in_the_volume(sign, model, tmp_path, plugins):
    nibabel = pytest.importorskip("nibabel")
    volume = KSpaceVolume.from_array(kspace_of(), geometry=tilted(sign))
    whole, x = model(volume), 5
    plane = model(volume.position(x))
    assert whole.image.shape == (46, 50, 7) and plane.image.shape == (50, 46)
    assert_close(plane.image.abs(), whole.image[:, :, x].mT.abs(), 0.05)
    for y, z in ((0, 0), (10, 7), (49, 45)):
        there = whole.affine @ (x, y, z, 1)
        np.testing.assert_allclose(plane.affine @ (z, y, 0, 1), there, atol=1e-4)
    plane.save(tmp_path / "plane.nii.gz")
    saved = nibabel.load(tmp_path / "plane.nii.gz")
    assert saved.header.get_zooms()[:3] == pytest.approx((46 / 46, 60 / 50, 21 / 7))
    # A file of one plane has no third axis but the normal.
    np.testing.assert_allclose(saved.affine[:, [0, 1, 3]], plane.affine[:, [0, 1, 3]], atol=1e-4)


@pytest.mark.parametrize(("n", "center"), [(7, 3), (8, 4)])
def test_planes_are_as_far_apart_as_the_voxels_are_deep(n, center):
    volume = KSpaceVolume.from_array(kspace_of((*SHAPE[:2], n)), geometry=tilted())
    places = np.array([volume.position(x).geometry.position_mm for x in range(n)])
    steps = (np.arange(n) - center)[:, None] * 21 / n * np.array(TILTED[0])
    np.testing.assert_allclose(places, np.array((11.0, -7.0, 30.0)) + steps)
    assert volume.position(-1).geometry == volume.position(n - 1).geometry
    with pytest.raises(IndexError, match=f"position {n} of a volume with {n}"):
        volume.position(n)


def test_kspace_becomes_hybrid_space():
    kspace, mask = kspace_of(), line_mask(SHAPE[:2], 2.0, 12)
    expected = ifft(mask[..., None] * kspace, -1).permute(3, 0, 1, 2)
    for given in (kspace, kspace.numpy(), kspace.numpy().astype(np.complex128)):
        made = KSpaceVolume.from_array(given, mask.numpy() > 0, noise_std=0.25)
        assert_close(made.hybrid, expected)
        assert torch.equal(made.mask, mask) and made.noise_std == made.acs_noise_std == 0.25
        assert_close(made.acs, cut_acs(expected, mask, (40, 40)))
    assert torch.equal(KSpaceVolume.from_array(mask[..., None] * kspace).mask, mask)
    full = kspace.masked_fill(mask[..., None] == 0, float("nan"))
    assert torch.equal(KSpaceVolume.from_array(full, mask).hybrid, made.hybrid)


def test_lines_of_another_scan_are_the_calibration():
    kspace = kspace_of()
    mask = torch.zeros(SHAPE[:2])
    mask[::2] = 1
    block = kspace[:, 6:18, 5:17, 1:6]
    made = KSpaceVolume.from_array(kspace, mask, acs=block.numpy(), noise_std=1.0)
    padded = torch.nn.functional.pad(block, (1, 1))
    assert_close(made.acs, ifft(padded, -1).permute(3, 0, 1, 2))
    assert made.acs_noise_std is None
    assert not KSpaceVolume.from_array(kspace, mask * 0 + (mask > 1)).acs.numel()


def test_the_noise_of_an_asymmetric_echo_counts_what_was_measured():
    kspace = random_complex(4, 24, 20, 16)
    kspace[..., :4] = 0
    made = KSpaceVolume.from_array(kspace, np.ones((24, 20)), noise_std=1.0)
    assert made.noise_std == pytest.approx(
        float(made.hybrid.abs().square().mean().sqrt()), rel=0.02
    )
    assert made.notes[1].startswith("kx: 4 of 16 samples before and 0 of 16 after are zero")


@pytest.mark.parametrize("mask", [None, np.ones((24, 20))])
def test_a_line_of_zeros_was_not_measured(mask):
    kspace = random_complex(4, 24, 20, 16)
    kspace[:, 3, 5] = 0
    kspace[1, 4, 5] = 0
    made = KSpaceVolume.from_array(kspace, mask)
    assert (made.mask == 0).nonzero().tolist() == [[3, 5]]
    note = "1 of 480 lines are zero in every channel: they count as not measured"
    assert (note in made.notes) == (mask is not None)
    assert KSpaceVolume.from_array(0 * kspace, np.ones((24, 20))).mask.all()


def test_the_image_of_arrays_is_right_and_says_what_was_assumed(model):
    kspace = kspace_of((24, 28, 6))
    image = model(KSpaceVolume.from_array(kspace, line_mask((24, 28), 1.5, 12)))
    assert any("no geometry was given" in w for w in image.report.warnings)
    np.testing.assert_array_equal(np.diag(image.affine), (-1, -0.5, 0.5, 1))
    full = model(KSpaceVolume.from_array(kspace))
    assert_close(image.image, full.image, 0.1)


def test_other_kinds_of_numbers_are_converted(model):
    kspace, mask = kspace_of((24, 28, 3)), line_mask((24, 28), 1.5, 12)
    wanted = KSpaceVolume.from_array(kspace, mask, geometry=tilted())
    acs, hybrid = wanted.acs.numpy().copy(), wanted.hybrid.numpy()
    for kind in (bool, np.float64, np.int16):
        array = mask.numpy().astype(kind)
        made = KSpaceVolume(hybrid.astype(np.complex128), array, acs, wanted.geometry)
        assert torch.equal(made.mask, mask) and made.mask.dtype == torch.float32
        assert made.hybrid.dtype == made.acs.dtype == torch.complex64
        assert made.acceleration == wanted.acceleration
    assert_close(model(made).image, model(wanted).image)
    acs[:] = 0
    assert torch.equal(made.acs, wanted.acs)
    again = KSpaceVolume(made.hybrid, made.mask, made.acs, made.geometry)
    assert again.acs is made.acs, "volumes that share an ACS share one tensor"


ONES = np.ones((4, 12, 10, 6), "c8")


@pytest.mark.parametrize(
    ("kspace", "change", "message"),
    [
        (ONES[0], {}, r"kspace is \(12, 10, 6\), expected complex \(coil, ky, kz, kx\)"),
        (ONES.real, {}, r"kspace is float32, expected complex \(coil, ky, kz, kx\)"),
        (ONES[:0], {}, r"kspace is \(0, 12, 10, 6\), expected at least one element of each of"),
        (ONES, {"mask": np.ones(12)}, r"mask is \(12,\), kspace is \(12, 10\) along \(ky, kz\)"),
        (ONES, {"mask": np.full((12, 10), np.nan)}, r"mask has 120 elements that are NaN"),
        (ONES, {"acs": ONES[:3]}, r"acs has \(x, coil\) \(6, 3\), hybrid has \(6, 4\)"),
        (ONES, {"geometry": (5, 220, 220)}, r"geometry is \(5, 220, 220\), expected a SliceGeom"),
        (ONES, {"noise_std": -1}, "noise_std is -1, expected a finite number of at least 0"),
    ],
)
def test_what_does_not_fit_is_named(kspace, change, message):
    with pytest.raises(ValueError, match=f"^{message}") as caught:
        KSpaceVolume.from_array(kspace, **change)
    assert "\n" not in str(caught.value)


def test_a_volume_of_hybrid_space_is_checked():
    hybrid, mask, acs = (
        np.ones((6, 4, 12, 10), "c8"),
        np.ones((12, 10)),
        np.ones((6, 4, 8, 8), "c8"),
    )
    with pytest.raises(ValueError, match=r"^hybrid is \(4, 12, 10\), expected complex \(x, coil"):
        KSpaceVolume(hybrid[0], mask, acs, tilted())
    with pytest.raises(ValueError, match=r"^mask is \(12, 9\), hybrid is \(12, 10\)"):
        KSpaceVolume(hybrid, mask[:, 1:], acs, tilted())
    with pytest.raises(ValueError, match=r"^geometry is None, expected a SliceGeometry"):
        KSpaceVolume(hybrid, mask, acs, None)
    with pytest.raises(ValueError, match=r"^noise_std is an array \(4,\), expected one number"):
        KSpaceVolume(hybrid, mask, acs, tilted(), noise_std=np.ones(4))


def test_a_plane_is_a_slice_of_the_same_arrays():
    volume = KSpaceVolume.from_array(kspace_of(), noise_std=0.5)
    plane = volume.position(2)
    assert isinstance(plane, KSpaceSlice) and plane.noise_std == 0.5
    assert torch.equal(plane.kspace, volume.hybrid[2]) and plane.mask is volume.mask
