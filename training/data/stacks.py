"""Makes image stacks from NIfTI volumes: axial slices of one pixel size and one matrix, by split.

A volume is turned to axial slices, anterior at the top and left on the right, as radiologists see
them. Its in-plane pixel is changed in k-space: k-space is cropped, or padded with zeros, about its
centre, so that interpolation by the scanner is undone rather than repeated. A pixel of nearly the
wanted size stays as it is. The 99.95th percentile of the volume becomes white (255).
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import h5py
import numpy as np
import torch
from torch import Tensor

from jrsr_core.common.atomic import check_target, whole_file
from jrsr_core.physics.fourier import fft2c, ifft2c
from jrsr_core.physics.resolution import Shape, crop_or_pad
from jrsr_core.simulation.image_stack import check_finite
from jrsr_core.spread import spread

from .listing import MIN_MEAN, draw_splits
from .sources import SourceError
from .sources.base import SPLITS, named_subject
from .sources.volumes import read_oriented

CONTRAST = re.compile(r"(?:^|[_\-.])(T1w|T2w|PDw|FLAIR)(?:$|[_\-.])", re.IGNORECASE)
"""Contrast in a file name, as BIDS and open_ms_data write it."""

WHITE = 0.9995
NEARLY = 0.04
"""Relative difference of the pixel size below which a volume keeps its own."""


@dataclass(frozen=True)
class StackRequest:
    """How stacks are made.

    Attributes
    ----------
    name
        Of the source: the stacks are ``OUT/train/NAME.h5`` and so on, its subjects ``NAME-...``.
    matrix
        Rows (anterior-posterior) and columns of the slices.
    pixel_mm
        Pixel size of the slices.
    slices
        Largest number of slices per volume, evenly spread; None for all with an object in them.
    val, test
        Patterns of the subjects of these splits, as ``sub-6*``; without any, subjects are drawn.
    seed
        Of the drawn splits.
    """

    name: str
    matrix: Shape = (256, 232)
    pixel_mm: float = 0.9
    slices: int | None = None
    val: Sequence[str] = ()
    test: Sequence[str] = ()
    seed: int = 0


@dataclass(frozen=True)
class Volume:
    """One NIfTI file, its subject and its contrast."""

    path: Path
    subject: str
    contrast: str


def find_volumes(folders: Sequence[Path]) -> list[Volume]:
    """Return the volumes below folders whose file name states a contrast (T1w, T2w, PDw, FLAIR).

    Raises
    ------
    SourceError
        No such file below a folder.
    FileNotFoundError
        No such folder.
    """
    found = []
    for folder in folders:
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder}: no such folder")
        paths = sorted(p for p in folder.rglob("*") if p.name.endswith((".nii", ".nii.gz")))
        named = [
            (p, CONTRAST.search(p.name.removesuffix(".gz").removesuffix(".nii"))) for p in paths
        ]
        volumes = [Volume(p, named_subject(p), m.group(1).upper()) for p, m in named if m]
        if not volumes:
            raise SourceError(
                f"{folder}: {len(paths)} NIfTI files in it, none is named T1w, T2w, PDw or FLAIR"
            )
        found += volumes
    return found


def axial_slices(path: Path, matrix: Shape, pixel_mm: float) -> tuple[Tensor, float]:
    """Return the axial slices ``(slice, row, column)`` of a volume and their distance in mm.

    Raises
    ------
    SourceError
        Not a NIfTI volume.
    """
    volume, (x_mm, y_mm, z_mm) = read_oriented(path)
    # From right, anterior, superior to slice, row downwards to posterior, column to the left.
    planes = torch.from_numpy(np.ascontiguousarray(volume[::-1, ::-1].transpose(2, 1, 0)))
    n_rows, n_columns = planes.shape[1:]
    grid = (_size(n_rows, y_mm, pixel_mm), _size(n_columns, x_mm, pixel_mm))
    made = [ifft2c(crop_or_pad(fft2c(p.to(torch.complex64)), grid)).abs() for p in planes]
    return torch.stack([crop_or_pad(image, matrix) for image in made]), z_mm


def _size(n: int, mm: float, wanted_mm: float) -> int:
    """Return the number of pixels of an axis in the wanted size, `n` where it has nearly that."""
    return n if abs(mm / wanted_mm - 1) <= NEARLY else round(n * mm / wanted_mm)


def splits_of(volumes: Sequence[Volume], request: StackRequest) -> dict[str, str]:
    """Return the split of every subject.

    Raises
    ------
    SourceError
        A pattern that fits no subject, or a subject that fits patterns of both splits.
    """
    subjects = sorted({v.subject for v in volumes})
    if not request.val and not request.test:
        return draw_splits(subjects, (), request.seed)
    splits = dict.fromkeys(subjects, "train")
    for name, patterns in (("val", request.val), ("test", request.test)):
        for pattern in patterns:
            fitting = [s for s in subjects if fnmatch(s, pattern)]
            if not fitting:
                raise SourceError(f"{name}: no subject fits {pattern!r}, there are {subjects}")
            for subject in fitting:
                if splits[subject] not in ("train", name):
                    raise SourceError(f"subject {subject!r} fits patterns of val and of test")
                splits[subject] = name
    return splits


def make_stacks(
    folders: Sequence[Path], out: Path, request: StackRequest, *, overwrite: bool = False
) -> Iterator[tuple[str, int]]:
    """Write one stack per split that has subjects; yield its path and number of slices.

    Raises
    ------
    SourceError
        As `find_volumes`, `splits_of` and `axial_slices`, or a split without any slice.
    OSError
        A stack exists already.
    """
    volumes = find_volumes(folders)
    splits = splits_of(volumes, request)
    used = [split for split in SPLITS if split in splits.values()]
    paths = {split: out / split / f"{request.name}.h5" for split in used}
    for path in paths.values():
        path.parent.mkdir(parents=True, exist_ok=True)
        check_target(path, overwrite=overwrite)
    for split, path in paths.items():
        chosen = [v for v in volumes if splits[v.subject] == split]
        with whole_file(path, overwrite=overwrite) as temporary:
            n = _write(temporary, chosen, request)
            if not n:
                raise SourceError(f"{chosen[0].path}: no slice with an object in it")
        yield str(path), n


def _write(path: Path, volumes: Sequence[Volume], request: StackRequest) -> int:
    """Write the slices of volumes one volume at a time; return their number."""
    text, n = h5py.string_dtype(), 0
    types = {"subject": text, "contrast": text, "source": text, "slice": "i8", "thickness_mm": "f8"}
    with h5py.File(path, "w") as file:
        file.attrs["pixel_mm"] = request.pixel_mm
        size = (0, *request.matrix)
        file.create_dataset(
            "slices", size, "u1", maxshape=(None, *size[1:]), chunks=(1, *size[1:]), compression=4
        )
        for name, kind in types.items():
            file.create_dataset(name, (0,), kind, maxshape=(None,))
        for volume in volumes:
            planes, thickness = axial_slices(volume.path, request.matrix, request.pixel_mm)
            kept, pixels = _kept(planes, volume.path, request.slices)
            row = {
                "subject": f"{request.name}-{volume.subject}",
                "contrast": volume.contrast,
                "source": request.name,
                "thickness_mm": thickness,
            }
            values = {k: [v] * len(kept) for k, v in row.items()} | {
                "slice": kept,
                "slices": pixels,
            }
            for name, value in values.items():
                file[name].resize(n + len(kept), axis=0)
                file[name][n:] = value
            n += len(kept)
    return n


def _kept(planes: Tensor, path: Path, most: int | None) -> tuple[list[int], np.ndarray]:
    """Return the numbers of the slices with an object in them, and their pixels as uint8."""
    check_finite(planes, str(path))
    white = float(np.quantile(planes.numpy(), WHITE))
    scaled = (planes / max(white, 1e-12)).clamp(0, 1)
    usable = [i for i, plane in enumerate(scaled) if float(plane.mean()) >= MIN_MEAN]
    kept = [usable[i] for i in spread(len(usable), most)]
    return kept, (255 * scaled[kept]).round().to(torch.uint8).numpy()
