"""Fields of view that contradict the matrices of a header, and how they are read.

Some writers state the delivered field of view along z per partition, others double the encoded
matrix for oversampling and leave the encoded field of view as it was. Sizes are ``(z, y, x)``.
"""

from collections.abc import Iterator
from dataclasses import replace

from jrsr_core.mrd.errors import UnsupportedScan

from .encoding import Encoding

AXES = "zyx"

ABOUT = 0.25
"""Relative difference up to which partitions fill the encoded field of view: thicknesses are
rounded, and gaps are counted in or left out."""

MIN_SHARE = 0.4
"""Least share of the encoded field of view that oversampled partitions deliver."""

MANY = 3
"""Partitions from which on a field of view of one over their number cannot be meant as a crop."""

SAME = 0.05
"""Relative difference of two fields of view that are meant to be equal."""

OVERSAMPLED = 1.2
"""Encoded over delivered matrix from which on samples of one field of view may be oversampled."""

SMALL_SHARE = 0.25
"""Share of the partitions below which a crop is stated: slice oversampling delivers more."""


def read_as_meant(encoding: Encoding) -> Encoding:
    """Return the encoding with its fields of view as they are used, and a note on each doubt."""
    if encoding.is_3d:
        encoding = _whole_volume(encoding)
    return replace(encoding, notes=(*encoding.notes, *_phase_notes(encoding)))


def matrix_ratio(encoding: Encoding, axis: int) -> float:
    """Return encoded over delivered matrix of an axis where both have one field of view, else 1.

    A ratio of at least `OVERSAMPLED` is either oversampling, so that the encoded field of view is
    wider than stated, or a resolution that the delivered image does not have.
    """
    size, wanted = encoding.encoding_matrix[axis], encoding.recon_matrix[axis]
    mm, wanted_mm = encoding.encoding_fov_mm[axis], encoding.recon_fov_mm[axis]
    if wanted == 1 or size < OVERSAMPLED * wanted or abs(mm / wanted_mm - 1) > SAME:
        return 1.0
    return size / wanted


def doubt_note(encoding: Encoding, axis: int) -> str:
    """Return both readings of an axis of which `matrix_ratio` is above 1."""
    size, wanted = encoding.encoding_matrix[axis], encoding.recon_matrix[axis]
    mm, name = encoding.encoding_fov_mm[axis], AXES[axis]
    return (
        f"{size} samples are encoded along {name} and {wanted} wanted, both over {mm:.4g} mm: they "
        f"are taken as pixels of {mm / size:.3g} mm; if they are oversampled, the image is "
        f"squeezed, and encodedSpace/fieldOfView_mm/{name} has to be {mm * size / wanted:.4g}"
    )


def check_crop(encoding: Encoding) -> None:
    """Decline an image that would be narrower than one of its pixels along a phase encode.

    Raises
    ------
    UnsupportedScan
        A delivered field of view below one encoded pixel.
    """
    for axis in _phase_encodes(encoding):
        wanted, whole = encoding.recon_fov_mm[axis], encoding.encoding_fov_mm[axis]
        pixel = whole / encoding.encoding_matrix[axis]
        if wanted < (1 - SAME) * pixel:
            raise UnsupportedScan(
                f"header: reconSpace/fieldOfView_mm/{AXES[axis]} is {wanted:g} mm, less than one "
                f"encoded pixel of {pixel:.4g} mm: write the field of view of the whole image "
                f"(encodedSpace: {whole:g} mm)"
            )


def _phase_encodes(encoding: Encoding) -> tuple[int, ...]:
    return (0, 1) if encoding.is_3d else (1,)


def _phase_notes(encoding: Encoding) -> Iterator[str]:
    """Yield the notes on axes whose samples cannot show which reading is right."""
    for axis in _phase_encodes(encoding):
        if matrix_ratio(encoding, axis) > 1:
            yield doubt_note(encoding, axis)


def _whole_volume(encoding: Encoding) -> Encoding:
    """Return the encoding with the field of view of all partitions where that of one is stated."""
    stated, n = encoding.recon_fov_mm[0], encoding.recon_matrix[0]
    whole, n_encoded = encoding.encoding_fov_mm[0], encoding.encoding_matrix[0]
    if _is_of_one_partition(encoding):
        note = (
            f"reconSpace/fieldOfView_mm/z is {stated:g} mm, that of the encoded space {whole:g} "
            f"mm: it is taken as the thickness of one of {n} partitions, together {n * stated:g} mm"
        )
        fov_mm = (n * stated, *encoding.recon_fov_mm[1:])
        return replace(encoding, recon_fov_mm=fov_mm, notes=(*encoding.notes, note))
    if n > 1 and stated < SMALL_SHARE * whole:
        note = (
            f"reconSpace/fieldOfView_mm/z is {stated:g} of {whole:g} mm: of {n_encoded} partitions "
            f"{max(1, round(n_encoded * stated / whole))} are kept"
        )
        return replace(encoding, notes=(*encoding.notes, note))
    return encoding


def _is_of_one_partition(encoding: Encoding) -> bool:
    """Whether the delivered field of view along z is the thickness of a partition."""
    stated, n = encoding.recon_fov_mm[0], encoding.recon_matrix[0]
    whole, n_encoded = encoding.encoding_fov_mm[0], encoding.encoding_matrix[0]
    filled = n * stated / whole
    if n == 1 or filled > 1 + ABOUT:
        return False
    is_thin = stated <= 1.5 * whole / n_encoded
    return (is_thin and filled >= MIN_SHARE) or (n >= MANY and filled >= 1 - ABOUT)
