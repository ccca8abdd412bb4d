"""Crop of a finished image to the field of view that the scanner would deliver."""

from dataclasses import replace

from jrsr_core.data import ReconImage, Vector
from jrsr_core.physics.resolution import crop_or_pad


def crop_to_fov(image: ReconImage, fov_mm: Vector) -> ReconImage:
    """Return the image cropped to the field of view ``(z, y, x)`` about the same centre.

    This removes oversampling of the phase encodes; a 2-D image keeps its thickness. An axis that is
    not wider than `fov_mm` stays as it is. HR and LR image keep one field of view, a whole number
    of LR pixels.

    Raises
    ------
    ValueError
        An axis of `fov_mm` is narrower than half an LR pixel: nothing would be left.
    """
    n_axes = image.image.ndim
    hr, lr = tuple(image.image.shape), tuple(image.low_resolution.shape)
    old = image.geometry.fov_mm
    ratio = [min(1.0, new / now) for new, now in zip(fov_mm, old, strict=True)][-n_axes:]
    lr_size = tuple(round(n * r) for n, r in zip(lr, ratio, strict=True))
    if not all(lr_size):
        shown = " x ".join(f"{mm:g}" for mm in fov_mm)
        whole = " x ".join(f"{mm:g}" for mm in old)
        raise ValueError(
            f"the field of view {shown} mm (z, y, x) keeps no pixel of an image of {whole} mm"
        )
    hr_size = tuple(n * m // k for n, m, k in zip(hr, lr_size, lr, strict=True))
    if hr_size == hr:
        return image
    cropped = [mm * m / n for mm, m, n in zip(old[-n_axes:], hr_size, hr, strict=True)]
    z, y, x = (*old[:-n_axes], *cropped)
    return replace(
        image,
        image=crop_or_pad(image.image, hr_size),
        low_resolution=crop_or_pad(image.low_resolution, lr_size),
        maps={name: crop_or_pad(value, hr_size) for name, value in image.maps.items()},
        geometry=replace(image.geometry, fov_mm=(z, y, x)),
    )
