"""Maps of a `ReconImage` as images of a series of their own, with the header of the image."""

from dataclasses import replace

import ismrmrd

from ..geometry import ReconImage
from .header import ScanHeader
from .images import to_mrd_image, window

WHITE = 0.2
"""Part of the image's window at which a map is white: maps of all slices can be compared."""

MEANING = {
    "hallucination": "what contradicts the measurement, or is finer than its detail allows",
    "taken_back": "what the network drew against the measurement",
    "unmeasured": "what the network, not the samples, stands for",
}


def to_mrd_map(image: ReconImage, name: str, header: ScanHeader, **places: int) -> ismrmrd.Image:
    """Return the map `name`, float32 in the units of the image; `places` as `to_mrd_image`."""
    top = WHITE * window(image)[1]
    mrd = to_mrd_image(replace(image, image=image.maps[name], maps={}), header, **places)
    comment = [f"MAP, not an image: {MEANING[name]}", f"white is {WHITE:g} of the image's"]
    series = f"JRSR_{image.report.model}_{name}"
    meta = mrd.meta
    changes = {
        "JRSR_map": name,
        "GADGETRON_DataRole": "Map",
        "DataRole": "Map",
        "GADGETRON_ImageComment": comment,
        "ImageComment": comment,
        "ImageComments": "; ".join(comment),
        "GADGETRON_SeqDescription": f"_{series}",
        "SequenceDescriptionAdditional": series,
    }
    for prefix in ("", "GADGETRON_"):
        changes |= {f"{prefix}WindowCenter": str(top / 2), f"{prefix}WindowWidth": str(top)}
    for key, value in changes.items():
        meta[key] = value
    mrd.meta = meta
    return mrd
