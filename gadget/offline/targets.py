"""The files and folders that a run of `jrsr recon` writes, and those that are complete already."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gadget.compute.maker import Maker
from gadget.console import print_line, print_warning
from gadget.errors import UsageError, describe
from gadget.inputs import check_inputs_stay
from gadget.output.formats import check_targets, is_finished, missing_files
from gadget.output.names import named_format
from gadget.output.provenance import Provenance, provenance
from jrsr_core.common.spelling import counted

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
        As `jrsr_core.common.atomic.check_target`.
    """
    paths = [path for group in targets.values() for path in group.values()]
    if len(set(paths)) < len(paths):
        raise UsageError("several scans have one name and would write the same file")
    check_inputs_stay(paths, [*targets, *further_inputs])
    for group in targets.values():
        check_targets(group, overwrite=overwrite)


def missing_targets(
    targets: Targets, makers: list[Maker], *, overwrite: bool
) -> tuple[Targets, bool]:
    """Find the targets that do not exist; print what is complete and what is left.

    Whatever JRSR wrote is complete: a target takes its name only then. Other folders of such names,
    and empty files, are left to `check_all_targets`. A target that lacks a file beside it, is older
    than its scan, or was made by another model or with other weights is made again if it may be
    replaced.

    Parameters
    ----------
    makers
        The model of this run; several where it is not known which of them.

    Returns
    -------
    left, has_fallback
        Targets to be made; whether one that is not made again holds fallback images.
    """
    left: Targets = {}
    has_fallback = False
    for source, paths in targets.items():
        finished = {n: _provenance(n, path) for n, path in paths.items() if is_finished(n, path)}
        beside = frozenset[Maker]().union(*(stated.makers for stated in finished.values()))
        for name, path in paths.items():
            if name in finished:
                stated = finished[name]
                reasons = _changes(source, name, path) + _other_models(stated, beside, makers)
                if reasons:
                    hint = "" if overwrite else ": --overwrite makes it again"
                    print_warning(f"{path}: warning: {' and '.join(reasons)}{hint}")
                if not (reasons and overwrite):
                    has_fallback |= _warns_of_fallback_images(path, stated)
                    continue
            left.setdefault(source, {})[name] = path
    _print_left(targets, left)
    return left, has_fallback


def _print_left(targets: Targets, left: Targets) -> None:
    n_done = len(targets) - len(left)
    print_line(f"{counted(n_done, 'scan')} finished before, {len(left)} to do")
    for source, paths in left.items():
        if complete := [name for name in targets[source] if name not in paths]:
            print_line(f"{source.name}: {', '.join(complete)} exists, making {', '.join(paths)}")


def _provenance(name: str, path: Path) -> Provenance:
    """Return what a finished target states; a warning names one that cannot be read."""
    try:
        return provenance(name, path)
    except (OSError, ValueError) as error:
        print_warning(f"{path}: warning: not known if it holds fallback images: {describe(error)}")
        return Provenance()


def _warns_of_fallback_images(path: Path, stated: Provenance) -> bool:
    """Tell whether a finished target holds fallback images; a warning names it."""
    if stated.has_fallback_images:
        print_warning(f"{path}: warning: fallback images are among those finished before")
    return stated.has_fallback_images


def _changes(source: Path, name: str, path: Path) -> list[str]:
    """Return what has changed on the disk since a finished target was written."""
    changes = [f"{file.name} of this image is missing" for file in missing_files(name, path)]
    if _is_older(path, source):
        changes.append(f"it is older than {source.name}")
    return changes


def _other_models(stated: Provenance, beside: frozenset[Maker], makers: list[Maker]) -> list[str]:
    """Return the models of a finished target that are not the one of this run.

    A target that states none was made together with the others of its scan, whose models are
    `beside`.
    """
    files = "it was" if stated.makers else "files beside it were"
    others = sorted(
        maker
        for maker in stated.makers or beside
        if not any(own.is_stated_by(maker) for own in makers)
    )
    # Formats give hashes of different lengths, which are shown alike.
    shown = dict.fromkeys(map(str, others))
    return [f"{files} made by {maker}, the model is {makers[0]}" for maker in shown]


def _is_older(path: Path, source: Path) -> bool:
    """Tell whether a file, or one of those in a folder, was written before its scan was."""
    files = path.iterdir() if path.is_dir() else (path,)
    return min(file.stat().st_mtime_ns for file in files) < source.stat().st_mtime_ns


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
