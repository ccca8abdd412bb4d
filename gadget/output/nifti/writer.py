"""Writes a scan as NIfTI files: one per stack of slices, with their geometry."""

import gzip
from collections.abc import Collection, Iterable
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from gadget.console import print_warning
from gadget.errors import UsageError
from gadget.output.further import FurtherFiles
from gadget.output.labels import Labels
from gadget.output.options import DEFAULTS, OutputOptions
from gadget.output.series.stacks import Stack, stacks_of
from gadget.output.series.store import PlaneWriter
from jrsr_core.common.atomic import check_target, whole_file
from jrsr_core.mrd.errors import BadScan
from jrsr_core.mrd.header.scan_header import NO_HEADER

from .frame_time import frame_seconds
from .gradients import gradient_files, gradient_texts
from .marks import (
    GRADIENTS,
    description,
    gradients_are_shared,
    has_own_gradients,
    is_own_file,
    meaning,
)

SUFFIX, UNCOMPRESSED = ".nii.gz", ".nii"
MARKS = r"_series\d+(_stack\d+)?"
"""Suffix of the names of further files, a regular expression."""

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
    earlier run of JRSR are deleted. Diffusion weightings go beside each of them, see `gradients`.

    Raises
    ------
    UsageError
        nibabel is not installed.
    FileExistsError
        One of the files exists and is not to be replaced.
    """

    def __init__(self, path: Path, header_xml: str, options: OutputOptions = DEFAULTS) -> None:
        overwrite = options.overwrite
        require_nibabel()
        self._ending = _ending(path)
        self._stem = path.name.removesuffix(self._ending)
        self._further = further_files(path)
        check_target(path, overwrite=overwrite)
        self._further.check(overwrite=overwrite)
        self._labels = _readable_labels(header_xml)
        if self._labels.has_diffusion:
            self._check_gradient_files(path, overwrite=overwrite)
        super().__init__(path, header_xml, options)

    def save(self) -> None:
        """Write all stacks; the files appear together when the last one is complete."""
        self.check_left_out()
        stacks = (
            (series, m, stack)
            for series in self.store.finished()
            for m, stack in enumerate(stacks_of(series, self.store), 1)
        )
        images, written = [], set[Path]()
        earlier = self._earlier_gradients()  # Known before the images are replaced.
        with ExitStack() as files:
            for i, (series, m, (stack, values)) in enumerate(stacks):
                target = self._target(series.number, m) if i else self.path
                images.append(target)
                temporary = files.enter_context(whole_file(target, overwrite=self.overwrite))
                gradients = self._save_gradients(files, target, stack)
                save(
                    temporary,
                    stack,
                    values,
                    text=description(stack, is_incomplete=series.is_incomplete),
                    seconds=frame_seconds(stack, self._labels),
                    has_gradients=bool(gradients),
                )
                written |= gradients
        self._further.remove_others(set(images))
        for path in earlier - written:
            path.unlink(missing_ok=True)
        _warn_of_other_gradients(images, written)

    def _earlier_gradients(self) -> set[Path]:
        """Return the files of weightings that an earlier run wrote for its images alone."""
        images = (self.path, *self._further.existing())
        own = (i for i in images if has_own_gradients(i) and not gradients_are_shared(i))
        return {path for image in own for path in gradient_files(image)}

    def _save_gradients(self, files: ExitStack, image: Path, stack: Stack) -> set[Path]:
        """Write the diffusion weightings beside an image; return their files, if there are any."""
        texts = gradient_texts(stack, self._labels)
        if texts is None:
            return set()
        paths = gradient_files(image)
        for path, text in zip(paths, texts, strict=True):
            temporary = files.enter_context(whole_file(path, overwrite=self.overwrite))
            temporary.write_text(text)
        return set(paths)

    def _check_gradient_files(self, image: Path, *, overwrite: bool) -> None:
        for path in gradient_files(image):
            check_target(path, overwrite=overwrite)
            FurtherFiles(path, path.suffix, MARKS, lambda _: False).check(overwrite=overwrite)

    def _target(self, series: int, stack: int) -> Path:
        name = f"{self._stem}_series{series}" + (f"_stack{stack}" if stack > 1 else "")
        return self.path.with_name(name + self._ending)


def missing_gradients(path: Path) -> list[Path]:
    """Return the weightings that JRSR wrote beside an image and its further ones, and are gone."""
    own = filter(has_own_gradients, (path, *further_files(path).existing()))
    return [file for image in own for file in gradient_files(image) if not file.exists()]


def further_files(path: Path) -> FurtherFiles:
    """Return the numbered files beside an image."""
    return FurtherFiles(path, _ending(path), MARKS, is_own_file)


def _ending(path: Path) -> str:
    return UNCOMPRESSED if path.suffix == UNCOMPRESSED else SUFFIX


def _warn_of_other_gradients(images: Iterable[Path], written: Collection[Path]) -> None:
    """Print a warning for each image beside which there are weightings of another one."""
    for image in images:
        others = [p.name for p in gradient_files(image) if p.exists() and p not in written]
        if others:
            print_warning(
                f"{image.name}: warning: the diffusion weightings of another image have its name "
                f"({', '.join(others)}): rename the image, or these files"
            )


def _readable_labels(header_xml: str) -> Labels:
    """Return the labels of a header, empty ones if it cannot be read: NIfTI needs none of them."""
    try:
        return Labels(header_xml)
    except BadScan:
        return Labels(NO_HEADER)


def save(
    path: Path,
    stack: Stack,
    values: np.ndarray,
    *,
    text: str,
    seconds: float | None = None,
    has_gradients: bool = False,
) -> None:
    """Write one file, with sform, and with qform if the axes are perpendicular.

    `text` is the description in the header, `seconds` the time between frames, None if it is
    unknown or frames are no times.
    """
    import nibabel  # Optional: extra `nifti`.

    if not stack.is_even:
        print_warning(
            f"slice distances differ by {100 * stack.unevenness:.0f} %: NIfTI stores their mean"
        )
    image = nibabel.Nifti1Image(values, None)
    image.set_sform(stack.affine, SCANNER)
    sizes = np.linalg.norm(stack.affine[:3, :3], axis=0)
    axes = stack.affine[:3, :3] / sizes
    is_sheared = not np.allclose(axes.T @ axes, np.eye(3), atol=1e-3)
    image.set_qform(None if is_sheared else stack.affine, 0 if is_sheared else SCANNER)
    image.header["pixdim"][1:4] = sizes  # Without a qform nothing else states the voxel size.
    image.header.set_xyzt_units("mm", None if seconds is None else "sec")
    if seconds is not None:
        image.header["pixdim"][4] = seconds
    image.header["descrip"] = text.encode("ascii", "replace")
    image.header["intent_name"] = meaning(stack)
    image.header.set_dim_info(freq=0, phase=1, slice=2)
    if has_gradients:
        image.header["aux_file"] = GRADIENTS
    content = image.to_bytes()
    # Without a time stamp, a second reconstruction gives the same file.
    path.write_bytes(content if path.suffix == UNCOMPRESSED else gzip.compress(content, mtime=0))
