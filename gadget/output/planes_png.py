"""Writes MRD images, ours or those of others, as one picture."""

from pathlib import Path

import numpy as np

from jrsr_core.atomic import check_target, write_bytes
from jrsr_core.spread import spread

from .picture import Caption, encode_png, grey_picture, montage
from .planes import Plane
from .png import MAX_TILES, in_proportion
from .series import PlaneWriter, Series


class PlanesPngWriter(PlaneWriter):
    """Writer of one picture of all planes, or of evenly spread ones; each series has its scale."""

    def __init__(self, path: Path, header_xml: str, *, overwrite: bool = False) -> None:
        check_target(path, overwrite=overwrite)
        super().__init__(path, header_xml, overwrite=overwrite)

    def save(self) -> None:
        """Write the picture."""
        self.check_left_out()
        several = self.store.finished()
        n_planes = sum(len(series.planes) for series in several)
        chosen, number, tiles = set(spread(n_planes, MAX_TILES)), 0, []
        for series in several:
            top = self._top(series)
            for plane in self.store.planes(series):
                if number in chosen:
                    picture = in_proportion(grey_picture(np.abs(plane.pixels), top), plane.spacing)
                    tiles.append((picture, _caption(series, plane)))
                number += 1
        footer = f"{self.path.stem}. Research use only."
        write_bytes(self.path, encode_png(montage(tiles, footer=footer)), overwrite=self.overwrite)

    def _top(self, series: Series) -> float:
        """Return the grey level of white of a series."""
        return max(float(np.quantile(np.abs(p.pixels), 0.995)) for p in self.store.planes(series))


def _caption(series: Series, plane: Plane) -> Caption:
    """Return series and number of an image, its map or part of a complex image, and FALLBACK."""
    part = "" if plane.part == "MAGNITUDE" else f", {plane.part.lower()}"
    if name := plane.meta.get("JRSR_map"):
        part = f", {name}"
    mark = ": FALLBACK" if plane.is_fallback else ""
    return (f"series {series.number}, image {plane.number}{part}{mark}",)
