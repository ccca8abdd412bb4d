"""Writing images: into a file beside the target, which takes its place only when complete."""

import os
import shutil
import tempfile
from pathlib import Path
from types import TracebackType

import h5py
import ismrmrd

from jrsr_core.mrd.files.scan import DATASET

SPACE_MARGIN = 2**20
"""Bytes that header, attributes and the structure of a file may take besides the pixels."""


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
        self.overwrite = overwrite
        check_target(self.path, overwrite=overwrite)
        self._temporary = temporary_beside(self.path)
        try:
            check_space(self.path.parent, 0)
        except OSError:
            self._temporary.unlink()
            raise
        h5py.File(self._temporary, "w").close()
        self._dataset = ismrmrd.Dataset(str(self._temporary), DATASET)
        self._dataset.write_xml_header(header_xml.encode("utf-8"))
        self._layouts: dict[int, list[tuple[int, ...]]] = {}
        self.n_images = 0

    def write(self, image: ismrmrd.Image) -> None:
        """Append one image to the group of its series and layout."""
        check_space(self.path.parent, image.data.nbytes)
        self._dataset.append_image(self._group(image), image)
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
        try:
            self._dataset.close()
            if kind is None:
                publish(self._temporary, self.path, overwrite=self.overwrite)
        finally:
            self._temporary.unlink(missing_ok=True)


def check_target(path: Path, *, overwrite: bool) -> None:
    """Raise before any work is done if `path` may not be written."""
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists, --overwrite replaces it")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"folder {path.parent} does not exist")
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(f"folder {path.parent} is not writable")


def check_space(folder: Path, n_bytes: int) -> None:
    """Raise `OSError` unless so many bytes, and a margin, are free: HDF5 crashes on a full disk."""
    free = shutil.disk_usage(folder).free
    if free < n_bytes + SPACE_MARGIN:
        needed = (n_bytes + SPACE_MARGIN) / 2**20
        text = f"no space left in {folder}: {needed:.1f} MiB needed, {free / 2**20:.1f} MiB free"
        raise OSError(text)


def temporary_beside(path: Path) -> Path:
    """Create an empty hidden file in the folder of `path`, so that a rename can finish the job."""
    try:
        handle, name = tempfile.mkstemp(
            prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent
        )
    except OSError as error:
        raise PermissionError(f"folder {path.parent} cannot be written: {error.strerror}") from None
    os.close(handle)
    umask = os.umask(0)
    os.umask(umask)
    Path(name).chmod(0o666 & ~umask)
    return Path(name)


def write_whole(path: Path, data: bytes, *, overwrite: bool) -> None:
    """Write a file that appears complete or not at all; raises as `publish`."""
    temporary = temporary_beside(path)
    try:
        temporary.write_bytes(data)
        publish(temporary, path, overwrite=overwrite)
    finally:
        temporary.unlink(missing_ok=True)


def publish(temporary: Path, path: Path, *, overwrite: bool) -> None:
    """Move a finished file to its place; a file that appeared meanwhile is not replaced."""
    if path.exists() and not overwrite:
        temporary.unlink()
        raise FileExistsError(f"{path} appeared meanwhile, --overwrite replaces it")
    temporary.replace(path)
