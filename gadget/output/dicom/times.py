"""Finds when images were acquired, from time stamps in `ticks`."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from gadget.output.labels import Labels
from gadget.output.series.planes import Plane
from gadget.output.ticks import has_ticks, vendor_of
from jrsr_core.mrd.lines.time_stamps import DAY, TICK

LATEST, EARLIEST = timedelta(hours=6), timedelta(minutes=-10)
"""Where a time of day may lie relative to the start of the series to be one of its times."""
LONGEST_TRIGGER_MS = 60_000.0
NO_DATE = datetime(1900, 1, 1)


@dataclass(frozen=True)
class Clock:
    """Converts the time stamps of the images of a scan.

    Attributes
    ----------
    labels
        Scan header.
    earliest
        First acquisition time stamp of the scan.
    """

    labels: Labels
    earliest: int

    @property
    def date(self) -> str:
        """Date of the series, else of the study; empty if the header has none."""
        return self.labels.date("measurementInformation/seriesDate") or self.labels.date(
            "studyInformation/studyDate"
        )

    @property
    def start(self) -> str:
        """Time of day of the series, else of the study; empty if the header has none."""
        return self.labels.time("measurementInformation/seriesTime") or self.labels.time(
            "studyInformation/studyTime"
        )

    def began(self, plane: Plane) -> tuple[str, str]:
        """Return date and time at which the acquisition of an image began, as `moment`."""
        return self.moment(plane.began)

    def moment(self, stamp: int) -> tuple[str, str]:
        """Return date and time of an acquisition time stamp, each empty if it is unknown.

        Stamps that cannot be times of day in the series count from its start. The time of a study
        only tells the day of a stamp, because scans may follow its start by many hours; so a stamp
        without a vendor that is far from it has no known meaning.
        """
        if not stamp or not has_ticks(self.labels):
            return "", ""
        date = datetime.strptime(self.date, "%Y%m%d") if self.date else NO_DATE
        of_day = stamp * TICK % DAY
        if not self.start:
            moment = date + of_day
        else:
            start = date + _time_of_day(self.start)
            since = (of_day - _time_of_day(self.start) - EARLIEST) % DAY + EARLIEST
            if since > LATEST and self._has_series_time:
                since = (stamp - self.earliest) * TICK % DAY
            elif since > LATEST and not vendor_of(self.labels):
                return "", ""
            moment = start + since
        return moment.strftime("%Y%m%d") if self.date else "", moment.strftime("%H%M%S.%f")

    def triggered_ms(self, plane: Plane) -> float | None:
        """Return the time since the last trigger, None if it is unknown."""
        ms = plane.triggered * TICK / timedelta(milliseconds=1)
        return ms if has_ticks(self.labels) and 0 < ms < LONGEST_TRIGGER_MS else None

    @property
    def _has_series_time(self) -> bool:
        return bool(self.labels.time("measurementInformation/seriesTime"))


def _time_of_day(text: str) -> timedelta:
    seconds = float(text[4:])
    return timedelta(hours=int(text[:2]), minutes=int(text[2:4]), seconds=seconds)
