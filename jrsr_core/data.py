"""Input and output of a reconstruction: one slice or volume of k-space, one image.

Frozen dataclasses without behaviour beyond derived numbers. Sizes are ordered like array axes,
``(z, y, x)``; lengths are in mm; times in ms; directions are unit vectors in DICOM patient
coordinates (L, P, S), as in ISMRMRD. Importing this module does not import torch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class SliceGeometry:
    """Place of an image: centre of the field of view, axes, extent ``(z, y, x)`` in mm."""

    position_mm: Vector
    read_dir: Vector
    phase_dir: Vector
    slice_dir: Vector
    fov_mm: Vector
    patient_table_position_mm: Vector = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Counters:
    """Counters that identify an image of a scan; `encoding` is the encoding space of its lines."""

    slice: int = 0
    contrast: int = 0
    phase: int = 0
    repetition: int = 0
    set: int = 0
    average: int = 0
    encoding: int = 0

    @property
    def slice_key(self) -> tuple[int, int]:
        """Encoding space and slice number, which all images of one slice have in common."""
        return (self.encoding, self.slice)


@dataclass(frozen=True)
class AcquisitionStamp:
    """Fields an image header copies from the line nearest the k-space centre."""

    measurement_uid: int = 0
    scan_counter: int = 0
    acquisition_time_stamp: int = 0
    physiology_time_stamp: tuple[int, int, int] = (0, 0, 0)
    user_int: tuple[int, ...] = (0,) * 8
    user_float: tuple[float, ...] = (0.0,) * 8


@dataclass(frozen=True, eq=False)
class KSpaceSlice:
    """One 2-D slice of low-resolution, undersampled multi-coil k-space.

    Attributes
    ----------
    kspace
        complex64 ``(coil, ky, kx)``, k = 0 at ``n // 2``, zeros where nothing was measured; scaled
        so that the orthonormal inverse FFT on the LR grid gives the image in the scanner's scale.
    mask
        float32 ``(ky, kx)``, 1 where measured.
    acs
        complex64 ``(coil, ay, ax)``, fully sampled, k = 0 at ``n // 2``: the centre of this k-space
        or of another scan of the same slice. Of size 0 where there is none.
    noise_std
        sqrt(E|n|^2) of one k-space sample after whitening; None where the scan has no noise data.
    is_acs_shared
        Whether other slices come with the same `acs` (one tensor), and so with the same maps.
    lr_readout
        Samples along kx of the LR grid where `kspace` reaches beyond it, because the readout was
        acquired at high resolution; None if it does not.
    notes
        What was decided against the header of the scan, one sentence each; they become warnings of
        the image.
    """

    kspace: Tensor
    mask: Tensor
    acs: Tensor
    geometry: SliceGeometry
    counters: Counters = field(default_factory=Counters)
    stamp: AcquisitionStamp = field(default_factory=AcquisitionStamp)
    noise_std: float | None = None
    is_acs_shared: bool = False
    lr_readout: int | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse arrays that do not belong together."""
        n_coils, *grid = self.kspace.shape
        n_lr = self.lr_readout
        if n_lr is not None and not n_lr <= grid[1] <= 2 * n_lr:
            raise ValueError(f"lr_readout is {n_lr}, kspace has {grid[1]} samples along kx")
        if list(self.mask.shape) != grid:
            raise ValueError(f"mask is {tuple(self.mask.shape)}, kspace is {tuple(grid)}")
        if self.acs.shape[0] != n_coils:
            raise ValueError(f"acs has {self.acs.shape[0]} coils, kspace has {n_coils}")

    @property
    def n_coils(self) -> int:
        """Number of receive channels."""
        return self.kspace.shape[0]

    @property
    def lr_shape(self) -> tuple[int, int]:
        """LR grid ``(ky, kx)``."""
        ny, nx = self.kspace.shape[-2:]
        return (ny, nx if self.lr_readout is None else self.lr_readout)

    @property
    def acceleration(self) -> float:
        """Grid points over measured points, the calibration lines counted."""
        return self.mask.numel() / max(float(self.mask.sum()), 1.0)


