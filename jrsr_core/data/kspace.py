"""K-space of one slice, and of a volume."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jrsr_core.reprs import describe

from .geometry import SliceGeometry
from .origin import AcquisitionStamp, Counters, ScanOrigin

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    Array = Tensor | np.ndarray

ASSUMED_GEOMETRY = "no geometry was given: LR pixels of 1 mm at the isocentre are assumed"


@dataclass(frozen=True, eq=False, repr=False)
class KSpaceSlice:
    """One 2-D slice of low-resolution, undersampled multi-coil k-space.

    `from_array` makes one from arrays, `read_scan` reads those of a file.

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
    origin
        The scan it was read from; None where it was made otherwise.
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
    origin: ScanOrigin | None = None

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

    @classmethod
    def from_array(
        cls,
        kspace: Array,
        mask: Array | None = None,
        *,
        acs: Array | None = None,
        geometry: SliceGeometry | None = None,
        noise_std: float | None = None,
        lr_readout: int | None = None,
    ) -> KSpaceSlice:
        """Return the slice of numpy arrays or tensors; no ISMRMRD file is needed.

        Parameters
        ----------
        kspace
            complex ``(coil, ky, kx)``, k = 0 at ``n // 2``.
        mask
            ``(ky, kx)``, or ``(ky,)`` of whole readout lines; nonzero where measured. Samples
            elsewhere are set to zero. Without it the samples that are not zero were measured.
        acs
            complex ``(coil, ay, ax)``, fully sampled, k = 0 at ``n // 2``; by default the fully
            sampled block about the centre of `kspace` (`acs.find_acs`), of size 0 if there is none.
        geometry
            Place of the slice; by default LR pixels of 1 mm, and the image has a warning.
        noise_std
            sqrt(E|n|^2) of one sample; estimated from the samples by default.
        lr_readout
            Samples along kx of the LR grid if the readout was acquired at high resolution.

        Raises
        ------
        ValueError
            Arrays of the wrong number of axes or kind, or that do not belong together; the message
            names both sides.
        """
        # Deferred: importing this module does not import torch.
        from jrsr_core.acs import find_acs
        from jrsr_core.arrays import as_samples, as_tensor

        samples = as_samples(kspace, "kspace", ("coil", "ky", "kx"))
        grid = tuple(samples.shape[1:])
        sampled = samples.ne(0).any(0) if mask is None else as_tensor(mask).ne(0)
        if sampled.ndim == 1:
            sampled = sampled[:, None].expand(-1, grid[1])
        if tuple(sampled.shape) != grid:
            raise ValueError(f"mask is {tuple(sampled.shape)}, kspace is {grid} along (ky, kx)")
        # Whatever stands at other places, NaN for instance, is no sample.
        samples = samples.where(sampled, samples.new_zeros(()))
        if acs is not None:
            block = as_samples(acs, "acs", ("coil", "ay", "ax"))
        elif sampled[grid[0] // 2, grid[1] // 2]:
            block = samples[(slice(None), *find_acs(sampled))]
        else:
            block = samples[:, :0, :0]
        ny, nx = grid[0], lr_readout or grid[1]
        return cls(
            samples,
            sampled.float(),
            block,
            geometry or SliceGeometry.axial((1.0, float(ny), float(nx))),
            noise_std=noise_std,
            lr_readout=lr_readout,
            notes=() if geometry else (ASSUMED_GEOMETRY,),
        )

    def __repr__(self) -> str:
        ay, ax = self.acs.shape[-2:]
        return (
            f"KSpaceSlice(kspace {describe(self.kspace)}, {self.acceleration:.3g}x, "
            f"acs {ay} x {ax})"
        )

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


@dataclass(frozen=True, eq=False, repr=False)
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
    notes, origin
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
    origin: ScanOrigin | None = None

    def __post_init__(self) -> None:
        """Refuse arrays that do not belong together."""
        if self.hybrid.shape[2:] != self.mask.shape:
            raise ValueError(
                f"mask is {tuple(self.mask.shape)}, hybrid is {tuple(self.hybrid.shape[2:])}"
            )
        acs, hybrid = tuple(self.acs.shape[:2]), tuple(self.hybrid.shape[:2])
        if acs != hybrid:
            raise ValueError(f"acs has (x, coil) {acs}, hybrid has {hybrid}")

    def __repr__(self) -> str:
        ay, az = self.acs.shape[-2:]
        return (
            f"KSpaceVolume(hybrid {describe(self.hybrid)}, {self.acceleration:.3g}x, "
            f"acs {ay} x {az})"
        )

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
