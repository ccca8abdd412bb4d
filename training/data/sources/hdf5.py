"""HDF5: stacks of magnitude images, fastMRI's multi-coil files, MoDL's data set.

Image stack  own format, see `simulation.image_stack`.
fastMRI      `kspace` (slice, coil, readout, phase encode), `ismrmrd_header` (XML), attribute
             `patient_id` (Zbontar et al., arXiv 1811.08839); readout oversampling is removed. Of
             files with the phase encode first the encoded matrix of the header says so, or `mask`,
             which has one value per phase encode. Lines that were left out within the sampled
             part are refused; outer lines may be padded with zeros.
MoDL         `trnOrg` (n, 256, 232) complex, `trnCsm` (n, 12, 256, 232), and `tst...`
             (Aggarwal et al., TMI 2019); four subjects of 90 slices to train, one to test.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import torch
from torch import Tensor

from jrsr_core.arrays import as_tensor
from jrsr_core.mrd.header.xml import XmlError, decode_xml, parse_xml
from jrsr_core.physics.fourier import fft, fft2c, ifft
from jrsr_core.physics.resolution import crop_or_pad
from jrsr_core.simulation.image_stack import AXES, StackFile, StackLayoutError, checked_dataset
from training.errors import UsageError

from .base import Source, SourceError, anonymous, normalised, own_split, words_of

MODL_SLICES_PER_SUBJECT = 90
KSPACE_AXES = ("slice", "coil", "readout", "phase encode")


def open_hdf5(path: Path) -> h5py.File:
    """Open for reading; raises `SourceError` if the file is not HDF5."""
    try:
        return h5py.File(path, "r")
    except FileNotFoundError:
        raise
    except OSError as error:
        words = words_of(path)
        found = f"but {words}" if words else "or cut off"
        raise SourceError(f"{path.name}: not an HDF5 file, {found}") from error


@contextmanager
def _layout_as_usage() -> Iterator[None]:
    """Turn the error of a file of another layout into a `UsageError`."""
    try:
        yield
    except StackLayoutError as error:
        raise UsageError(str(error)) from error


@contextmanager
def open_stack(path: Path) -> Iterator[StackFile]:
    """Open an image stack.

    Raises
    ------
    SourceError
        Not an HDF5 file.
    UsageError
        A file of another layout.
    """
    with open_hdf5(path) as file:
        with _layout_as_usage():
            stack = StackFile(file)
        yield stack


class ImageStack(Source):
    """Magnitude images; coils, phase and noise have to be simulated."""

    kind = "images"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        with open_stack(path) as stack:
            self.subjects = stack.subjects()
        self.splits = [own_split(path)] * len(self)

    def read(self, index: int) -> Tensor:
        """Return image `index`."""
        with open_stack(self.path) as stack:
            return normalised(stack.read(index))


class FastMri(Source):
    """Multi-coil k-space of one volume."""

    kind = "fastmri"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        with open_hdf5(path) as file:
            with _layout_as_usage():
                shape = checked_dataset(file, "kspace", KSPACE_AXES).shape
            patient = file.attrs.get("patient_id", "")
            try:
                self.is_transposed = _is_transposed(file, shape[2], shape[3])
                self.n_readout = _recon_readout(file, shape[3 if self.is_transposed else 2])
            except XmlError as error:
                raise SourceError(f"{path.name}: ismrmrd_header {error}") from None
            mask = file["mask"][()].ravel() if "mask" in file else None
        # A file of a test split may be undersampled: no training scan is made of it.
        if mask is not None and mask.size in shape[2:] and own_split(path) != "test":
            _check_lines(f"{path.name}: mask", as_tensor(mask) != 0)
        subject = anonymous(str(patient)) if patient else path.stem
        self.subjects = [subject] * shape[0]
        self.splits = [own_split(path)] * shape[0]

    def read(self, index: int) -> Tensor:
        """Return slice `index`, readout oversampling removed.

        Raises
        ------
        SourceError
            The slice is undersampled.
        """
        with open_hdf5(self.path) as file:
            kspace = as_tensor(file["kspace"][index]).to(torch.complex64)
        kspace = kspace if self.is_transposed else kspace.mT
        measured = (kspace != 0).any(0)
        # Both axes: without a header, the phase encode may be either.
        for axis in (0, 1):
            _check_lines(f"{self.path.name}: slice {index}", measured.any(1 - axis))
        if kspace.shape[-1] != self.n_readout:
            kspace = fft(crop_or_pad(ifft(kspace, -1), (self.n_readout,)), -1)
        return kspace.contiguous()


def _check_lines(what: str, sampled: Tensor) -> None:
    """Refuse lines that were left out between the first and the last sampled one.

    Raises
    ------
    SourceError
        There are such lines; the share of the sampled ones is named.
    """
    lines = sampled.nonzero().flatten()
    if not len(lines):
        return
    share = len(lines) / int(lines[-1] - lines[0] + 1)
    if share < 1:
        raise SourceError(f"{what} has {share:.0%} of its k-space, 100% is needed")


def _recon_readout(file: h5py.File, n_stored: int) -> int:
    """Return the readout size of the reconstructed image as the ISMRMRD header states it."""
    n_recon = _matrix_x(file, "reconSpace")
    return min(n_recon, n_stored) if n_recon else n_stored


def _is_transposed(file: h5py.File, n_first: int, n_second: int) -> bool:
    """Return whether the phase encode is stored before the readout."""
    n_encoded = _matrix_x(file, "encodedSpace")
    if n_encoded in (n_first, n_second) and n_first != n_second:
        return n_encoded == n_second
    n_lines = file["mask"].size if "mask" in file else 0
    return n_first != n_second and n_lines == n_first


def _matrix_x(file: h5py.File, space: str) -> int:
    """Return the matrix size along the readout that the ISMRMRD header states, 0 without one.

    Raises
    ------
    XmlError
        The header is not XML.
    """
    if "ismrmrd_header" not in file:
        return 0
    stored = file["ismrmrd_header"][()]
    text = decode_xml(stored) if isinstance(stored, bytes) else str(stored)
    stated = parse_xml(text.encode()).findtext(f"encoding/{space}/matrixSize/x", "").strip()
    return int(stated) if stated.isdecimal() else 0


class Modl(Source):
    """Complex images with ESPIRiT maps: the k-space of their product."""

    kind = "modl"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._where: list[tuple[str, int]] = []
        with open_hdf5(path) as file:
            for prefix, split in (("trn", "train"), ("tst", "test")):
                if f"{prefix}Org" not in file:
                    continue
                with _layout_as_usage():
                    shape = checked_dataset(file, f"{prefix}Org", AXES).shape
                    csm = checked_dataset(file, f"{prefix}Csm", (AXES[0], "coil", *AXES[1:])).shape
                n = shape[0]
                if (n, *csm[2:]) != shape:
                    raise SourceError(f"{path.name}: {prefix}Csm is {csm}, {prefix}Org is {shape}")
                self._where += [(prefix, i) for i in range(n)]
                subjects = [f"{prefix}-{i // MODL_SLICES_PER_SUBJECT}" for i in range(n)]
                self.subjects += subjects if prefix == "trn" else ["tst-0"] * n
                # A validation subject is taken out of the training ones like anywhere else.
                self.splits += ["" if split == "train" else split] * n

    def read(self, index: int) -> Tensor:
        """Return the coil k-space of slice `index`."""
        prefix, i = self._where[index]
        with open_hdf5(self.path) as file:
            image = as_tensor(file[f"{prefix}Org"][i]).to(torch.complex64)
            csm = as_tensor(file[f"{prefix}Csm"][i]).to(torch.complex64)
        return fft2c((csm * image).mT.contiguous())
