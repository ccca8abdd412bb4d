"""The files and folders that a run of `jrsr recon` writes, and those that are complete already."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gadget.console import print_line, print_warning
from gadget.errors import UsageError, describe
from gadget.inputs import check_inputs_stay
from gadget.output.fallback_marks import has_fallback_images
from gadget.output.formats import check_targets, is_finished, missing_files
from gadget.output.names import named_format
from jrsr_core.spelling import counted

Targets = dict[Path, dict[str, Path]]
"""Scan -> format -> file or folder to be written."""


def check_all_targets(
    targets: Targets, *, overwrite: bool, further_inputs: Iterable[Path | None] = ()
) -> None:
    """Raise before any work if two targets collide or one may not be written.

    Raises
    ------
    UsageError
        Two scans would write the same file, or a scan or another input would be replaced.
    OSError
        As `jrsr_core.atomic.check_target`.
    """
    paths = [path for group in targets.values() for path in group.values()]
    if len(set(paths)) < len(paths):
        raise UsageError("several scans have one name and would write the same file")
    check_inputs_stay(paths, [*targets, *further_inputs])
    for group in targets.values():
        check_targets(group, overwrite=overwrite)


def missing_targets(targets: Targets, *, overwrite: bool) -> Targets:
    """Return the targets that do not exist; print what is complete and what is left.

    Whatever JRSR wrote is complete: a target takes its name only then. Other folders of such names,
    and empty files, are left to `check_all_targets`. A target that lacks a file beside it is made
    again if it may be replaced.
    """

    def is_left(name: str, path: Path) -> bool:
        if not is_finished(name, path):
            return True
        return _warns_of_missing_files(name, path, overwrite=overwrite) and overwrite

    left = {
        source: {name: path for name, path in paths.items() if is_left(name, path)}
        for source, paths in targets.items()
    }
    left = {source: paths for source, paths in left.items() if paths}
    n_done = len(targets) - len(left)
    print_line(f"{counted(n_done, 'scan')} finished before, {len(left)} to do")
    for source, paths in left.items():
        if complete := [name for name in targets[source] if name not in paths]:
            print_line(f"{source.name}: {', '.join(complete)} exists, making {', '.join(paths)}")
    return left


def kept_fallback_images(targets: Targets, left: Targets) -> bool:
    """Tell whether targets that are not made again hold fallback images."""
    return any(
        [
            _warns_of_fallback_images(name, path)
            for source, paths in targets.items()
            for name, path in paths.items()
            if name not in left.get(source, {})
        ]
    )


def _warns_of_fallback_images(name: str, path: Path) -> bool:
    """Tell whether a finished target holds fallback images; a warning names it."""
    try:
        found = has_fallback_images(name, path)
    except (OSError, ValueError) as error:
        print_warning(f"{path}: warning: not known if it holds fallback images: {describe(error)}")
        return False
    if found:
        print_warning(f"{path}: warning: fallback images are among those finished before")
    return found


def _warns_of_missing_files(name: str, path: Path, *, overwrite: bool) -> bool:
    """Tell whether files beside a finished target are missing; a warning names them."""
    missing = " and ".join(file.name for file in missing_files(name, path))
    if missing:
        hint = "" if overwrite else ": --overwrite makes it again"
        print_warning(f"{path}: warning: {missing} of this image is missing{hint}")
    return bool(missing)


def is_new_folder(path: Path | None) -> bool:
    """Return whether an output is a folder that does not exist yet."""
    return path is not None and not named_format(path) and not path.exists()


@contextmanager
def output_folder(path: Path | None) -> Iterator[None]:
    """Make the output folder if it is new, and remove it again if it stays empty."""
    if path is None or not is_new_folder(path):
        yield
        return
    path.mkdir(parents=True)
    try:
        yield
    finally:
        if not any(path.iterdir()):
            path.rmdir()
