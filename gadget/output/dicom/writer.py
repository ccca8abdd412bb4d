"""Writes a scan as a folder of DICOM files."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from gadget.output.further import FurtherFiles
from gadget.output.labels import Labels
from gadget.output.options import DEFAULTS, OutputOptions
from gadget.output.series.store import PlaneWriter, Series
from gadget.output.study import Study
from jrsr_core.common.atomic import check_target, whole_file, whole_folder

from .classic import classic_image
from .enhanced import enhanced_image, stacks
from .identifiers import make_uid
from .modules import SharedAttributes, shared_attributes

SUFFIX = ".dcm"
TEXT_VRS = ("LO", "LT", "PN", "SH", "ST", "UC", "UT")
IMPLEMENTATION = make_uid("implementation")
FILE_META_BYTES = 1024
"""Bytes at the beginning of a file that hold its preamble and file meta information."""


class DicomWriter(PlaneWriter):
    """Writer of a folder of classic MR images, ``series<n>_<image>.dcm``, one file per plane.

    The images join the study of the options, or that of the scan header.

    Raises
    ------
    BadScan
        The header is not XML.
    OSError
        As `jrsr_core.common.atomic.check_target` for a folder.
    """

    may_be_file = False
    """Whether a path that ends with ``.dcm`` names a file."""

    def __init__(self, path: Path, header_xml: str, options: OutputOptions = DEFAULTS) -> None:
        overwrite = options.overwrite
        self._is_file = self.may_be_file and path.suffix.lower() == SUFFIX
        check_target(path, overwrite=overwrite, is_ours=None if self._is_file else is_own_file)
        self._further = further_files(path)
        if self._is_file:
            self._further.check(overwrite=overwrite)
        self._study = options.study or Study()
        self._study.warn_of_another_patient(Labels(header_xml), path.name)
        self.labels = Labels(header_xml, self._study.labels)
        super().__init__(path, header_xml, options)

    def save(self) -> None:
        """Write all series."""
        self.check_left_out()
        if self._is_file:
            self._save_files()
            return
        with whole_folder(self.path, is_own_file, overwrite=self.overwrite) as folder:
            for name, ds in self._named_data_sets():
                save(ds, folder / f"{name}{SUFFIX}")

    def _save_files(self) -> None:
        """Write the first data set to `path`, further ones beside it under the same name.

        Further ones of an earlier run of JRSR are deleted.
        """
        targets = set()
        with ExitStack() as files:
            for i, (name, ds) in enumerate(self._named_data_sets()):
                further = self.path.with_name(f"{self.path.stem}_{name}{self.path.suffix}")
                target = further if i else self.path
                targets.add(target)
                save(ds, files.enter_context(whole_file(target, overwrite=self.overwrite)))
        self._further.remove_others(targets)

    def _named_data_sets(self) -> Iterator[tuple[str, Dataset]]:
        """Yield the data sets of all series with the names of their files."""
        several = self.store.finished()
        first = min((series.number for series in several), default=0)
        for series in several:
            shared = shared_attributes(series, self.labels, self.store)
            if self._study.series_number is not None:
                number = self._study.series_number + series.number - first
                shared = replace(shared, number=number)
            for name, ds in self.data_sets(series, shared):
                yield f"series{shared.number:03d}{name}", ds

    def data_sets(self, series: Series, shared: SharedAttributes) -> Iterator[tuple[str, Dataset]]:
        """Yield the data sets of a series with the end of their file names."""
        for plane in self.store.planes(series):
            yield f"_{plane.number:05d}", classic_image(plane, shared, self.labels)


class EnhancedWriter(DicomWriter):
    """Writer of a folder of Enhanced MR images, ``series<n>.dcm``, one file per series.

    Further stacks of slices (`enhanced.stacks`) go to ``series<n>_2.dcm`` and so on. A path that
    ends with ``.dcm`` is the file of the first series; further ones go to ``<name>_series<n>.dcm``.
    """

    may_be_file = True

    def data_sets(self, series: Series, shared: SharedAttributes) -> Iterator[tuple[str, Dataset]]:
        """Yield one data set for each stack of a series."""
        for number, planes in enumerate(stacks(list(self.store.planes(series))), 1):
            ds = enhanced_image(planes, number, shared, self.labels)
            yield f"_{number}" if number > 1 else "", ds


def further_files(path: Path) -> FurtherFiles:
    """Return the numbered files beside an Enhanced MR image that is named as a file."""
    return FurtherFiles(path, path.suffix, r"_series\d{3,}(_\d+)?", is_own_file)


def is_own_file(path: Path) -> bool:
    """Tell whether a file is one that a writer of this module wrote."""
    if path.suffix.lower() != SUFFIX or not path.is_file():
        return False
    with path.open("rb") as file:
        return IMPLEMENTATION.encode() in file.read(FILE_META_BYTES)


def save(ds: Dataset, path: Path) -> None:
    """Write a data set as a DICOM file, explicit VR little endian."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = ds.SOPClassUID
    meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION)
    meta.ImplementationVersionName = "JRSR"
    ds.file_meta = meta
    ds.SpecificCharacterSet = character_set(ds)
    dcmwrite(path, ds, enforce_file_format=True)


def character_set(ds: Dataset) -> str:
    """Return the character set of all texts: Latin-1, which every PACS reads, else Unicode."""
    try:
        for element in ds.iterall():
            if element.VR in TEXT_VRS:
                str(element.value).encode("latin-1")
    except UnicodeEncodeError:
        return "ISO_IR 192"
    return "ISO_IR 100"
