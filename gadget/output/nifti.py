"""Writes a scan as NIfTI files: one per stack of slices, with their geometry."""

import gzip
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from gadget.console import print_warning
from gadget.errors import UsageError
from jrsr_core.atomic import check_target, whole_file

from .further import FurtherFiles
from .series import PlaneWriter
from .stacks import Stack, stacks_of

SUFFIX, UNCOMPRESSED = ".nii.gz", ".nii"
MARK = "JRSR"
"""Begins the description in the header of all files of this module."""

SCANNER = 1
"""NIfTI's code for coordinates of the scanner."""


def require_nibabel() -> None:
    """Raise `UsageError` if the optional library is not installed."""
    try:
        import nibabel  # noqa: F401
    except ImportError:
        raise UsageError(
            'format nifti needs nibabel: pip install "gadgetron-jrsr[nifti]"'
        ) from None


class NiftiWriter(PlaneWriter):
    """Writer of the first stack to `path`, and of further ones to numbered files beside it.

    Further series and orientations go to ``<name>_series<n>[_stack<m>].nii.gz``. Such files of an
    earlier run of JRSR are deleted.

    Raises
    ------
    UsageError
        nibabel is not installed.
    FileExistsError
        One of the files exists and `overwrite` is False.
    """

    def __init__(self, path: Path, header_xml: str, *, overwrite: bool = False) -> None:
        require_nibabel()
        self._ending = UNCOMPRESSED if path.suffix == UNCOMPRESSED else SUFFIX
        self._stem = path.name.removesuffix(self._ending)
        self._further = FurtherFiles(path, self._ending, r"_series\d+(_stack\d+)?", is_own_file)
        check_target(path, overwrite=overwrite)
        self._further.check(overwrite=overwrite)
        super().__init__(path, header_xml, overwrite=overwrite)

    def save(self) -> None:
        """Write all stacks; the files appear together when the last one is complete."""
        self.check_left_out()
        stacks = (
            (series.number, m, stack)
            for series in self.store.finished()
            for m, stack in enumerate(stacks_of(series, self.store), 1)
        )
        targets = set()
        with ExitStack() as files:
            for i, (series, m, (stack, values)) in enumerate(stacks):
                target = self._target(series, m) if i else self.path
                targets.add(target)
                temporary = files.enter_context(whole_file(target, overwrite=self.overwrite))
                save(temporary, stack, values)
        self._further.remove_others(targets)

    def _target(self, series: int, stack: int) -> Path:
        name = f"{self._stem}_series{series}" + (f"_stack{stack}" if stack > 1 else "")
        return self.path.with_name(name + self._ending)


def is_own_file(path: Path) -> bool:
    """Tell whether a file is one that this module wrote."""
    from nibabel import Nifti1Image  # Optional: extra `nifti`.
    from nibabel.filebasedimages import ImageFileError
    from nibabel.wrapstruct import WrapStructError

    try:
        text = bytes(Nifti1Image.from_filename(path).header["descrip"].item())
    except (OSError, EOFError, ValueError, ImageFileError, WrapStructError):
        return False
    return text.startswith(MARK.encode())


def save(path: Path, stack: Stack, values: np.ndarray) -> None:
    """Write one file, with sform, and with qform if the axes are perpendicular."""
    import nibabel  # Optional: extra `nifti`.

    if not stack.is_even:
        print_warning(
            f"slice distances differ by {100 * stack.unevenness:.0f} %: NIfTI stores their mean"
        )
    image = nibabel.Nifti1Image(values, None)
    image.set_sform(stack.affine, SCANNER)
    axes = stack.affine[:3, :3] / np.linalg.norm(stack.affine[:3, :3], axis=0)
    is_sheared = not np.allclose(axes.T @ axes, np.eye(3), atol=1e-3)
    image.set_qform(None if is_sheared else stack.affine, 0 if is_sheared else SCANNER)
    # Image headers do not hold the duration of a frame, so the unit of time stays unknown.
    image.header.set_xyzt_units("mm")
    meta = stack.frames[0][0].meta
    weights = meta.get("JRSR_weights_sha256", "")[:12]
    image.header["descrip"] = f"{MARK} {meta.get('JRSR_model', '')} {weights}".strip()[:79]
    content = image.to_bytes()
    # Without a time stamp, a second reconstruction gives the same file.
    path.write_bytes(content if path.suffix == UNCOMPRESSED else gzip.compress(content, mtime=0))
