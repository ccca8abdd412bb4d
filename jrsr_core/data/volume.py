"""K-space of a 3-D scan, after the inverse Fourier transform along its readout."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jrsr_core.acs import MAX_LINES, find_acs
from jrsr_core.reprs import tensor_repr

from .acceleration import acceleration_of
from .geometry import SliceGeometry
from .kspace import ASSUMED_GEOMETRY, KSpaceSlice
from .origin import AcquisitionStamp, Counters, ScanOrigin

if TYPE_CHECKING:
    from torch import Tensor

    from jrsr_core.arrays import Array


@dataclass(frozen=True, eq=False, repr=False)
class KSpaceVolume:
    """A 3-D scan after the inverse FFT along its fully sampled readout x.

    `from_array` makes one from k-space. Numpy arrays, and other kinds of numbers, are converted.

    Attributes
    ----------
    hybrid
        complex64 ``(x, coil, ky, kz)``; the coils are virtual, aligned along x, in scans with more
        coils than are kept.
    mask
        float32 ``(ky, kz)``, 1 where measured, the same for every x.
    acs
        complex64 ``(x, coil, ay, az)``.
    geometry
        Place of the volume: read direction along x, phase direction along y, slice direction along
        z, which is the second phase encode.
    noise_std, acs_noise_std
        sqrt(E|n|^2) of one sample of `hybrid`, and at most of one sample of `acs`; None if unknown.
    is_acs_shared
        Whether other volumes come with the same `acs` (one tensor).
    is_assembled, notes, origin
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
    is_assembled: bool = False
    notes: tuple[str, ...] = ()
    origin: ScanOrigin | None = None

    def __post_init__(self) -> None:
        """Convert arrays; refuse those that do not belong together."""
        # Deferred: importing this module does not import torch.
        from jrsr_core.arrays import own_samples

        from .convert import checked_geometry, checked_noise, filled_samples, mask_of

        hybrid = filled_samples(self.hybrid, "hybrid", ("x", "coil", "ky", "kz"))
        acs = own_samples(self.acs, "acs", ("x", "coil", "ay", "az"))
        mask = mask_of(self.mask)
        if hybrid.shape[2:] != mask.shape:
            raise ValueError(f"mask is {tuple(mask.shape)}, hybrid is {tuple(hybrid.shape[2:])}")
        if acs.shape[:2] != hybrid.shape[:2]:
            own, other = tuple(acs.shape[:2]), tuple(hybrid.shape[:2])
            raise ValueError(f"acs has (x, coil) {own}, hybrid has {other}")
        checked_geometry(self.geometry)
        converted = {
            "hybrid": hybrid,
            "mask": mask,
            "acs": acs,
            "noise_std": checked_noise(self.noise_std),
            "acs_noise_std": checked_noise(self.acs_noise_std),
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
    ) -> KSpaceVolume:
        """Return the volume of k-space in numpy arrays or tensors; no ISMRMRD file is needed.

        The coils stay as they are; a reconstruction compresses those of every plane.

        Parameters
        ----------
        kspace
            complex ``(coil, ky, kz, kx)``, k = 0 at ``n // 2``; kx is the readout. An end of it
            that is zero in all lines was not measured.
        mask
            ``(ky, kz)``, nonzero where measured. Samples elsewhere are set to zero. Lines that are
            zero in every coil were not measured, unless all are.
        acs
            complex ``(coil, ay, az, ax)``, fully sampled, k = 0 at ``n // 2``, with the readout of
            `kspace` or its centre; by default the fully sampled block about the centre of `kspace`
            (`acs.find_acs`), of size 0 if there is none.
        geometry
            Place of the volume; by default LR voxels of 1 mm, and the image has a warning.
        noise_std
            sqrt(E|n|^2) of one sample of `kspace`; by default as for `KSpaceSlice.from_array`.

        Raises
        ------
        ValueError
            Arrays of the wrong number of axes or kind, or that do not belong together; the message
            names both sides.
        """
        # Deferred: importing this module does not import torch.
        from jrsr_core.arrays import as_samples
        from jrsr_core.physics.fourier import ifft
        from jrsr_core.physics.resolution import crop_or_pad

        from .convert import (
            checked_noise,
            filled_samples,
            measured_readout,
            notes_on_array,
            only_sampled,
            sampled_places,
            without_empty_lines,
        )

        samples = filled_samples(kspace, "kspace", ("coil", "ky", "kz", "kx"))
        ny, nz, nx = samples.shape[1:]
        has_samples = samples.ne(0).any(0).any(-1)
        sampled = has_samples if mask is None else sampled_places(mask)
        if tuple(sampled.shape) != (ny, nz):
            raise ValueError(f"mask is {tuple(sampled.shape)}, kspace is {(ny, nz)} along (ky, kz)")
        noise_std = checked_noise(noise_std)
        sampled, note_on_lines = without_empty_lines(sampled, has_samples)
        along_x, note_on_ends = measured_readout(samples[:, sampled], "kx")
        samples = only_sampled(samples, sampled[..., None])
        notes = note_on_ends + note_on_lines + notes_on_array(samples, ("ky", "kz", "kx"))
        hybrid = ifft(samples, -1).permute(3, 0, 1, 2).contiguous()
        block = hybrid[:, :, :0, :0]
        if acs is not None:
            lines = as_samples(acs, "acs", ("coil", "ay", "az", "ax"))
            block = ifft(crop_or_pad(lines, (nx,)), -1).permute(3, 0, 1, 2).contiguous()
        elif sampled[ny // 2, nz // 2]:
            rows, columns = find_acs(sampled, (MAX_LINES, MAX_LINES))
            block = hybrid[:, :, rows, columns].contiguous()
        share = float(along_x.float().mean())
        if geometry is None:
            notes = (ASSUMED_GEOMETRY, *notes)
            geometry = SliceGeometry.axial((float(nz), float(ny), float(nx)))
        return cls(
            hybrid,
            sampled,
            block,
            geometry,
            # Samples that an asymmetric echo lacks are zero, and without noise.
            noise_std=None if noise_std is None else noise_std * share**0.5,
            acs_noise_std=noise_std if acs is None else None,
            notes=notes,
        )

    def __repr__(self) -> str:
        ay, az = self.acs.shape[-2:]
        return (
            f"KSpaceVolume(hybrid {tensor_repr(self.hybrid)}, {self.acceleration:.3g}x, "
            f"acs {ay} x {az})"
        )

    @property
    def n_positions(self) -> int:
        """Readout positions."""
        return self.hybrid.shape[0]

    @property
    def n_readout(self) -> int:
        """Samples along the readout, one for every position."""
        return self.n_positions

    @property
    def acceleration(self) -> float:
        """Grid points over measured points, the calibration lines counted."""
        return acceleration_of(self.mask)

    def position(self, x: int) -> KSpaceSlice:
        """Return the plane at readout position x as a slice: phase encode along y, second along x.

        Its geometry is that of the plane: the image of a plane lies where it does in the volume.

        Raises
        ------
        IndexError
            The volume has fewer positions.
        """
        n = self.n_positions
        if not -n <= x < n:
            raise IndexError(f"position {x} of a volume with {n}")
        return KSpaceSlice(
            kspace=self.hybrid[x].contiguous(),
            mask=self.mask,
            acs=self.acs[x].contiguous(),
            geometry=self.geometry.plane(x % n, n),
            counters=self.counters,
            stamp=self.stamp,
            noise_std=self.noise_std,
            is_assembled=self.is_assembled,
            notes=self.notes,
        )
