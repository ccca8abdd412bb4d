"""What the images of a scan share."""

from dataclasses import dataclass, field

from torch import Tensor

from jrsr_core.calibration.compression import CoilCompressor
from jrsr_core.mrd.acs.axes import AcsKey
from jrsr_core.mrd.noise.whitening import Whitening


@dataclass
class SharedState:
    """Whitening and ACS that the images of a scan share; it outlives the plans of a live scan.

    `whitening` is None where the scan has no noise data, and until `is_whitening_known`; ACS and
    hybrid ACS are kept by their key, and so are the weights of coils that are loud in
    a scan without noise data, by which the ACS is multiplied. `broken_coils` are the channels that
    are not used, `noise_note` says what is wrong with noise lines.
    """

    is_whitening_known: bool = False
    whitening: Whitening | None = None
    noise_note: str = ""
    broken_coils: frozenset[int] = frozenset()
    acs: dict[AcsKey, Tensor] = field(default_factory=dict)
    weights: dict[AcsKey, Tensor | None] = field(default_factory=dict)
    hybrid: dict[AcsKey, tuple[Tensor, CoilCompressor | None]] = field(default_factory=dict)

    def channels(self, n_coils: int) -> list[int]:
        """Return the channels that are used, of `n_coils`."""
        return [c for c in range(n_coils) if c not in self.broken_coils]

    @property
    def n_bytes(self) -> int:
        """Bytes of the ACS of all slices."""
        kept = [*self.acs.values(), *(acs for acs, _ in self.hybrid.values())]
        return sum(acs.nbytes for acs in kept)
