"""Images as integers, for programs that take no floating-point pixels.

    value = scale * n,   n = round(value / scale) = 0 .. 4095

One scale holds for all images of a measurement, so that they can be compared.
"""

import ismrmrd
import numpy as np

GREATEST = 4095
"""The largest pixel value of a measurement, 12 bits: viewers and scanners expect no more."""

TYPES: dict[str, type[np.integer]] = {"int16": np.int16, "uint16": np.uint16}
"""Setting -> type of a pixel."""

SCALE = "JRSR_value_of_one"
"""Attribute with the value of a pixel of 1."""

_WINDOWS = tuple(
    f"{prefix}Window{part}" for prefix in ("", "GADGETRON_") for part in ("Center", "Width")
)


def to_integers(image: ismrmrd.Image, scale: float, kind: type[np.integer]) -> ismrmrd.Image:
    """Return an image with pixels round(value / scale) of type `kind`; attributes say the scale."""
    exact = np.rint(np.asarray(image.data, np.float64) / scale)
    made = ismrmrd.Image.from_array(exact.astype(kind), transpose=False)
    head = image.getHead()
    head.data_type = made.data_type
    made.setHead(head)
    meta = image.meta
    for name in _WINDOWS:
        if name in meta:
            meta[name] = str(round(float(meta[name]) / scale))
    meta[SCALE] = repr(scale)
    meta["GADGETRON_ScaleRatio"] = repr(1 / scale)
    made.meta = meta
    return made


def values_of(image: ismrmrd.Image) -> np.ndarray:
    """Return the pixels in the unit that they had before `to_integers`."""
    return np.asarray(image.data) * np.float32(scale_of(image))


def meta_of(image: ismrmrd.Image) -> dict:
    """Return the attributes as they were before `to_integers`, windows in the unit of values."""
    meta, scale = dict(image.meta), scale_of(image)
    if scale != 1.0:
        for name in _WINDOWS:
            try:
                meta[name] = str(float(meta[name]) * scale)
            except (KeyError, TypeError, ValueError):
                continue
    return meta


def scale_of(image: ismrmrd.Image) -> float:
    """Return the value of a pixel of 1; 1.0 if the image does not state it."""
    try:
        scale = float(image.meta.get(SCALE) or 1.0)
    except (TypeError, ValueError):
        return 1.0
    return scale if np.isfinite(scale) and scale > 0 else 1.0
