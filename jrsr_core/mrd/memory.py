"""What the images of a scan share."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from jrsr_core.calibration.compression import CoilCompressor

from .acs.axes import AcsKey
from .noise import Whitening


@dataclass
class ScanMemory:
    """Whitening and ACS that the images of a scan share; it outlives the plans of a live scan.

    `whitening` is None where the scan has no noise data, and until `is_whitening_known`; ACS and
    hybrid ACS are kept by their key, and so are the weights of coils that are loud in
    a scan without noise data, by which the ACS is multiplied. `broken_coils` are the channels that
    are not used, `noise_note` says what is wrong with noise lines. `unwhitened` is the memory of
    images for which the noise data are far too loud (`calibration.stated_noise`).
    """

    is_whitening_known: bool = False
    whitening: Whitening | None = None
    noise_note: str = ""
    broken_coils: frozenset[int] = frozenset()
    acs: dict[AcsKey, Tensor] = field(default_factory=dict)
    weights: dict[AcsKey, Tensor | None] = field(default_factory=dict)
    hybrid: dict[AcsKey, tuple[Tensor, CoilCompressor | None]] = field(default_factory=dict)
    unwhitened: ScanMemory | None = None

    @property
    def n_bytes(self) -> int:
        """Bytes of the ACS of all slices."""
        kept = [*self.acs.values(), *(acs for acs, _ in self.hybrid.values())]
        further = self.unwhitened.n_bytes if self.unwhitened else 0
        return sum(acs.nbytes for acs in kept) + further

    def without_noise(self) -> ScanMemory:
        """Return the memory of images whose noise data are not used."""
        self.unwhitened = self.unwhitened or ScanMemory()
        return self.unwhitened
