"""Arrays of a user -> samples and sampled places; an error names the field and both sides.

The modules of this package import it on first use: it imports torch.
"""

from collections.abc import Sequence
from math import inf
from numbers import Real

import torch
from torch import Tensor

from jrsr_core.arrays import Array, as_tensor, own_samples
from jrsr_core.echo import measured_part, note_on_ends
from jrsr_core.image_arrays import kspace_notes, strongest
from jrsr_core.numeric import checked_count

from .geometry import SliceGeometry


def filled_samples(x: Array, name: str, axes: Sequence[str]) -> Tensor:
    """Return `own_samples`; a `ValueError` where an axis has no element."""
    samples = own_samples(x, name, axes)
    if not samples.numel():
        shape, wanted = tuple(samples.shape), ", ".join(axes)
        raise ValueError(f"{name} is {shape}, expected at least one element of each of ({wanted})")
    return samples


def sampled_places(mask: Array) -> Tensor:
    """Return where a mask is nonzero, bool; a `ValueError` where it is not a number."""
    values = as_tensor(mask, "mask")
    if n_wrong := int(torch.isnan(values).sum()):
        raise ValueError(
            f"mask has {n_wrong} elements that are NaN, expected nonzero where measured, else 0"
        )
    return values.ne(0)


def mask_of(mask: Array) -> Tensor:
    """Return a mask as float32, 1 where `sampled_places`; one of 0 and 1 alone is kept."""
    if isinstance(mask, Tensor) and mask.dtype == torch.float32 and mask.equal(mask.ne(0).float()):
        return mask
    return sampled_places(mask).float()


def only_sampled(samples: Tensor, sampled: Tensor) -> Tensor:
    """Return the samples, zero elsewhere: whatever stands there, NaN for instance, is none."""
    return samples.where(sampled, samples.new_zeros(()))


def measured_readout(samples: Tensor, axis: str) -> tuple[Tensor, tuple[str, ...]]:
    """Return which samples along the last axis were measured, bool, and a note on the others.

    Samples of zeros alone say nothing about it: then all of the readout counts as measured.
    """
    n = samples.shape[-1]
    is_there = samples.ne(0).flatten(0, -2).any(0)
    part = measured_part(is_there.cpu().numpy())
    if not part.stop:
        return torch.ones_like(is_there), ()
    measured = torch.zeros_like(is_there)
    measured[part] = True
    return measured, note_on_ends(axis, part.start, n - part.stop, n)


def empty_note(n_empty: int, n_lines: int) -> str:
    """Return the note about lines of which every sample is zero."""
    return f"{n_empty} of {n_lines} lines are zero in every channel: they count as not measured"


def without_empty_lines(lines: Tensor, has_samples: Tensor) -> tuple[Tensor, tuple[str, ...]]:
    """Return which of the sampled lines have a sample that is not zero, and a note on the others.

    A receiver delivers noise wherever it samples. If all lines are zero, all count as measured.
    """
    n_empty, n_lines = int((lines & ~has_samples).sum()), int(lines.sum())
    if n_empty in (0, n_lines):
        return lines, ()
    return lines & has_samples, (empty_note(n_empty, n_lines),)


def sampling_of(mask: Array | None, samples: Tensor) -> tuple[Tensor, tuple[str, ...]]:
    """Return the sampled places of a slice, bool ``(ky, kx)``, and notes.

    Parameters
    ----------
    mask, samples
        As in `KSpaceSlice.from_array`.
    """
    if mask is None:
        return samples.ne(0).any(0), ()
    grid = tuple(samples.shape[1:])
    sampled = sampled_places(mask)
    notes: tuple[str, ...] = ()
    if tuple(sampled.shape) == grid[:1]:
        # A mask of lines says nothing about their ends; one of samples does.
        along_x, notes = measured_readout(samples[:, sampled], "kx")
        sampled = sampled[:, None] & along_x
    if tuple(sampled.shape) != grid:
        raise ValueError(f"mask is {tuple(sampled.shape)}, kspace is {grid} along (ky, kx)")
    has_samples = (samples.ne(0).any(0) & sampled).any(1)
    lines, note_on_lines = without_empty_lines(sampled.any(1), has_samples)
    return sampled & lines[:, None], notes + note_on_lines


def notes_on_array(samples: Tensor, axes: Sequence[str]) -> tuple[str, ...]:
    """Return `kspace_notes` on k-space ``(coil, *axes)``."""
    samples = samples.detach()
    root = torch.linalg.vector_norm(samples, dim=0, dtype=torch.complex128)
    energy = root.square().cpu().numpy()
    plane = samples if len(axes) == 2 else samples[:, strongest(energy)]
    return kspace_notes(energy, plane.cpu().numpy(), axes)


def checked_noise(noise_std: object) -> float | None:
    """Return the noise level as a number, None if it is unknown; else raise a `ValueError`."""
    if noise_std is None:
        return None
    shape = tuple(getattr(noise_std, "shape", ()))
    if shape:
        raise ValueError(f"noise_std is an array {shape}, expected one number for all coils")
    # A number of numpy or torch becomes one of Python.
    number = getattr(noise_std, "item", lambda: noise_std)()
    if not isinstance(number, Real) or not 0 <= float(number) < inf:
        raise ValueError(f"noise_std is {noise_std!r}, expected a finite number of at least 0")
    return float(number)


def checked_readout(lr_readout: object) -> int | None:
    """Return the samples of the LR readout, None for all; else raise a `ValueError`."""
    if lr_readout is None:
        return None
    return checked_count("lr_readout", lr_readout)


def checked_geometry(geometry: object) -> SliceGeometry:
    """Return the geometry; a `ValueError` if it is something else."""
    if not isinstance(geometry, SliceGeometry):
        raise ValueError(
            f"geometry is {geometry!r}, expected a SliceGeometry: SliceGeometry.axial(fov_mm=...)"
        )
    return geometry
