"""Writer of ISMRMRD image files."""

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import h5py
import ismrmrd

from jrsr_core.common.atomic import check_space, whole_file

from .image_texts import with_empty_texts
from .scan import DATASET


class ImageWriter:
    """Context manager that collects images in ``/dataset/image_<series>`` of an ISMRMRD file.

    Images of another matrix or data type than the first of their series, which one group cannot
    hold, go to ``image_<series>_1`` and so on.

    On leaving without an error the file moves to `path`; after an error nothing is left.

    Raises
    ------
    FileExistsError
        `path` exists and `overwrite` is False.
    OSError
        The folder cannot be written.
    """

    def __init__(self, path: str | Path, header_xml: str, *, overwrite: bool = False) -> None:
        self.path = Path(path)
        with ExitStack() as stack:
            temporary = stack.enter_context(whole_file(self.path, overwrite=overwrite))
            check_space(self.path.parent, 0)
            h5py.File(temporary, "w").close()
            self._dataset = ismrmrd.Dataset(str(temporary), DATASET)
            stack.callback(self._dataset.close)
            self._dataset.write_xml_header(header_xml.encode("utf-8"))
            self._on_exit = stack.pop_all()
        self._layouts: dict[int, list[tuple[int, ...]]] = {}
        self.n_images = self._n_bytes = 0

    def write(self, image: ismrmrd.Image) -> None:
        """Append one image to the group of its series and layout."""
        n_bytes = image.data.nbytes + len(image.attribute_string)
        check_space(self.path.parent, n_bytes, self._n_bytes)
        self._n_bytes += n_bytes
        self._dataset.append_image(self._group(image), with_empty_texts(image))
        self.n_images += 1

    def _group(self, image: ismrmrd.Image) -> str:
        layouts = self._layouts.setdefault(image.image_series_index, [])
        layout = (image.data_type, *image.data.shape)
        if layout not in layouts:
            layouts.append(layout)
        n = layouts.index(layout)
        return f"image_{image.image_series_index}" + (f"_{n}" if n else "")

    def __enter__(self) -> "ImageWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._on_exit.__exit__(kind, error, trace)
