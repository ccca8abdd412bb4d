"""Images of the test slices that were made elsewhere, judged like those of the systems.

A folder holds, for the slices of the test file ``NAME.h5``, either ``NAME.h5`` with a data set
``slices`` in the layout of the test file (n, readout, phase encode), or one numpy array
``NAME_<index>.npy`` (phase encode, readout) per slice, real or complex. The intensity scale has to
be that of the truth, a slice with values above 1 divided by its largest, because nothing is
rescaled. An image on quite another scale is refused.
"""

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from jrsr_core.arrays import as_tensor
from jrsr_core.data import AcquisitionStamp, Counters, ReconImage, ReconReport
from training.data.sources.hdf5 import open_stack
from training.data.testset import ScannedSlice, SliceAddress, as_kspace_slice
from training.errors import UsageError

SUFFIXES = (".h5", ".npy")

MAX_RATIO = 5.0
"""Of the norms of image and truth, or its inverse; no image of the same object and scale has it."""


class OtherImages:
    """A system whose images are read from a folder.

    Parameters
    ----------
    label
        Name of the system in tables.
    folder
        Folder of the images.

    Raises
    ------
    UsageError
        No such folder, or one without images.
    """

    fully_sampled = False

    def __init__(self, label: str, folder: Path) -> None:
        self.label, self.folder = label, folder
        if not folder.is_dir():
            raise UsageError(f"--images {folder}: no such folder")
        files = sorted(p for p in folder.iterdir() if p.suffix in SUFFIXES)
        if not files:
            raise UsageError(f"--images {folder}: no images ({', '.join(SUFFIXES)}) in this folder")
        digest = hashlib.sha256()
        for path in files:
            digest.update(path.name.encode() + path.read_bytes())
        self.sha256 = digest.hexdigest()

    def __call__(self, test: ScannedSlice) -> ReconImage:
        """Return the image of a test slice.

        Raises
        ------
        ValueError
            There is no image of this slice, or it has another matrix or scale than the truth.
        """
        image, truth = self._read(test.address), test.scan.truth
        if image.shape != truth.shape:
            found, wanted = tuple(image.shape), tuple(truth.shape)
            raise ValueError(f"{self._name(test.address)}: image is {found}, truth is {wanted}")
        ratio = float(image.norm() / truth.norm())
        if not 1 / MAX_RATIO < ratio < MAX_RATIO:
            raise ValueError(
                f"{self._name(test.address)}: image is {ratio:.3g} times as bright as the truth, "
                f"whose largest value is {float(truth.max()):.3g}: use the scale of the truth"
            )
        return ReconImage(
            image,
            image,
            as_kspace_slice(test.scan).geometry,
            Counters(),
            AcquisitionStamp(),
            ReconReport(model=self.label),
        )

    def _name(self, address: SliceAddress) -> str:
        return f"{self.folder}, slice {address.index} of {address.file}"

    def _read(self, address: SliceAddress) -> Tensor:
        single, stack = (
            self.folder / f"{address.file}{end}" for end in (f"_{address.index}.npy", ".h5")
        )
        if single.is_file():
            values = np.load(single, allow_pickle=False)
        elif stack.is_file():
            with open_stack(stack) as images:
                values = images.stored(address.index).T
        else:
            raise ValueError(f"{self._name(address)}: no {single.name} and no {stack.name}")
        pixels = as_tensor(values, self._name(address))
        # |x| as of every system (`ReconImage.magnitude`): below zero, a result is not padding.
        pixels = pixels if pixels.is_complex() else pixels.to(torch.float32)
        return pixels.abs().to(torch.float32)


def read_folders(texts: list[str]) -> dict[str, OtherImages]:
    """Return the folders of ``--images`` by label: ``FOLDER``, or ``LABEL=FOLDER``.

    Raises
    ------
    UsageError
        A label twice; errors of `OtherImages`.
    """
    found: dict[str, OtherImages] = {}
    for text in texts:
        label, equals, folder = text.partition("=")
        path = Path(folder if equals else text)
        label = label if equals else path.name
        if label in found:
            raise UsageError(f"--images {label} is given twice")
        found[label] = OtherImages(label, path)
    return found
