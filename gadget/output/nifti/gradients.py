"""Makes the files of the diffusion weightings of a stack as FSL and dcm2niix do.

A ``.bval`` file has the b-value of each frame in s/mm2. A ``.bvec`` file has three rows: the
gradient direction of each frame along the voxel axes x, y and z, with x negated where the
determinant of the affine is positive.
"""

from pathlib import Path

import numpy as np

from gadget.output.diffusion import Diffusion
from gadget.output.labels import Labels
from gadget.output.series.stacks import Stack

SUFFIXES = (".bval", ".bvec")


def gradient_files(image: Path) -> list[Path]:
    """Return both files beside an image; ``head.nii`` and ``head.nii.gz`` have the same."""
    stem = image.name.removesuffix(".gz").removesuffix(".nii")
    return [image.with_name(stem + suffix) for suffix in SUFFIXES]


def gradient_texts(stack: Stack, labels: Labels) -> tuple[str, str] | None:
    """Return the texts of both files; None unless all weightings are known and one is above 0."""
    found = [labels.diffusion(frame[0].counters) for frame in stack.frames]
    known = [diffusion for diffusion in found if diffusion is not None]
    if len(known) < len(found) or not any(diffusion.b_value for diffusion in known):
        return None
    vectors = np.stack([_vector(stack, diffusion) for diffusion in known], axis=1)
    return _line([diffusion.b_value for diffusion in known]), "".join(map(_line, vectors.tolist()))


def _vector(stack: Stack, diffusion: Diffusion) -> np.ndarray:
    """Return the direction along the voxel axes in the convention of FSL, 0 if there is none."""
    plane = stack.frames[0][0]
    through = np.copysign(1.0, stack.step @ plane.normal)
    axes = np.stack((-through * plane.row, plane.column, through * plane.normal))
    # The sum removes negative zeros.
    return axes @ np.array(diffusion.direction or (0.0, 0.0, 0.0)) + 0.0


def _line(values: list[float]) -> str:
    return " ".join(f"{value:.6g}" for value in values) + "\n"
