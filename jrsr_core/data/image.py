"""A finished image and its report."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jrsr_core.common.plugins import VIEWERS, find_plugin, writer_of
from jrsr_core.reprs import tensor_repr

from .geometry import SliceGeometry
from .origin import AcquisitionStamp, Counters, ScanOrigin

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


@dataclass(frozen=True)
class ReconReport:
    """Figures and warnings of the reconstruction of one image; NaN where a figure does not exist.

    Attributes
    ----------
    model, weights_sha256
        Name of the model; the hashes of its weights, joined by "+", empty for a model without.
    iterations, fixed_point_residual
        Steps of its iteration, and how far the returned iterate is from the fixed point, relative.
    kspace_residual, expected_residual
        |A x - b| / |b| over the measured samples, and what noise alone explains of it.
    taken_back, unmeasured
        Size of these maps relative to the image (`quality`).
    folded
        Size of signal from outside the field of view, relative to the image
        (`calibration.fold_over`).
    denoise
        How far the measured noise was removed, from 0 (kept) to 1.
    snr_db
        Mean power of the LR reconstruction over that of the noise of one sample [dB].
    noise_std, noise_stated
        sqrt(E|n|^2) of one k-space sample in the units of the scan; whether it was stated with the
        samples, as by noise lines, or estimated from them.
    scale
        Intensity of the scan that the model sees as 1, in the units of the scan.
    acceleration
        Grid points over measured points, the calibration lines counted.
    acs_shape
        Calibration lines ``(ay, ax)``.
    n_readout, n_virtual_coils
        Samples of a readout, which may be more than the LR grid has; coils after compression.
    seconds
        Wall-clock time by step, and "total" [s].
    fallback
        Why the image is a fallback reconstruction; empty for the image of the model.
    warnings
        What makes the image suspect, one sentence each.
    """

    model: str
    weights_sha256: str = ""
    iterations: int = 0
    fixed_point_residual: float = float("nan")
    kspace_residual: float = float("nan")
    expected_residual: float = float("nan")
    taken_back: float = float("nan")
    unmeasured: float = float("nan")
    folded: float = 0.0
    denoise: float = 0.0
    snr_db: float = float("nan")
    noise_std: float = float("nan")
    noise_stated: bool = False
    scale: float = 1.0
    acceleration: float = 1.0
    acs_shape: tuple[int, int] = (0, 0)
    n_readout: int = 0
    n_virtual_coils: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    fallback: str = ""
    warnings: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return a flat dictionary for meta attributes, JSON and tables."""
        flat = {k: v for k, v in vars(self).items() if k != "seconds"}
        return flat | {f"seconds_{k}": v for k, v in self.seconds.items()}


MAP_MEANING = {
    "hallucination": "what contradicts the measurement, or is finer than its detail allows",
    "taken_back": "what the network added although the measurement contradicts it",
    "unmeasured": "what the network, not the samples, stands for",
}
"""Maps of an image and what they show, in the order of their series."""

UNITLESS_MAPS = ("hallucination",)
"""Maps that count multiples of what is to be expected; the others are in the units of the image."""

MAP_ALARM = 3.0
"""Value of `UNITLESS_MAPS` above which a place deserves a look."""


@dataclass(frozen=True, eq=False, repr=False)
class ReconImage:
    """A finished image.

    Attributes
    ----------
    image
        complex64 or float32 ``(y, x)`` on the HR grid, of a 3-D scan ``(z, y, x)``; in the
        scanner's own scale.
    low_resolution
        The reconstruction on the LR grid, with the same axes and scale.
    report
        Figures and warnings of the reconstruction.
    maps
        Requested maps of `MAP_MEANING`, float32, in the shape of `image` and, but for
        `UNITLESS_MAPS`, in its scale.
    origin
        The scan it comes from; None if the k-space was not read from a file.
    """

    image: Tensor
    low_resolution: Tensor
    geometry: SliceGeometry
    counters: Counters
    stamp: AcquisitionStamp
    report: ReconReport
    maps: dict[str, Tensor] = field(default_factory=dict)
    origin: ScanOrigin | None = None

    @property
    def magnitude(self) -> Tensor:
        """Magnitude, float32, in the shape of `image`."""
        return self.image.abs().float()

    @property
    def affine(self) -> np.ndarray:
        """Matrix from the voxel ``(x, y, z)`` to mm, see `SliceGeometry.affine`."""
        return self.geometry.affine(tuple(self.image.shape))

    def to_numpy(self) -> np.ndarray:
        """Return `image` as a numpy array ``([z,] y, x)``; ``.T`` has the axes of `affine`."""
        return self.image.detach().cpu().resolve_conj().numpy()

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write the magnitude with its place in space.

        Parameters
        ----------
        path
            The ending selects the format: ``.h5`` (ISMRMRD), ``.nii.gz``, ``.png``, ``.dcm`` (a
            folder of DICOM files), or that of another installed writer (`common.plugins`).
        overwrite
            Replace what an earlier call wrote.

        Raises
        ------
        ValueError
            An ending that no installed package writes.
        ImportError
            The package that writes it is missing; the message says what to install.
        OSError
            The file exists, or cannot be written.
        """
        path = Path(path)
        if path.exists() and not overwrite:
            raise FileExistsError(f"{path} exists, overwrite=True replaces it")
        writer_of(path)(self, path, overwrite=overwrite)

    def show(self) -> None:
        """Show the magnitude: inline in a notebook, else in the picture viewer of the desktop.

        Raises
        ------
        RuntimeError
            There is no display.
        ImportError
            As `save`.
        """
        find_plugin(VIEWERS, "show")(self)

    def _repr_png_(self) -> bytes | None:
        """Return the picture that a notebook shows for the image; None if nothing draws one."""
        try:
            return find_plugin(VIEWERS, "png")(self)
        except ImportError:
            return None

    def __repr__(self) -> str:
        report, maps = self.report, "".join(f", map {name}" for name in self.maps)
        mark = ", FALLBACK" if report.fallback else ""
        return f"ReconImage({tensor_repr(self.image)}, {report.model}{mark}{maps})"
