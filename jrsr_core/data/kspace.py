"""K-space of one slice."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jrsr_core.acs import find_acs
from jrsr_core.reprs import tensor_repr

from .acceleration import acceleration_of
from .geometry import SliceGeometry
from .origin import AcquisitionStamp, Counters, ScanOrigin

if TYPE_CHECKING:
    from torch import Tensor

    from jrsr_core.arrays import Array

ASSUMED_GEOMETRY = "no geometry was given: LR pixels of 1 mm at the isocentre are assumed"


@dataclass(frozen=True, eq=False, repr=False)
class KSpaceSlice:
    """One 2-D slice of low-resolution, undersampled multi-coil k-space.

    `from_array` makes one from arrays, `read_scan` reads those of a file. Numpy arrays, and other
    kinds of numbers, are converted.

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
    is_assembled
        Whether it was made of the lines of a scan; the noise of its channels was compared then.
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
    is_assembled: bool = False
    notes: tuple[str, ...] = ()
    origin: ScanOrigin | None = None

    def __post_init__(self) -> None:
        """Convert arrays; refuse those that do not belong together.

        Tensors of the right kind are kept, and only the values of the mask are read: a slice is
        made again wherever one of its fields is replaced.
        """
        # Deferred: importing this module does not import torch.
        from jrsr_core.arrays import own_samples

        from .convert import (
            checked_geometry,
            checked_noise,
            checked_readout,
            filled_samples,
            mask_of,
        )

        kspace = filled_samples(self.kspace, "kspace", ("coil", "ky", "kx"))
        acs = own_samples(self.acs, "acs", ("coil", "ay", "ax"))
        mask = mask_of(self.mask)
        n_coils, ny, nx = kspace.shape
        n_lr = checked_readout(self.lr_readout)
        if n_lr is not None and not n_lr <= nx <= 2 * n_lr:
            raise ValueError(f"lr_readout is {n_lr}, kspace has {nx} samples along kx")
        if mask.shape != (ny, nx):
            raise ValueError(f"mask is {tuple(mask.shape)}, kspace is {(ny, nx)} along (ky, kx)")
        if acs.shape[0] != n_coils:
            raise ValueError(f"acs has {acs.shape[0]} coils, kspace has {n_coils}")
        checked_geometry(self.geometry)
        converted = {
            "kspace": kspace,
            "mask": mask,
            "acs": acs,
            "noise_std": checked_noise(self.noise_std),
            "lr_readout": n_lr,
        }
        for name, value in converted.items():
            object.__setattr__(self, name, value)

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
            ``(ky, kx)``, or ``(ky,)`` of readout lines; nonzero where measured. Samples elsewhere
            are set to zero. An end of the readout that is zero in all lines of a mask ``(ky,)`` was
            not measured (`echo`). Without a mask the samples that are not zero were measured.
        acs
            complex ``(coil, ay, ax)``, fully sampled, k = 0 at ``n // 2``; by default the fully
            sampled block about the centre of `kspace` (`acs.find_acs`), of size 0 if there is none.
        geometry
            Place of the slice; by default LR pixels of 1 mm, and the image has a warning.
        noise_std
            sqrt(E|n|^2) of one sample; by default it is estimated from the samples. Channels that
            are far noisier than the others get less weight (`calibration.loud_coils`).
        lr_readout
            Samples along kx of the LR grid if the readout was acquired at high resolution.

        Raises
        ------
        ValueError
            Arrays of the wrong number of axes or kind, or that do not belong together; the message
            names both sides.
        """
        # Deferred: importing this module does not import torch.
        from jrsr_core.arrays import as_samples

        from .convert import (
            checked_readout,
            filled_samples,
            notes_on_array,
            only_sampled,
            sampling_of,
        )

        samples = filled_samples(kspace, "kspace", ("coil", "ky", "kx"))
        sampled, notes = sampling_of(mask, samples)
        lr_readout = checked_readout(lr_readout)
        ny, nx = sampled.shape
        samples = only_sampled(samples, sampled)
        notes += notes_on_array(samples, ("ky", "kx"))
        if acs is not None:
            block = as_samples(acs, "acs", ("coil", "ay", "ax")).clone()
        elif sampled[ny // 2, nx // 2]:
            block = samples[(slice(None), *find_acs(sampled))]
        else:
            block = samples[:, :0, :0]
        if geometry is None:
            notes = (ASSUMED_GEOMETRY, *notes)
            geometry = SliceGeometry.axial((1.0, float(ny), float(lr_readout or nx)))
        return cls(
            samples,
            sampled.float(),
            block,
            geometry,
            noise_std=noise_std,
            lr_readout=lr_readout,
            notes=notes,
        )

    def __repr__(self) -> str:
        ay, ax = self.acs.shape[-2:]
        return (
            f"KSpaceSlice(kspace {tensor_repr(self.kspace)}, {self.acceleration:.3g}x, "
            f"acs {ay} x {ax})"
        )

    @property
    def n_coils(self) -> int:
        """Number of receive channels."""
        return self.kspace.shape[0]

    @property
    def n_readout(self) -> int:
        """Samples along the readout."""
        return self.kspace.shape[-1]

    @property
    def lr_shape(self) -> tuple[int, int]:
        """LR grid ``(ky, kx)``."""
        ny, nx = self.kspace.shape[-2:]
        return (ny, nx if self.lr_readout is None else self.lr_readout)

    @property
    def acceleration(self) -> float:
        """Grid points over measured points, the calibration lines counted."""
        return acceleration_of(self.mask)
