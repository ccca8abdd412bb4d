"""The health of a server: what is asked and answered, as one line and as JSON."""

import json

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict

QUERY = "health json"
"""Query that is answered with JSON; any other one is answered with a line."""


class ScanState(TypedDict):
    """A scan that is going on, as `jrsr health --json` prints it; unknown values are None."""

    peer: str
    model: str | None
    seconds: float
    images: int
    expected: int | None
    fallback: int
    idle_seconds: float | None


class HealthReport(TypedDict):
    """The health of a server, as `jrsr health --json` prints it."""

    software: str
    version: str
    up_seconds: float
    connections: int
    slices_waiting: int
    scans_done: int
    scans_failed: int
    images: int
    fallback_images: int
    scans: list[ScanState]
    notes: list[str]


def health_line(report: HealthReport) -> str:
    """Return the counts of a report as one line, which ends with its notes."""
    counts = (
        f"up {report['up_seconds']:.0f} s, {report['connections']} connections, "
        f"{report['slices_waiting']} slices waiting, {report['scans_done']} scans done, "
        f"{report['scans_failed']} failed, {report['images']} images, "
        f"{report['fallback_images']} of them fallback images"
    )
    return ", ".join((counts, *report["notes"]))


def scan_line(scan: ScanState) -> str:
    """Return how far a scan has come, as one line."""
    of = f" of {scan['expected']}" if scan["expected"] is not None else ""
    parts = [
        f"{scan['peer']}: {scan['images']}{of} images in {scan['seconds']:.0f} s",
        scan["model"] or "the model is being loaded",
    ]
    if scan["fallback"]:
        parts.append(f"{scan['fallback']} fallback images")
    if scan["idle_seconds"] is not None:
        parts.append(f"waiting for data for {scan['idle_seconds']:.0f} s")
    return ", ".join(parts)


def answer_to(query: str, report: HealthReport) -> str:
    """Return the answer to a query: JSON to `QUERY`, the line to any other."""
    return json.dumps(report) if query.strip("\0 ") == QUERY else health_line(report)


def parse_report(text: str) -> HealthReport | None:
    """Return the report that a server has answered; None for any other text."""
    try:
        report = TypeAdapter(HealthReport).validate_json(text)
    except ValidationError:
        return None
    return report if report["software"] == "jrsr" else None
