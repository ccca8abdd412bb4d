"""Which images of a scan a picture shows, and the mosaic of them as PNG."""

from collections.abc import Sequence

import numpy as np

from jrsr_core.drawing import encode_png, mosaic, to_grey

MAX_TILES = 64


def pick_tiles(n_images: int) -> set[int]:
    """Return which images of a scan a picture shows: all, or evenly spread ones."""
    n = min(n_images, MAX_TILES)
    return {round(i) for i in np.linspace(0, n_images - 1, n)} if n else set()


def central_planes(image: np.ndarray) -> list[np.ndarray]:
    """Return an image ``(y, x)``, or the planes y-x, z-x and z-y through the centre of a volume.

    Planes are padded with zeros to one size.
    """
    if image.ndim == 2:
        return [image]
    z, y, x = (n // 2 for n in image.shape)
    planes = [image[z], image[:, y], image[:, :, x]]
    size = [max(p.shape[axis] for p in planes) for axis in (0, 1)]
    return [np.pad(p, [(0, n - m) for n, m in zip(size, p.shape, strict=True)]) for p in planes]


def magnitude_mosaic(images: Sequence[np.ndarray]) -> bytes:
    """PNG of magnitudes ``(y, x)`` on one grey scale."""
    top = float(np.quantile(np.concatenate([image.ravel() for image in images]), 0.995))
    return encode_png(mosaic([to_grey(image, top) for image in images]))
