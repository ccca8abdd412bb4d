"""What makes images of test slices: systems, and folders of images made elsewhere."""

from dataclasses import dataclass
from typing import Protocol

from jrsr_core.data import ReconImage
from jrsr_core.reconstruction.reconstructor import Reconstructor
from training.data.testset import ScannedSlice, as_kspace_slice

from .other_images import OtherImages

SHORT_HASH = 12
"""Digits of the hash of weights in a row."""


def short_hash(recon: Reconstructor) -> str:
    """Return the first digits of the hash of the weights, of each part of a sequence."""
    return "+".join(card.sha256[:SHORT_HASH] for card in recon.cards)


class Judged(Protocol):
    """What makes images of test slices: a system, or a folder of images made elsewhere."""

    @property
    def fully_sampled(self) -> bool:
        """Whether it is given the scan without undersampling."""
        ...

    def __call__(self, test: ScannedSlice) -> ReconImage:
        """Return the image of a test slice."""
        ...


def digest_of(system: "Judged") -> str:
    """Return what identifies a system: the hash of its weights, or of its images."""
    if isinstance(system, OtherImages):
        return system.sha256[:SHORT_HASH]
    return short_hash(system.recon) if isinstance(system, System) else ""


@dataclass(frozen=True)
class System:
    """A reconstructor, and whether it is given the scan without undersampling (upper reference)."""

    recon: Reconstructor
    fully_sampled: bool = False

    def __call__(self, test: ScannedSlice) -> ReconImage:
        """Return the image of a test slice."""
        return self.recon(as_kspace_slice(test.scan, fully_sampled=self.fully_sampled))
