"""Continues the CSV of an evaluation; refuses one whose rows do not go with new ones."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from jrsr_core.common.atomic import append_bytes, check_target, write_bytes
from training.data.testset import SliceAddress
from training.errors import UsageError

from .rows import COLUMNS, FULLY_SAMPLED, UNDERSAMPLED, place_of, read_rows
from .systems import Judged, digest_of

HEADER = (",".join(COLUMNS) + "\r\n").encode()


def open_rows(out: Path) -> list[dict]:
    """Return the rows of the file, if it exists; a row cut short by a crash is dropped.

    Raises
    ------
    OSError
        The file may not be written, or its folder does not exist.
    UsageError
        The file is of another kind or version.
    """
    check_target(out, overwrite=True)
    content = out.read_bytes() if out.exists() else b""
    whole = content[: content.rfind(b"\n") + 1]
    if not whole and HEADER.startswith(content):
        return []
    header = tuple(whole.decode(errors="replace").partition("\n")[0].rstrip("\r").split(","))
    if header != COLUMNS:
        if "model" not in header:
            raise UsageError(f"{out}: this is no CSV of evaluate; choose another")
        odd = ", ".join(sorted(set(header) ^ set(COLUMNS))) or "the order"
        raise UsageError(f"{out}: columns are not those of this version ({odd}); choose another")
    if whole != content:
        write_bytes(out, whole, overwrite=True)
    return read_rows(out)


def add_row(out: Path, row: dict) -> None:
    """Append a row to the file, which begins with its first row."""
    line = io.StringIO(newline="")
    csv.DictWriter(line, COLUMNS).writerow(row)
    if out.exists() and out.stat().st_size >= len(HEADER):
        append_bytes(out, line.getvalue().encode())
    else:
        write_bytes(out, HEADER + line.getvalue().encode(), overwrite=True)


def check_systems(out: Path, rows: list[dict], systems: dict[str, Judged]) -> None:
    """Refuse a file with rows of another system under the same label."""
    for row in rows:
        system = systems.get(row["model"])
        if system is None:
            continue
        given = FULLY_SAMPLED if system.fully_sampled else UNDERSAMPLED
        found = {"weights": (row["weights_sha256"], digest_of(system))}
        found["scan"] = (row["scan"], given)
        for what, (was, now) in found.items():
            if was != now:
                raise UsageError(
                    f"{out}: rows of {row['model']} have {what} {was or 'none'}, "
                    f"the system has {now or 'none'}; choose another file"
                )


def check_slices(out: Path, rows: list[dict], slices: list[SliceAddress]) -> None:
    """Refuse a file with rows of other pixels under the same file name and slice number."""
    known = {place_of(row): row["slice_sha256"] for row in rows}
    for address in slices:
        was = known.setdefault(address.place, address.sha256)
        if was != address.sha256:
            raise UsageError(
                f"{out}: slice {address.index} of {address.file} has pixels {was}, "
                f"that of {address.path} has {address.sha256}; choose another file"
            )


def check_distances(
    out: Path,
    rows: list[dict],
    systems: Iterable[str],
    protocol: str,
    slices: list[SliceAddress],
    distances: Iterable[str],
) -> None:
    """Refuse to leave a distance out of rows that are there already, as if it had been computed."""
    wanted = {(label, protocol, address.place) for label in systems for address in slices}
    for row in rows:
        if (row["model"], row["protocol"], place_of(row)) not in wanted:
            continue
        for name in distances:
            if not row[name]:
                raise UsageError(
                    f"{out}: rows of {row['model']} were written without {name}, which is asked "
                    "for now; choose another file"
                )
