"""Arrays whose k = 0 does not lie at n // 2, and images, have a note; sound scans have none."""

import numpy as np
import pytest

from jrsr_core.data import KSpaceSlice, KSpaceVolume
from jrsr_core.image_arrays import is_image
from jrsr_core.reconstruction.contradiction import Contradiction
from jrsr_core.reconstruction.load import load_model
from jrsr_core.simulation.phantoms import brain_phantom
from jrsr_core.simulation.protocols import simulate_protocol
from tests.helpers.synthetic import coil_profiles, line_mask, phantom

SHAPE = (48, 41)
"""Along ky and kx, even and odd."""

LINES = np.asarray(line_mask(SHAPE, 2.0, 12))[:, 0]


def kspace_of(noise=0.01):
    """k-space ``(coil, ky, kx)`` by NumPy's own functions; `noise` as part of the largest pixel."""
    image = np.asarray(phantom(SHAPE)[0] * coil_profiles(4, SHAPE))
    kspace = np.fft.fftshift(np.fft.fft2(image, norm="ortho"), axes=(-2, -1))
    real, imaginary = np.random.default_rng(0).normal(size=(2, *kspace.shape))
    return kspace + noise * np.abs(image).max() * (real + 1j * imaginary)


def volume_of():
    """k-space ``(coil, ky, kz, kx)`` of an object that is as long as the phantom is wide."""
    along_x = np.sinc((np.arange(24) - 12) / 2)
    return kspace_of()[..., None] * along_x


def image_of(kspace, axes=(-2, -1)):
    """Its image, by NumPy's own functions."""
    shifted = np.fft.ifftshift(kspace, axes=axes)
    return np.fft.fftshift(np.fft.ifftn(shifted, axes=axes, norm="ortho"), axes=axes)


def notes_of(made):
    return [note for note in made.notes if "energy" in note]


def shifted_note(axis, n):
    return (
        f"the energy of k-space peaks at {axis} = 0, expected n // 2 = {n // 2}: "
        "numpy.fft.fftshift along this axis?"
    )


@pytest.mark.parametrize("noise", [0.0, 0.01, 0.1])
@pytest.mark.parametrize("axes", [("ky",), ("kx",), ("ky", "kx")])
def test_a_forgotten_fftshift_is_named(axes, noise):
    places = {"ky": 1, "kx": 2}
    kspace = np.fft.ifftshift(kspace_of(noise), axes=[places[a] for a in axes])
    expected = [shifted_note(a, SHAPE[places[a] - 1]) for a in axes]
    assert notes_of(KSpaceSlice.from_array(kspace)) == expected
    assert notes_of(KSpaceSlice.from_array(kspace_of(noise))) == []


def test_an_undersampled_one_too():
    kspace, mask = np.fft.ifftshift(kspace_of(), axes=(1, 2)), np.fft.ifftshift(LINES)
    made = KSpaceSlice.from_array(kspace, mask)
    expected = [shifted_note("ky", 48), shifted_note("kx", 41)]
    assert notes_of(made) == notes_of(KSpaceSlice.from_array(kspace * mask[:, None])) == expected


def test_the_image_has_the_warning():
    made = KSpaceSlice.from_array(np.fft.ifftshift(kspace_of(), axes=2))
    assert shifted_note("kx", 41) in load_model("zero-filled+sinc")(made).report.warnings


@pytest.mark.parametrize("axis", [1, 2, 3])
def test_a_forgotten_fftshift_of_a_volume_is_named(axis):
    kspace = volume_of()
    assert notes_of(KSpaceVolume.from_array(kspace)) == []
    made = KSpaceVolume.from_array(np.fft.ifftshift(kspace, axes=axis))
    assert notes_of(made) == [shifted_note(("ky", "kz", "kx")[axis - 1], kspace.shape[axis])]


def test_an_array_that_begins_at_the_first_measured_line_is_named():
    note = "the energy of k-space peaks at ky = 8, expected n // 2 = 16: zeros for what was not"
    (found,) = notes_of(KSpaceSlice.from_array(kspace_of()[:, 16:]))
    assert found.startswith(note)


