"""The last resort: an image for any samples and after any failure, finite and of the right size."""

import dataclasses

import numpy as np
import pytest
import torch

from jrsr_core.acs import cut_acs
from jrsr_core.common.cancellation import Cancelled
from jrsr_core.data import KSpaceSlice, SliceGeometry
from jrsr_core.reconstruction import fallback
from jrsr_core.reconstruction.fallback import fallback_image
from jrsr_core.reconstruction.load import load_model
from jrsr_core.simulation.phantoms import brain_phantom
from jrsr_core.simulation.protocols import simulate_protocol

GEOMETRY = SliceGeometry((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (5, 200, 200))
FAILURES = (
    RuntimeError("MKL FFT error: Intel oneMKL DFTI ERROR: Inconsistent configuration parameters"),
    torch.linalg.LinAlgError("linalg.svd: failed to converge"),
    MemoryError(),
    ValueError("no ACS"),
    ZeroDivisionError(),
)


@pytest.fixture(scope="module")
def recon():
    return load_model("zero-filled+sinc")


@pytest.fixture(scope="module")
def measured():
    scan = simulate_protocol(
        "brain-5x", brain_phantom((96, 112)), n_coils=4, n_acs=20, acceleration=1.8
    )
    return KSpaceSlice(scan.kspace, scan.mask, cut_acs(scan.kspace, scan.mask), GEOMETRY)


def scaled(slice_, factor):
    """The slice with its samples multiplied in double precision."""
    kspace, acs = (
        (factor * x.to(torch.complex128)).to(torch.complex64) for x in (slice_.kspace, slice_.acs)
    )
    return dataclasses.replace(slice_, kspace=kspace, acs=acs)


def root_sum_of_squares(slice_):
    """The zero-filled LR image in NumPy, complex128."""
    kspace = slice_.kspace.numpy().astype(np.complex128)
    axes = (-2, -1)
    coils = np.fft.fftshift(
        np.fft.ifft2(np.fft.ifftshift(kspace, axes), axes=axes, norm="ortho"), axes
    )
    return np.sqrt((np.abs(coils) ** 2).sum(0))


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
def test_any_failure_ends_in_the_zero_filled_image(error, recon, measured, monkeypatch):
    def fail(*_):
        raise error

    monkeypatch.setattr(fallback, "_cg_sense", fail)
    image = fallback_image(recon.slices, measured, "the first reason")
    assert (image.report.model, image.report.fallback) == ("zero-filled+sinc", "the first reason")
    np.testing.assert_allclose(
        image.low_resolution.real, root_sum_of_squares(measured), rtol=1e-6, atol=1e-7
    )
    # Both grids are centred: LR pixels are HR pixels of a sinc-interpolated image.
    assert image.image.shape == (96, 112) and image.image.dtype == torch.complex64
    np.testing.assert_allclose(image.image[::2, ::2], image.low_resolution, atol=1e-5)


def test_an_image_that_is_not_finite_is_not_delivered(recon, measured, monkeypatch):
    nothing = torch.full((48, 56), torch.nan, dtype=torch.complex64)
    monkeypatch.setattr(fallback, "_cg_sense", lambda *_: (nothing, nothing))
    image = fallback_image(recon.slices, measured, "why")
    assert image.report.model == "zero-filled+sinc" and torch.isfinite(image.magnitude).all()


def test_a_peer_that_has_gone_gets_no_image(recon, measured, monkeypatch):
    def gone(*_):
        raise Cancelled

    monkeypatch.setattr(fallback, "_cg_sense", gone)
    with pytest.raises(Cancelled):
        fallback_image(recon.slices, measured, "why")


@pytest.mark.parametrize("factor", [1e-42, 1e-30, 1e-20, 1e-10, 1e10, 1e18, 1e22, 1e30, 1e36])
def test_samples_of_any_size(factor, recon, measured):
    image = (
        fallback_image(recon.slices, scaled(measured, factor), "why").magnitude.double() / factor
    )
    plain = fallback_image(recon.slices, measured, "why").magnitude
    assert torch.isfinite(image).all()
    # The last resort has another shading than CG-SENSE; both show the same object.
    both = torch.stack([image.flatten(), plain.double().flatten()])
    assert float(torch.corrcoef(both)[0, 1]) > 0.85
    assert 0.5 < float(image.max() / plain.max()) < 2


@pytest.mark.parametrize("size", [0.0, 1e-45, 3e38])
def test_samples_at_the_ends_of_the_range(size, recon, measured):
    kspace = torch.full_like(measured.kspace, complex(size, -size))
    extreme = dataclasses.replace(measured, kspace=kspace, acs=cut_acs(kspace, measured.mask))
    image = fallback_image(recon.slices, extreme, "why")
    assert torch.isfinite(torch.view_as_real(image.image)).all()
    assert torch.isfinite(image.magnitude).all()
    if size == 0:
        assert not image.magnitude.any()


def test_every_sample_damaged(recon, measured):
    kspace = torch.full_like(measured.kspace, torch.nan)
    image = fallback_image(
        recon.slices, dataclasses.replace(measured, kspace=kspace, acs=kspace), "why"
    )
    assert not image.magnitude.any()


@pytest.mark.parametrize("part", [complex(np.nan, 1), complex(1, np.inf)])
def test_a_sample_damaged_in_one_coil_counts_as_not_measured(part, recon, measured):
    """In the centre of k-space; the calibration lines are sound."""
    y, x = 24, 28
    kspace, mask = measured.kspace.clone(), measured.mask.clone()
    kspace[2, y, x], mask[y, x] = part, 0
    damaged = dataclasses.replace(measured, kspace=kspace)
    rest = fallback._without_bad_samples(damaged)
    assert torch.equal(rest.mask, mask) and rest.kspace[2, y, x] == 0
    # The samples of the other coils contradict nothing: the image is that of the others.
    ours = fallback_image(recon.slices, damaged, "why")
    never = dataclasses.replace(measured, kspace=mask * measured.kspace, mask=mask)
    assert ours.report.model == "cg-sense+sinc" and not ours.report.warnings
    assert torch.equal(ours.image, fallback_image(recon.slices, never, "why").image)
