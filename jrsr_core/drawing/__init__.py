"""Pictures for reports and figures, made of numpy arrays."""

from .picture import captioned, encode_png, enlarged, framed, in_corner, mosaic, png_chunk, to_grey

__all__ = [
    "captioned",
    "encode_png",
    "enlarged",
    "framed",
    "in_corner",
    "mosaic",
    "png_chunk",
    "to_grey",
]
