"""Images of a measurement as integers with one scale, and another one for each kind of map.

The scale is known when the last image is, so the images are held back until then.
"""

from collections.abc import Iterator

import ismrmrd
import numpy as np

from jrsr_core.common.atomic import spooled_file
from jrsr_core.mrd.grey_values import GREATEST, TYPES, to_integers

IN_MEMORY = 2**26
"""Bytes of images that are held back in memory; a file without a name holds more."""


class CommonScale:
    """Holds the images of a measurement back, then returns them as integers with one scale.

    Parameters
    ----------
    kind
        One of `TYPES`; any other name lets every image pass at once, as it is.
    """

    def __init__(self, kind: str) -> None:
        self._type = TYPES.get(kind)
        self._file = spooled_file(IN_MEMORY)
        self._held: list[tuple[ismrmrd.ImageHeader, ismrmrd.Meta]] = []
        self._greatest: dict[str, float] = {}

    def add(self, image: ismrmrd.Image) -> Iterator[ismrmrd.Image]:
        """Yield the image if it passes; keep it until `finish` otherwise."""
        if self._type is None:
            yield image
            return
        pixels = np.asarray(image.data, np.float32)
        self._held.append((image.getHead(), image.meta))
        self._file.write(pixels.tobytes())
        kind = _kind(image)
        self._greatest[kind] = max(self._greatest.get(kind, 0.0), float(pixels.max(initial=0.0)))

    def finish(self) -> Iterator[ismrmrd.Image]:
        """Yield the images that were held back, in their order."""
        held, self._held = self._held, []
        self._file.seek(0)
        for head, meta in held:
            shape = (head.channels, *reversed(list(head.matrix_size)))
            pixels = np.frombuffer(self._file.read(4 * int(np.prod(shape))), np.float32)
            image = ismrmrd.Image.from_array(pixels.reshape(shape), transpose=False)
            image.setHead(head)
            image.meta = meta
            scale = self._greatest[_kind(image)] / GREATEST or 1.0
            yield to_integers(image, scale, self._type or np.uint16)

    def close(self) -> None:
        """Delete what is held back."""
        self._file.close()


def _kind(image: ismrmrd.Image) -> str:
    return str(image.meta.get("JRSR_map") or "")