def small_object(n):
    """Readout of an object of five pixels in the middle."""
    k = 2 * np.pi * (np.arange(n) - n // 2) / n
    return 1 + 2 * np.cos(k) + 2 * np.cos(2 * k)


SOUND = {
    "full": lambda k: (k,),
    "undersampled": lambda k: (k, LINES),
    "no centre line": lambda k: (k, LINES * (np.arange(48) != 24)),
    "no centre": lambda k: (k, LINES * (np.abs(np.arange(48) - 24) > 5)),
    "regular": lambda k: (k, np.arange(48) % 4 == 1),
    "partial Fourier": lambda k: (k, np.arange(48) >= 19),
    "asymmetric echo": lambda k: (k * (np.arange(41) >= 15),),
    "early echo": lambda k: (np.roll(k, -3, 2),),
    "late line": lambda k: (np.roll(k, 2, 1),),
    "two axes": lambda k: (k, np.random.default_rng(1).random(SHAPE) < 0.3),
    "spike": lambda k: (np.where(np.arange(48 * 41).reshape(SHAPE) == 70, 5 * k.max(), k),),
    "NaN": lambda k: (k * np.where(np.arange(48) == 3, np.nan, 1)[:, None],),
    "huge": lambda k: (1e38 * k / np.abs(k).max(),),
    "noise": lambda k: (np.random.default_rng(2).normal(size=(*k.shape, 2)).view(complex)[..., 0],),
    "few samples": lambda k: (k[:, 20:27, 17:24],),
    "one point": lambda k: (np.ones_like(k),),
    "few pixels": lambda k: (k[:, :1, :1] * np.multiply.outer(*(small_object(n) for n in SHAPE)),),
}
"""Kind of scan -> arguments of `KSpaceSlice.from_array`."""


@pytest.mark.parametrize("kind", SOUND)
def test_a_sound_scan_has_no_such_note(kind):
    assert notes_of(KSpaceSlice.from_array(*SOUND[kind](kspace_of()))) == []


IMAGES = {
    "coil images": image_of,
    "one coil": lambda k: image_of(k[:1]),
    "magnitude": lambda k: np.abs(image_of(k)).astype(complex),
    "unshifted": lambda k: np.fft.ifft2(k),
    "offset": lambda k: np.roll(image_of(k), (9, -7), axis=(1, 2)),
    "huge": lambda k: 1e37 * image_of(k) / np.abs(image_of(k)).max(),
}


@pytest.mark.parametrize("noise", [0.0, 0.1])
@pytest.mark.parametrize("kind", IMAGES)
def test_an_image_in_place_of_k_space_is_named(kind, noise):
    (note,) = notes_of(KSpaceSlice.from_array(IMAGES[kind](kspace_of(noise))))
    assert (
        note.startswith("the array looks like an image, expected k-space") and "ky and kx" in note
    )


@pytest.mark.parametrize("n", [32, 64, 96])
@pytest.mark.parametrize("n_points", [3, 6, 20])
def test_k_space_of_a_few_points_is_no_image(n, n_points):
    """As of a phantom of capillaries: it fills its plane, as an image does."""
    named = 0
    for seed in range(10):
        generator = np.random.default_rng(seed)
        image = np.zeros((n, n))
        image[tuple(generator.integers(0, n, (2, n_points)))] = 1
        named += is_image(np.fft.fftshift(np.fft.fft2(image * coil_profiles(4, (n, n)).numpy())))
    assert named <= 1


def test_a_volume_of_images_is_named():
    kspace = volume_of()
    made = KSpaceVolume.from_array(image_of(kspace, axes=(1, 2, 3)))
    assert [note for note in notes_of(made) if "kz and kx" in note]


@pytest.mark.parametrize("n_coils", [1, 4])
@pytest.mark.parametrize("lines", [np.ones(116), np.arange(116) % 3 == 1, np.arange(116) > 45])
def test_noisy_k_space_is_no_image(n_coils, lines):
    changes = {"n_coils": n_coils, "noise_db": 10.0, "mask": "full"}
    scan = simulate_protocol("brain-5x", brain_phantom((232, 256)), **changes)
    for kspace in (scan.kspace, np.fft.ifftshift(scan.kspace, axes=(1, 2))):
        assert not [n for n in KSpaceSlice.from_array(kspace, lines).notes if "image" in n]


def test_a_contradiction_repeats_what_was_noted():
    made = KSpaceSlice.from_array(image_of(kspace_of()))
    with pytest.raises(Contradiction, match=r"residual .*; the array looks like an image") as error:
        load_model("cg-sense+sinc")(made)
    assert "geometry" not in str(error.value) and "\n" not in str(error.value)
