"""The two acquisitions of the paper, brain-5x and wall-16x (Xu et al. 2023, section 3.3).

brain-5x: HR 232 x 256 (y, x; readout along the 256), 16 coils, twofold lower resolution along both
axes, 1-D Gaussian mask 2.5x with 24 ACS (auto-calibration) lines, noise at 30 dB. wall-16x: both
in-plane axes are phase encodes; 18 coils, 2-D Poisson disc 4x with a 24 x 24 ACS.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Generator, Tensor

from jrsr_core.common.spelling import UnknownName, nearest
from jrsr_core.matrix import SR_FACTOR
from jrsr_core.physics.resolution import Shape

from .acquisition import SimulatedSlice, acquire
from .coils import random_coils
from .fields import random_phase
from .masks import make_mask


@dataclass(frozen=True)
class Protocol:
    """How a slice is scanned.

    `mask` is a kind of `MASK_NAMES`; `noise_db` the noise level as defined in `acquisition`;
    `hr_shape` ``(y, x)`` and `pixel_mm` are those of the HR image; `readout_pixel` is the readout
    pixel over the phase-encode pixel, 0.5 for an HR readout; `phase_fov` the field of view along y
    over that of the image, below 1 for an object that folds over. If `is_3d`, both axes of the
    image are phase encodes, and the readout is a third axis.
    """

    name: str
    n_coils: int
    mask: str
    acceleration: float
    n_acs: int = 24
    noise_db: float = 30.0
    hr_shape: Shape = (232, 256)
    pixel_mm: float = 0.9
    readout_pixel: float = 1.0
    phase_fov: float = 1.0
    is_3d: bool = False

    def fov_shape(self, hr_shape: tuple[int, ...]) -> Shape:
        """Return the part ``(y, x)`` of an HR matrix inside the field of view, of even height."""
        ny, nx = hr_shape
        return (SR_FACTOR * round(ny * self.phase_fov / SR_FACTOR), nx)

    def lr_shape(self, hr_shape: tuple[int, ...]) -> Shape:
        """Return the acquired matrix ``(ky, kx)`` of an HR matrix ``(y, x)``."""
        ny, nx = hr_shape
        return (ny // SR_FACTOR, round(nx // SR_FACTOR / self.readout_pixel))


PROTOCOLS = {
    "brain-5x": Protocol("brain-5x", n_coils=16, mask="gaussian", acceleration=2.5),
    "wall-16x": Protocol("wall-16x", n_coils=18, mask="poisson", acceleration=4.0, is_3d=True),
}


def find_protocol(name: str) -> Protocol:
    """Return the protocol of this name; `UnknownName` if there is none."""
    if name not in PROTOCOLS:
        raise UnknownName(f"unknown protocol {name!r}{nearest(name, PROTOCOLS)}")
    return PROTOCOLS[name]


def scan_image(
    hr_image: Tensor, protocol: Protocol, mask: Tensor, generator: Generator
) -> SimulatedSlice:
    """Scan the HR magnitude ``(y, x)`` with a given mask; draws coils, phase and noise in turn."""
    shape = (hr_image.shape[0], hr_image.shape[1])
    csm = random_coils(protocol.n_coils, shape, generator)
    return acquire(
        hr_image * random_phase(shape, generator),
        csm,
        mask,
        noise_db=protocol.noise_db,
        generator=generator,
        n_rows=protocol.fov_shape(shape)[0],
    )


def simulate_protocol(
    protocol: Protocol | str,
    hr_image: Tensor,
    *,
    seed: int = 0,
    mask_seed: int = 0,
    **changes: Any,
) -> SimulatedSlice:
    """Scan the HR magnitude `hr_image` ``(y, x)`` by a protocol.

    `protocol` may be a name of `PROTOCOLS`; `changes` replace fields of it. `seed` draws coils,
    phase and noise, `mask_seed` the mask, of which a whole data set has one.

    Raises
    ------
    ValueError
        Unknown protocol or mask, odd HR size, ACS that does not fit.
    """
    protocol = find_protocol(protocol) if isinstance(protocol, str) else protocol
    protocol = replace(protocol, **changes)
    if any(n % SR_FACTOR for n in hr_image.shape):
        shape = tuple(hr_image.shape)
        raise ValueError(f"HR image is {shape}, both sizes must be multiples of {SR_FACTOR}")
    lr_shape = protocol.lr_shape(protocol.fov_shape(hr_image.shape))
    mask = make_mask(
        protocol.mask, lr_shape, protocol.acceleration, n_acs=protocol.n_acs, seed=mask_seed
    )
    return scan_image(hr_image, protocol, mask, torch.Generator().manual_seed(seed))
