"""The scan that an image comes from, and its place in it."""

from __future__ import annotations

from dataclasses import dataclass, field

from .geometry import Vector

VOLUME_COUNTERS = ("contrast", "phase", "repetition", "set")
"""Counters that the slices of one volume have in common, in the order in which texts name them."""


@dataclass(frozen=True)
class Counters:
    """Counters that identify an image of a scan; `encoding` is the encoding space of its lines."""

    slice: int = 0
    contrast: int = 0
    phase: int = 0
    repetition: int = 0
    set: int = 0
    average: int = 0
    encoding: int = 0

    @property
    def slice_key(self) -> tuple[int, int]:
        """Encoding space and slice number, which all images of one slice have in common."""
        return (self.encoding, self.slice)


@dataclass(frozen=True)
class AcquisitionStamp:
    """Fields an image header copies from the line nearest the k-space centre.

    Others come from all of its lines, and are 0 if they are unknown: `first_time_stamp` is the
    acquisition time stamp of the first line, `n_averages` how often a place of k-space was measured
    at most, `n_phase_encodes` the number of different ky, and `pixel_bandwidth_hz` the reciprocal
    of the sampling period of a whole readout.
    """

    measurement_uid: int = 0
    scan_counter: int = 0
    acquisition_time_stamp: int = 0
    physiology_time_stamp: tuple[int, int, int] = (0, 0, 0)
    user_int: tuple[int, ...] = (0,) * 8
    user_float: tuple[float, ...] = (0.0,) * 8
    first_time_stamp: int = 0
    n_averages: int = 0
    n_phase_encodes: int = 0
    pixel_bandwidth_hz: float = 0.0


@dataclass(frozen=True)
class ScanOrigin:
    """What the file of an image takes from its scan.

    Attributes
    ----------
    header_xml
        ISMRMRD header of the scan.
    recon_fov_mm
        Field of view ``(z, y, x)`` of the images that the scanner would deliver.
    series, number
        Series of the image, and its number within the series, from 1.
    first_time_stamp
        Acquisition time stamp of the first line of all images of the scan, 0 if it is unknown.
    """

    header_xml: str = field(repr=False)
    recon_fov_mm: Vector
    series: int = 1
    number: int = 1
    first_time_stamp: int = 0
