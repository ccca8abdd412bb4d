"""Converts pixel values to the integers that are stored, with one scale for a series.

    value = scale * n,   n = round(value / scale)

The integers are in 0..4095, or in -2047..2047 if the series has negative values. Classic
MR images have no rescale (PS3.3 C.8.3.1) and viewers expect 12 bits, so the scale stands in the
Real World Value Mapping Sequence alone (PS3.3 C.7.6.16.2.11).
"""

import math
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from gadget.output.series.store import Series

BITS = 12
UNSIGNED_MAX, SIGNED_MAX = 2**BITS - 1, 2 ** (BITS - 1) - 1
LARGEST_WINDOW = 10**9
"""Stored units; a decimal string has room for 16 characters."""


@dataclass(frozen=True)
class StoredValues:
    """How the pixels of a series are stored.

    Attributes
    ----------
    scale
        Pixel value of 1 stored unit.
    is_signed
        Whether pixels are stored as signed integers.
    window
        Centre and width of the linear display window, in stored units.
    unit
        Unit of the values: code of UCUM and its meaning.
    """

    scale: float
    is_signed: bool
    window: tuple[int, int]
    unit: tuple[str, str]

    @property
    def limits(self) -> tuple[int, int]:
        """Smallest and largest stored integer."""
        return (-SIGNED_MAX, SIGNED_MAX) if self.is_signed else (0, UNSIGNED_MAX)

    def pixels(self, values: np.ndarray) -> np.ndarray:
        """Return pixel values as 16-bit integers."""
        exact = np.asarray(values, np.float64) / self.scale
        stored = np.clip(np.round(exact), *self.limits)
        return stored.astype("<i2" if self.is_signed else "<u2")

    def put_format(self, ds: Dataset) -> None:
        """Set the attributes of the integers themselves."""
        ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, BITS, BITS - 1
        ds.PixelRepresentation = int(self.is_signed)

    def put_window(self, ds: Dataset) -> None:
        """Set the display window; the item of a functional group takes the same attributes."""
        ds.WindowCenter, ds.WindowWidth = map(str, self.window)
        ds.VOILUTFunction = "LINEAR"

    def real_world(self) -> Dataset:
        """Return the item of a Real World Value Mapping Sequence, which has the scale."""
        units = Dataset()
        units.CodeValue, units.CodeMeaning = self.unit
        units.CodingSchemeDesignator = "UCUM"
        item = Dataset()
        item.LUTExplanation = "Pixel value of the reconstruction"
        item.LUTLabel = "VALUE"
        vr = "SS" if self.is_signed else "US"
        first, last = self.limits
        item.add_new("RealWorldValueFirstValueMapped", vr, first)
        item.add_new("RealWorldValueLastValueMapped", vr, last)
        item.RealWorldValueIntercept, item.RealWorldValueSlope = 0.0, self.scale
        item.MeasurementUnitsCodeSequence = Items([units])
        return item


def stored_values(series: Series) -> StoredValues:
    """Return how the pixels of a complete series are stored."""
    is_signed = series.bottom < 0
    peak = max(series.top, -series.bottom)
    is_phase = series.planes[0].part == "PHASE" and peak <= math.pi * (1 + 1e-6)
    if is_phase:
        # The whole circle is the range, so that phase images of all series can be compared.
        is_signed, peak = True, max(peak, math.pi)
    most = SIGNED_MAX if is_signed else UNSIGNED_MAX
    scale = peak / most if peak > 0 else 1.0
    return StoredValues(
        scale=scale,
        is_signed=is_signed,
        window=_window(*series.window, scale),
        unit=("rad", "radian") if is_phase else ("1", "no units"),
    )


def _window(center: float, width: float, scale: float) -> tuple[int, int]:
    """Return centre and width of the linear window that spans the same stored values.

    By its definition (PS3.3 C.11.2.1.2.1) it spans ``width`` integers from ``center - width / 2``.
    """
    low = round((center - width / 2) / scale)
    half = max(1, round((width / scale + 1) / 2))
    middle = min(max(low + half, -LARGEST_WINDOW), LARGEST_WINDOW)
    return middle, 2 * min(half, LARGEST_WINDOW)
