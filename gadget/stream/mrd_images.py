"""Images as items of an MRD v2 stream."""

from types import ModuleType
from typing import Any

import ismrmrd
import numpy as np

from jrsr_core.mrd.header.scan_header import LIMITED_COUNTERS

from .mrd_lines import NS_PER_MS

KINDS = {
    np.dtype("u2"): "ImageUint16",
    np.dtype("i2"): "ImageInt16",
    np.dtype("f4"): "ImageFloat",
    np.dtype("c8"): "ImageComplexFloat",
}
"""Pixel type -> item of the stream."""


def image_item(image: ismrmrd.Image, mrd: ModuleType) -> Any:
    """Return an image as an item for the writer of the package `mrd`, pixels (channel, z, y, x)."""
    given = image.getHead()
    head = mrd.ImageHeader(image_type=mrd.ImageType(given.image_type or 1))
    head.flags = mrd.ImageFlags(given.flags)
    head.measurement_uid = given.measurement_uid
    head.field_of_view = np.array(given.field_of_view, np.float32)
    head.position = np.array(given.position, np.float32)
    head.col_dir = np.array(given.read_dir, np.float32)
    head.line_dir = np.array(given.phase_dir, np.float32)
    head.slice_dir = np.array(given.slice_dir, np.float32)
    head.patient_table_position = np.array(given.patient_table_position, np.float32)
    for name in LIMITED_COUNTERS:
        setattr(head, name, getattr(given, name))
    physiology = list(given.physiology_time_stamp)
    if hasattr(head, "acquisition_time_stamp_ns"):
        head.acquisition_time_stamp_ns = given.acquisition_time_stamp * NS_PER_MS
        head.physiology_time_stamp_ns = [stamp * NS_PER_MS for stamp in physiology]
    else:
        head.acquisition_time_stamp = given.acquisition_time_stamp
        head.physiology_time_stamp = physiology
    head.image_index = given.image_index
    head.image_series_index = given.image_series_index
    head.user_int, head.user_float = list(given.user_int), list(given.user_float)
    pixels = np.ascontiguousarray(image.data)
    item = getattr(mrd.StreamItem, KINDS[pixels.dtype])
    return item(mrd.Image(head=head, data=pixels, meta=_meta(image, mrd)))


def _meta(image: ismrmrd.Image, mrd: ModuleType) -> dict[str, list[Any]]:
    """Return the attributes of an image, all of them texts, as in ISMRMRD v1."""
    values = {}
    for name, value in image.meta.items():
        texts = value if isinstance(value, list) else [value]
        values[name] = [mrd.ImageMetaValue.String(str(text)) for text in texts]
    return values
