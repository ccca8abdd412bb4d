"""Objects larger than the field of view: removal of the folded part from k-space.

Where two parts of the object lie on one pixel, no single set of maps explains the coils, and every
unfolding spreads the contradiction along the undersampled axis. There G has two eigenvalues of 1,
and the two eigenvectors explain the coils again (soft-SENSE: Uecker et al., MRM 2014;71:990):

    y = A_1 x_1 + A_2 x_2 + n,    (x_1, x_2) = argmin |A_1 x_1 + A_2 x_2 - y|^2 + lambda |x|^2

Models with one set of maps are given y - A_2 x_2, which their own maps explain; x_2 is put back as
|x| = sqrt(|x_1|^2 + |x_2|^2), so that x_2 alone keeps the resolution of the scan. Ours.

A second eigenvalue near 1 need not be a fold. It may be noise, of one element or of all: the ACS
has to have signal along its eigenvector. It may come from maps that change too fast for the kernel,
or from two images that were added up: an object that is folded over crosses the edge of the field
of view, so that there has to be signal along that edge.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from jrsr_core.matrix import lr_shape
from jrsr_core.physics.fourier import ifft2c
from jrsr_core.physics.resolution import Shape, crop_or_pad, decimate
from jrsr_core.physics.sense import SenseOperator
from jrsr_core.physics.solvers import conjugate_gradient
from jrsr_core.tensors import hann

from .espirit import CoilSubspace, soft_weight
from .settings import CalibrationSettings, kernel_shape
from .subspace import has_two_above

ABOVE_NOISE = 4.0
"""Power along second eigenvectors over that of noise; noise alone, whose row space follows from
the same samples, has up to 2."""

LEAST_SHARE = 3e-4
"""Of the power of the ACS; below it nothing is taken out. Coils that change too fast for the kernel
leave up to 1.5e-4, a fold that costs half a decibel has 6e-4."""

SURE = 0.96
"""Second eigenvalue that a folded object reaches somewhere."""

LEAST_AT_EDGE = 0.1
"""Power along an edge of the field of view over that of the strongest row or column: at least 0.18
in folded objects (2 to 16 coils, field of view 0.5 to 0.75 of the object), at most 0.07 in phantoms
that fill 92 % of it, sums of two slices, and scans with an element of noise."""

LAMBDA = 1e-2
"""Where A^H A <= 1. More than CG-SENSE has: noise of x_2 goes into k-space. 3e-3 is as good at
30 dB and loses 0.3 to 1.1 dB of `jrsr-dc` at 20 dB and threefold undersampling."""

N_ITER = 15


def image_maps(
    acs: Tensor,
    image_shape: Shape,
    noise_std: Callable[[], float],
    settings: CalibrationSettings,
) -> tuple[Tensor, Tensor | None]:
    """Return the maps, and those of what is folded onto the image.

    Parameters
    ----------
    acs, image_shape
        As in `espirit_maps`.
    noise_std
        Returns sqrt(E|n|^2) of one sample of the ACS; called only if there may be a fold, or noise
        above the threshold, because an estimate takes as long as the maps.
    settings
        `n_maps` counts as the number of coils where there are fewer.

    Returns
    -------
    csm, folded
        As from `folded_maps`. Where nothing is folded, or several sets of maps are asked for, the
        maps of `espirit_maps` and None.

    Raises
    ------
    ValueError
        As `espirit_maps`.
    """
    # The maps are on the HR grid.
    kernel = kernel_shape(lr_shape(image_shape), settings.kernel_width)
    # An estimate of the noise of one coil is an upper bound, which may be far too high.
    known = noise_std if len(acs) > 1 else None
    subspace = CoilSubspace.of_acs(
        acs, kernel_width=kernel, threshold=settings.threshold, noise_std=known
    )
    is_single = settings.n_maps == 1
    if is_single and reaches_edge(acs, image_shape) and may_be_folded(subspace, image_shape):
        pair = folded_maps(subspace, acs, image_shape, settings.crop, noise_std())
        if pair is not None:
            return pair
    n_maps = min(settings.n_maps, len(acs))
    return subspace.maps(image_shape, n_maps=n_maps, crop=settings.crop)[0], None


def reaches_edge(acs: Tensor, image_shape: Shape) -> bool:
    """Return whether the object reaches an edge of the field of view, along y or x.

    The ACS is taken under a Hann window, whose image has no ringing.
    """
    y, x = map(hann, acs.shape[-2:])
    window = torch.outer(y, x).to(acs.device)
    power = ifft2c(crop_or_pad(window * acs, image_shape)).abs().square().sum(0)
    profiles = (power.mean(axis) for axis in (0, 1))
    return any(float(p[0] + p[-1]) / 2 > LEAST_AT_EDGE * float(p.max()) for p in profiles)


def may_be_folded(subspace: CoilSubspace, image_shape: Shape) -> bool:
    """Return whether a second eigenvalue exceeds `SURE`; this costs less than the vectors."""
    if len(subspace.reference) < 2:
        return False
    return has_two_above(subspace.coefficients, image_shape, SURE)


def folded_maps(
    subspace: CoilSubspace, acs: Tensor, image_shape: Shape, crop: float, noise_std: float
) -> tuple[Tensor, Tensor] | None:
    """Return the maps of the image and of what is folded onto it; None if that is noise.

    Parameters
    ----------
    acs
        complex ``(coil, y, x)``; `noise_std` is sqrt(E|n|^2) of one of its samples.

    Returns
    -------
    csm, folded
        complex64 ``(coil, y, x)``: of unit norm, zero where the eigenvalue is below `crop`; and
        multiplied by the root of the soft weight of the second eigenvalue.
    """
    vectors, eigenvalues = subspace.vectors(image_shape, 2)
    weight = soft_weight(eigenvalues[1], crop)
    folded = vectors[1] * weight.sqrt()
    images = ifft2c(crop_or_pad(acs, image_shape))
    power = float((folded.conj() * images).sum(0).abs().square().sum())
    noise = noise_std**2 * acs[0].numel() * float(weight.mean())
    if power <= max(ABOVE_NOISE * noise, LEAST_SHARE * float(images.abs().square().sum())):
        return None
    return vectors[0] * (eigenvalues[0] > crop), folded


def take_out(kspace: Tensor, sense: SenseOperator, folded: Tensor) -> tuple[Tensor, Tensor]:
    """Return k-space without the folded part, and the folded part as an image.

    Parameters
    ----------
    kspace
        complex ``(batch, coil, ky, kx)``; `sense` its operator of one set of maps.
    folded
        The second set, ``(batch, coil, y, x)``.

    Returns
    -------
    kspace, image
        y - A_2 x_2; and x_2 over maps of unit norm, complex ``(batch, y, x)``.
    """
    pair = torch.stack((sense.csm, folded), -4)
    both = SenseOperator(pair, sense.mask, has_map_axis=True, lr_shape=sense.lr_shape)
    regularisation = LAMBDA * both.scale**2
    images, _ = conjugate_gradient(
        lambda x: both.gram(x) + regularisation * x,
        both.adjoint(kspace),
        n_iter=N_ITER,
        n_dims=both.n_image_dims,
    )
    second = images[..., 1, :, :]
    seen = SenseOperator(folded, sense.mask, lr_shape=sense.lr_shape)(second)
    return kspace - seen, folded.abs().square().sum(-3).sqrt() * second


def put_back(image: Tensor, folded: Tensor | None) -> Tensor:
    """Return ``sqrt(|image|^2 + |folded|^2)``, of the phase of the image if it is complex.

    `folded` is decimated where the image is on the LR grid, and may be None.
    """
    if folded is None:
        return image
    folded = decimate(folded, (image.shape[-2], image.shape[-1]))
    magnitude = torch.hypot(image.abs(), folded.abs())
    return torch.polar(magnitude, image.angle()) if image.is_complex() else magnitude
