"""How images are written, whatever their format."""

from collections.abc import Collection
from dataclasses import dataclass

from gadget.errors import UsageError

from .names import FOLDERS
from .study import Study

PHASE_FORMATS = ("dicom", "enhanced", "nifti")
"""Formats that hold the phase of complex images as a further series."""


@dataclass(frozen=True)
class OutputOptions:
    """How images are written.

    Attributes
    ----------
    overwrite
        Replace existing output.
    study
        Study that DICOM images join; None for that of the scan header.
    with_phase
        Add the phase of complex images to `PHASE_FORMATS` as a further series.
    """

    overwrite: bool = False
    study: Study | None = None
    with_phase: bool = False

    def check(self, formats: Collection[str], n_scans: int = 1) -> None:
        """Raise `UsageError` if no format can hold what is asked for, or several scans one number.

        Parameters
        ----------
        formats
            Names in `ENDINGS`.
        n_scans
            Scans that are written.
        """
        if self.with_phase and not any(name in PHASE_FORMATS for name in formats):
            raise UsageError(f"--phase is given, but no format is {', '.join(PHASE_FORMATS)}")
        if not self.study:
            return
        if not any(name in FOLDERS for name in formats):
            raise UsageError(
                "a study or series number is given, but no format is dicom or enhanced"
            )
        if self.study.series_number is not None and n_scans > 1:
            raise UsageError(f"--series-number is for one scan, there are {n_scans}")


DEFAULTS = OutputOptions()
