"""The two acquisitions of the paper as functions: brain-5x and wall-16x (section 3.3).

brain-5x: HR 232 x 256 (y, x; readout along the 256), 16 coils, twofold lower resolution along both
axes, 1-D Gaussian mask 2.5x with 24 ACS lines, noise at 30 dB. wall-16x: both in-plane axes are
phase encodes; 18 coils, 2-D Poisson disc 4x with a 24 x 24 ACS.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from jrsr_core.physics.resolution import Shape

from .acquisition import SimulatedScan, acquire
from .coils import random_coils
from .fields import random_phase
from .masks import make_mask

SR_FACTOR = 2


@dataclass(frozen=True)
class Protocol:
    """How a scan is simulated.

    `readout_pixel` is the readout over the phase-encode pixel, `phase_fov` the field of view along
    y over the image's: below 1 the object is folded over.
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

    def seen_shape(self, hr_shape: Shape) -> Shape:
        """Return the part of an HR matrix that the field of view has room for, of even size."""
        return (SR_FACTOR * round(hr_shape[0] * self.phase_fov / SR_FACTOR), hr_shape[1])

    def lr_shape(self, hr_shape: Shape) -> Shape:
        """Return the acquired matrix of an HR matrix."""
        return (hr_shape[0] // SR_FACTOR, round(hr_shape[1] // SR_FACTOR / self.readout_pixel))


PROTOCOLS = {
    "brain-5x": Protocol("brain-5x", n_coils=16, mask="gaussian", acceleration=2.5),
    "wall-16x": Protocol("wall-16x", n_coils=18, mask="poisson", acceleration=4.0),
}


def load_image(path: str | Path, index: int) -> Tensor:
    """Read slice `index` of an HDF5 file with a data set ``slices`` (n, readout, phase encode).

    Returns float32 magnitude ``(y, x)`` in [0, 1]: the stored first axis becomes the readout x.
    """
    import h5py

    with h5py.File(path, "r") as file:
        if "slices" not in file:
            raise ValueError(f"{path}: no data set 'slices', found {sorted(file)}")
        n = file["slices"].shape[0]
        if not 0 <= index < n:
            raise ValueError(f"{path}: slice {index} asked for, the file has {n}")
        stored = torch.from_numpy(file["slices"][index])
    image = stored.to(torch.float32).T.contiguous()
    return image / image.max().clamp_min(1.0)


def simulate_protocol(
    protocol: Protocol | str,
    hr_image: Tensor,
    *,
    n_coils: int | None = None,
    acceleration: float | None = None,
    mask: str | None = None,
    n_acs: int | None = None,
    noise_db: float | None = None,
    seed: int = 0,
    mask_seed: int = 0,
    phase: bool = True,
) -> SimulatedScan:
    """Scan the magnitude `hr_image` ``(y, x)`` by a protocol, any of its numbers replaced.

    `seed` draws coils, phase and noise; `mask_seed` the mask, which is one for a whole data set.

    Raises
    ------
    ValueError
        Unknown protocol or mask, odd HR size, ACS that does not fit.
    """
    if isinstance(protocol, str):
        if protocol not in PROTOCOLS:
            raise ValueError(f"unknown protocol {protocol!r}, known: {', '.join(PROTOCOLS)}")
        protocol = PROTOCOLS[protocol]
    changes = {
        "n_coils": n_coils,
        "acceleration": acceleration,
        "mask": mask,
        "n_acs": n_acs,
        "noise_db": noise_db,
    }
    protocol = replace(protocol, **{k: v for k, v in changes.items() if v is not None})
    hr_shape: Shape = (hr_image.shape[-2], hr_image.shape[-1])
    if any(n % SR_FACTOR for n in hr_shape):
        raise ValueError(f"HR image is {hr_shape}, both sizes must be multiples of {SR_FACTOR}")
    seen = protocol.seen_shape(hr_shape)
    generator = torch.Generator().manual_seed(seed)
    csm = random_coils(protocol.n_coils, hr_shape, generator)
    image = hr_image.to(torch.complex64)
    if phase:
        image = image * random_phase(hr_shape, generator)
    lr_shape, factor = protocol.lr_shape(seen), protocol.acceleration
    lines = make_mask(protocol.mask, lr_shape, factor, n_acs=protocol.n_acs, seed=mask_seed)
    return acquire(
        image, csm, lines, noise_db=protocol.noise_db, generator=generator, n_rows=seen[0]
    )
