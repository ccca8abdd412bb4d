"""The interface of all readers, and the subjects and splits that names of files state."""

import hashlib
import re
from pathlib import Path

from torch import Tensor

from jrsr_core.mrd.files.foreign import foreign_words, without_reason

SPLITS = ("train", "val", "test")
_FILE_SPLIT = re.compile(r"(?:^|[_\-.])(train|val|test)(?:$|[_\-.])")
_BIDS_SUBJECT = re.compile(r"(?:^|_)(sub-[A-Za-z0-9]+)(?:_|$)")
_FOLDER_SUBJECT = re.compile(r"(?:patient|subject)[_-]?\d+", re.IGNORECASE)
_FOLDER_SPLIT = re.compile(r"(train|val|test)")
_FASTMRI_FOLDER = re.compile(r"(?:^|_)(?:multi|single)coil_(train|val|test|challenge)(?:$|_)")
"""Folders of fastMRI, such as `multicoil_test_v2`; k-space for its challenges is undersampled."""


class SourceError(ValueError):
    """A file that cannot be used for training; the message is one line."""


class Source:
    """A file or folder with training slices.

    Attributes
    ----------
    path
        The file, or the folder of a DICOM series.
    kind
        Name of the format.
    subjects, splits
        Per slice; a split is "" where the source does not state one.
    one_matrix
        Whether all slices have one matrix and one number of coils.
    """

    kind = ""
    one_matrix = True

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.subjects: list[str] = []
        self.splits: list[str] = []

    def __len__(self) -> int:
        return len(self.subjects)

    def read(self, index: int) -> Tensor:
        """Return an image or k-space, readout along the last axis.

        An image is a float32 magnitude ``(y, x)`` with maximum 1; k-space is complex64
        ``(coil, ky, kx)``, fully sampled.
        """
        raise NotImplementedError

    def files(self) -> list[Path]:
        """Return the files whose content makes this source."""
        return [self.path]

    def sha256(self) -> str:
        """Hash over the content of all files."""
        digest = hashlib.sha256()
        for path in self.files():
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        return digest.hexdigest()


def words_of(path: Path) -> str:
    """Return what a file is that is no source, "" if it is not recognised.

    That it has no k-space is no reason here: training takes images.
    """
    return without_reason(foreign_words(path))


def own_split(path: Path) -> str:
    """Return the split that the name of a file, or of its folder, states; "" where none does.

    `brain_train.h5` and fastMRI's `multicoil_val/file.h5` do, `my_test_data/file.h5` does not.
    fastMRI's `multicoil_challenge` counts as test.
    """
    found = _FILE_SPLIT.search(path.stem.removesuffix(".nii"))
    found = found or _FOLDER_SPLIT.fullmatch(path.parent.name)
    found = found or _FASTMRI_FOLDER.search(path.parent.name)
    return found.group(1).replace("challenge", "test") if found else ""


def named_subject(path: Path) -> str:
    """Return the subject: `sub-XXX` of BIDS, a folder `patient01`, else the name of the file.

    So all contrasts and sessions of a person are one subject, whether the file states it
    (`sub-01_ses-2_T1w.nii.gz`) or a folder above it (`sub-01/anat/T1w.nii.gz`,
    `patient01/study1_T1W.nii.gz`).
    """
    name = path.name.removesuffix(".gz").removesuffix(".nii")
    for part in (name, *(folder.name for folder in path.absolute().parents)):
        if found := _BIDS_SUBJECT.search(part):
            return found.group(1)
        if _FOLDER_SUBJECT.fullmatch(part):
            return part
    return name


def anonymous(identity: str) -> str:
    """Return a short hash in place of a patient's name or number."""
    return "p" + hashlib.sha256(identity.encode()).hexdigest()[:10]


def normalised(image: Tensor) -> Tensor:
    """Return the magnitude with maximum 1; zero stays zero."""
    image = image.clamp_min(0)
    return image / image.max().clamp_min(1e-12)
