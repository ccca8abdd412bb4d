"""The DICOM folder of a scan: one file per plane, one series per image series."""

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from gadget.output.planes import PlaneStore, Series, planes_of
from jrsr_core.atomic import whole_folder

from .classic import classic_image, series_facts
from .enhanced import enhanced_image
from .identifiers import make_uid
from .labels import Labels

SUFFIX = ".dcm"
IMPLEMENTATION = make_uid("implementation")


class DicomWriter:
    """Context manager that leaves a folder of ``series<n>_<image>.dcm``, complete or not at all.

    Raises
    ------
    FileExistsError
        `path` exists and `overwrite` is False, or it holds something else than DICOM files.
    OSError
        The folder cannot be written.
    """

    def __init__(self, path: Path, header_xml: str, *, overwrite: bool = False) -> None:
        self.path = path
        self._labels = Labels(header_xml)
        with ExitStack() as stack:
            self._folder = stack.enter_context(whole_folder(path, SUFFIX, overwrite=overwrite))
            self._store = PlaneStore(self._folder)
            stack.callback(self._store.close)
            self._on_exit = stack.pop_all()

    def write_image(self, mrd, group: str = "") -> None:
        """Keep the planes of an image; they get their scale when the series is complete."""
        for plane in planes_of(mrd, group):
            self._store.add(plane)

    def _save_all(self) -> None:
        for series in self._store.finished():
            self._save(series)

    def _save(self, series: Series) -> None:
        facts = series_facts(series, self._labels, self._store.digest)
        for plane in self._store.planes(series):
            name = f"series{series.number:03d}_{plane.number:05d}{SUFFIX}"
            save(classic_image(plane, facts, self._labels), self._folder / name)

    def __enter__(self) -> "DicomWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._on_exit:
            if kind is not None:
                raise error
            self._save_all()


class EnhancedWriter(DicomWriter):
    """The same with one multi-frame file per series, ``series<n>.dcm``."""

    def _save(self, series: Series) -> None:
        ds = enhanced_image(series, self._store, self._labels)
        save(ds, self._folder / f"series{series.number:03d}{SUFFIX}")


def save(ds: Dataset, path: Path) -> None:
    """Write a data set as a DICOM file, explicit VR little endian."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = ds.SOPClassUID
    meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION)
    meta.ImplementationVersionName = "JRSR"
    ds.file_meta = meta
    dcmwrite(path, ds, enforce_file_format=True)
