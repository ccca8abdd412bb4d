"""Formats by the extensions of file names, and the files and folders that hold the images."""

from pathlib import Path

from gadget.errors import UsageError
from jrsr_core.mrd.files.suffixes import HDF5_SUFFIXES

ENDINGS = {
    "mrd": ".h5",
    "dicom": "_dicom",
    "enhanced": "_enhanced",
    "nifti": ".nii.gz",
    "png": ".png",
    "report": ".html",
}
"""Format -> what the name of its target ends with, if the name is not given."""

EXTENSIONS = {
    **dict.fromkeys(HDF5_SUFFIXES, "mrd"),
    ".nii.gz": "nifti",
    ".nii": "nifti",
    ".png": "png",
    ".html": "report",
    ".dcm": "enhanced",
}
"""Extension of a file name -> format of the file."""

FOLDERS = ("dicom", "enhanced")
"""Formats whose target is a folder unless it is named as a file."""


def extension_of(path: Path) -> str:
    """Return the known extension of a file name, in the spelling of `EXTENSIONS`, else empty."""
    name = path.name.lower()
    return next((e for e in EXTENSIONS if name.endswith(e) and name != e), "")


def named_format(output: Path | None) -> str:
    """Return the format of an output file by its extension; empty for a folder, or None.

    Raises
    ------
    UsageError
        "-", or an extension that is unknown.
    """
    if output is None or output.is_dir():
        return ""
    if str(output) == "-":
        raise UsageError(
            "-o - : images cannot be written to stdout, name a file or a folder (or: jrsr stream)"
        )
    if extension := extension_of(output):
        return EXTENSIONS[extension]
    if output.suffix:
        raise UsageError(
            f"{output}: unknown extension {output.suffix!r}, known: {', '.join(EXTENSIONS)} "
            "(a folder whose name has a dot must exist already)"
        )
    return ""


def check_extension(output: Path, format_name: str, command: str) -> None:
    """Raise `UsageError` if a file that has one possible format is named as one of another.

    A name without a known extension is accepted.
    """
    found = EXTENSIONS.get(extension_of(output), format_name)
    if found != format_name:
        expected = ", ".join(e for e, name in EXTENSIONS.items() if name == format_name)
        raise UsageError(
            f"{output}: {command} writes {format_name} files ({expected}); "
            "jrsr recon and jrsr convert write images in other formats"
        )


def is_folder(format_name: str, path: Path) -> bool:
    """Return whether a target is a folder."""
    return format_name in FOLDERS and not extension_of(path)


def target_path(stem: str, beside: Path, output: Path | None, format_name: str) -> Path:
    """Return the file or folder to which images are written.

    Parameters
    ----------
    stem
        Name of the target without its ending, if `output` is a folder or None.
    beside
        Folder of the target if `output` is None.
    output
        A folder; or a file name, which is that of the format of its extension: other formats go
        beside it under the same name.
    format_name
        Key of `ENDINGS`.
    """
    named = named_format(output)
    if output is None or not named:
        return (output or beside) / f"{stem}{ENDINGS[format_name]}"
    if format_name == named:
        return output
    return output.with_name(output.name[: -len(extension_of(output))] + ENDINGS[format_name])
