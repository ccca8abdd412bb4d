"""Writes MRD images, ours or those of others, as one picture."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from gadget.output.options import DEFAULTS, OutputOptions
from gadget.output.series.planes import Plane
from gadget.output.series.store import PlaneWriter, Series
from jrsr_core.common.atomic import check_target, write_bytes
from jrsr_core.mrd.images import white_of

from .draw import Caption, encode_png, grey_picture, montage
from .png import in_proportion
from .shown import Shown


class PlanesPngWriter(PlaneWriter):
    """Writer of one picture of all planes, or of those that `Shown` takes; a scale per series."""

    def __init__(self, path: Path, header_xml: str, options: OutputOptions = DEFAULTS) -> None:
        check_target(path, overwrite=options.overwrite)
        super().__init__(path, header_xml, replace(options, with_phase=False))

    def save(self) -> None:
        """Write the picture."""
        self.check_left_out()
        several = self.store.finished()
        planes = [plane for series in several for plane in series.planes]
        shown, tiles = Shown(len(planes), _noun(planes)), []
        for series in several:
            top = self._top(series)
            for plane in self.store.planes(series):
                if shown.takes(is_fallback=plane.is_fallback):
                    picture = in_proportion(grey_picture(np.abs(plane.pixels), top), plane.spacing)
                    tiles.append((picture, _caption(series, plane)))
        footer = shown.footer(self.path.stem)
        write_bytes(self.path, encode_png(montage(tiles, footer=footer)), overwrite=self.overwrite)

    def _top(self, series: Series) -> float:
        """Return the grey level of white of a series."""
        return max(white_of(np.abs(p.pixels)) for p in self.store.planes(series))


def _noun(planes: Sequence[Plane]) -> str:
    """Return what the planes are called: each is an image, or one of many planes of a volume."""
    return "image" if all(plane.step is None for plane in planes) else "plane"


def _caption(series: Series, plane: Plane) -> Caption:
    """Return series, number, map or part of a complex image, and FALLBACK of a plane."""
    part = "" if plane.part == "MAGNITUDE" else f", {plane.part.lower()}"
    if name := plane.meta.get("JRSR_map"):
        part = f", {name}"
    mark = ": FALLBACK" if plane.is_fallback else ""
    return (f"series {series.number}, {_noun([plane])} {plane.number}{part}{mark}",)