@dataclass(frozen=True, eq=False)
class KSpaceVolume:
    """A 3-D scan after the inverse FFT along its fully sampled readout x.

    Attributes
    ----------
    hybrid
        complex64 ``(x, coil, ky, kz)``; the coils are virtual, aligned along x.
    mask
        float32 ``(ky, kz)``, the same for every x.
    acs
        complex64 ``(x, coil, ay, az)``.
    noise_std, acs_noise_std
        sqrt(E|n|^2) of one sample of `hybrid`, and at most of one sample of `acs`; None if unknown.
    is_acs_shared
        Whether other volumes come with the same `acs` (one tensor).
    notes
        As those of `KSpaceSlice`.
    """

    hybrid: Tensor
    mask: Tensor
    acs: Tensor
    geometry: SliceGeometry
    counters: Counters = field(default_factory=Counters)
    stamp: AcquisitionStamp = field(default_factory=AcquisitionStamp)
    noise_std: float | None = None
    acs_noise_std: float | None = None
    is_acs_shared: bool = False
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse arrays that do not belong together."""
        if self.hybrid.shape[2:] != self.mask.shape:
            raise ValueError(
                f"mask is {tuple(self.mask.shape)}, hybrid is {tuple(self.hybrid.shape[2:])}"
            )
        acs, hybrid = tuple(self.acs.shape[:2]), tuple(self.hybrid.shape[:2])
        if acs != hybrid:
            raise ValueError(f"acs has (x, coil) {acs}, hybrid has {hybrid}")

    @property
    def n_positions(self) -> int:
        """Readout positions."""
        return self.hybrid.shape[0]

    @property
    def acceleration(self) -> float:
        """Grid points over measured points, the calibration lines counted."""
        return self.mask.numel() / max(float(self.mask.sum()), 1.0)

    def position(self, x: int) -> KSpaceSlice:
        """Return the plane (PE, SPE) at readout position x as a slice with axes y, x."""
        return KSpaceSlice(
            kspace=self.hybrid[x].contiguous(),
            mask=self.mask,
            acs=self.acs[x].contiguous(),
            geometry=self.geometry,
            counters=self.counters,
            stamp=self.stamp,
            noise_std=self.noise_std,
            notes=self.notes,
        )


@dataclass(frozen=True)
class ReconReport:
    """Figures and warnings of the reconstruction of one image.

    `n_readout` counts the samples of a readout, which may be more than the LR grid has.
    `expected_residual` is the k-space residual that noise alone explains; `taken_back` and
    `unmeasured` are the sizes of the maps relative to the image (`quality`), `folded` that of
    signal from outside the field of view (`calibration.fold_over`); `fallback` is the reason why
    the image is a fallback reconstruction, empty for the model's; `seconds` by step.
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
    snr_db: float = float("nan")
    noise_std: float = float("nan")
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


UNITLESS_MAPS = ("hallucination",)
"""Maps that count multiples of what is to be expected; the others are in the units of the image."""

MAP_ALARM = 3.0
"""Value of `UNITLESS_MAPS` above which a place deserves a look."""


@dataclass(frozen=True, eq=False)
class ReconImage:
    """A finished image.

    `image` is complex64 or float32 ``(y, x)`` on the HR grid, `low_resolution` the reconstruction
    on the LR grid; both in the scanner's own scale. Of a 3-D scan both are ``(z, y, x)``.
    `maps` holds the requested maps of `quality.MAP_NAMES`, float32, in the shape of `image`
    and, but for `UNITLESS_MAPS`, in its scale.
    """

    image: Tensor
    low_resolution: Tensor
    geometry: SliceGeometry
    counters: Counters
    stamp: AcquisitionStamp
    report: ReconReport
    maps: dict[str, Tensor] = field(default_factory=dict)

    @property
    def magnitude(self) -> Tensor:
        """Magnitude, float32, in the shape of `image`."""
        return self.image.abs().float()
