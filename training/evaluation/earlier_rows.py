"""Reads the CSV that an evaluation continues; refuses one whose rows do not go with new ones."""

from collections.abc import Iterable
from pathlib import Path

from jrsr_core.atomic import write_bytes
from training.data.testset import SliceAddress
from training.errors import UsageError

from .rows import COLUMNS, FULLY_SAMPLED, UNDERSAMPLED, place_of, read_rows
from .systems import Judged, digest_of


def open_rows(out: Path) -> list[dict]:
    """Create the file, or return its rows; a row cut short by a crash is dropped."""
    out.parent.mkdir(parents=True, exist_ok=True)
    content = out.read_bytes() if out.exists() else b""
    whole = content[: content.rfind(b"\n") + 1]
    if not whole:
        write_bytes(out, (",".join(COLUMNS) + "\r\n").encode(), overwrite=True)
        return []
    header = tuple(whole.decode().splitlines()[0].split(","))
    if header != COLUMNS:
        odd = ", ".join(sorted(set(header) ^ set(COLUMNS))) or "the order"
        raise UsageError(f"{out}: columns are not those of this version ({odd}); choose another")
    if whole != content:
        write_bytes(out, whole, overwrite=True)
    return read_rows(out)


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
                raise ValueError(
                    f"{out}: rows of {row['model']} have {what} {was or 'none'}, "
                    f"the system has {now or 'none'}; choose another file"
                )


def check_slices(out: Path, rows: list[dict], slices: list[SliceAddress]) -> None:
    """Refuse a file with rows of other pixels under the same file name and slice number."""
    known = {place_of(row): row["slice_sha256"] for row in rows}
    for address in slices:
        was = known.setdefault(address.place, address.sha256)
        if was != address.sha256:
            raise ValueError(
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
