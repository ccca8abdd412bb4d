"""The NIfTI files of a scan: one per stack of slices, with the geometry of the image headers."""

import gzip
from pathlib import Path
from types import TracebackType

import numpy as np

from jrsr_core.mrd.output import check_target, publish, temporary_beside

from ..console import complain
from ..errors import UsageError
from .planes import planes_of
from .stacks import Stack, stacks_of
from .store import PlaneStore

SUFFIX = ".nii.gz"
SCANNER = 1
"""NIfTI's code for coordinates of the scanner."""


def require_nibabel() -> None:
    """Raise `UsageError` where the optional library is missing."""
    try:
        import nibabel  # noqa: F401
    except ImportError:
        raise UsageError(
            'format nifti needs nibabel: pip install "gadgetron-jrsr[nifti]"'
        ) from None


class NiftiWriter:
    """Context manager that leaves ``path`` for the first stack, and numbered files beside it.

    Further series and orientations go to ``<name>_series<n>[_stack<m>].nii.gz``.

    Raises
    ------
    UsageError
        nibabel is not installed.
    FileExistsError
        One of the files exists and `overwrite` is False.
    """

    def __init__(self, path: Path, *, overwrite: bool = False) -> None:
        require_nibabel()
        self.path = path
        self._overwrite = overwrite
        for target in (path, *self._further()):
            check_target(target, overwrite=overwrite)
        self._store = PlaneStore(path.parent)

    def _further(self) -> list[Path]:
        """Files of an earlier run beside the first one."""
        return sorted(self.path.parent.glob(f"{self._stem}_series*{SUFFIX}"))

    @property
    def _stem(self) -> str:
        return self.path.name.removesuffix(SUFFIX)

    def write_image(self, mrd, group: str = "") -> None:
        """Keep the planes of an image."""
        for plane in planes_of(mrd, group):
            self._store.add(plane)

    def _save_all(self) -> None:
        temporaries: dict[Path, Path] = {}
        try:
            for series in self._store.finished():
                for m, (stack, values) in enumerate(stacks_of(series, self._store), 1):
                    target = self._target(series.number, m) if temporaries else self.path
                    temporaries[target] = temporary = temporary_beside(target)
                    save(temporary, stack, values)
            for stale in self._further():
                stale.unlink()
            for target, temporary in temporaries.items():
                publish(temporary, target, overwrite=self._overwrite)
        finally:
            for temporary in temporaries.values():
                temporary.unlink(missing_ok=True)

    def _target(self, series: int, stack: int) -> Path:
        name = f"{self._stem}_series{series}" + (f"_stack{stack}" if stack > 1 else "")
        return self.path.with_name(name + SUFFIX)

    def __enter__(self) -> "NiftiWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._save_all()
        finally:
            self._store.close()


def save(path: Path, stack: Stack, values: np.ndarray) -> None:
    """Write one file; sform and qform are set, the latter where axes are perpendicular."""
    import nibabel

    if not stack.is_even:
        complain(f"slice distances differ by {100 * stack.unevenness:.0f} %: NIfTI has their mean")
    image = nibabel.Nifti1Image(values, None)
    image.set_sform(stack.affine, SCANNER)
    axes = stack.affine[:3, :3] / np.linalg.norm(stack.affine[:3, :3], axis=0)
    is_sheared = not np.allclose(axes.T @ axes, np.eye(3), atol=1e-3)
    image.set_qform(None if is_sheared else stack.affine, 0 if is_sheared else SCANNER)
    # How long a frame lasts is not in the image headers: the unit of time stays unknown.
    image.header.set_xyzt_units("mm")
    meta = stack.frames[0][0].meta
    weights = meta.get("JRSR_weights_sha256", "")[:12]
    image.header["descrip"] = f"JRSR {meta.get('JRSR_model', '')} {weights}".strip()[:79]
    # Without a time stamp in it, a replay gives the same file.
    path.write_bytes(gzip.compress(image.to_bytes(), mtime=0))
