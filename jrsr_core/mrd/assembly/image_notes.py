"""What was decided against the header of a scan, and about the lines of one image, as its notes."""

from jrsr_core.calibration.loud_coils import loud_note
from jrsr_core.data import Counters
from jrsr_core.data.convert import empty_note
from jrsr_core.mrd.planning.plan import ScanPlan

from .averages import AveragedLines
from .notes import broken_note, dependent_note, silent_note
from .shared import SharedState


def image_notes(
    plan: ScanPlan, shared: SharedState, counters: Counters, averaged: AveragedLines
) -> tuple[str, ...]:
    """Return the notes on an image, `averaged` are its lines."""
    notes = [*plan.notes.get(counters.encoding, ()), *_channel_notes(plan, shared, counters)]
    if reason := plan.calibration[plan.acs_keys[counters]].unused_reference:
        notes.append(f"the image is calibrated by its own lines: {reason}")
    if counters in plan.volume_notes:
        notes.append(plan.volume_notes[counters])
    if averaged.note:
        notes.append(averaged.note)
    if n_empty := averaged.summed.n_empty:
        notes.append(empty_note(n_empty, len(averaged.summed.states)))
    return tuple(notes)


def _channel_notes(plan: ScanPlan, shared: SharedState, counters: Counters) -> list[str]:
    """Return the notes on channels and on the noise lines, which whiten them."""
    notes, channels = list[str](), shared.channels(plan.n_coils)
    if shared.broken_coils:
        notes.append(broken_note(shared.broken_coils))
    if shared.noise_note:
        notes.append(shared.noise_note)
    if shared.whitening is not None:
        if silent := shared.whitening.silent:
            notes.append(silent_note(channels[i] for i in silent))
        if dependent := shared.whitening.dependent:
            notes.append(dependent_note(channels[i] for i in dependent))
    weights = shared.weights.get(plan.acs_keys[counters])
    if weights is not None:
        notes.append(loud_note(channels, weights.tolist()))
    return notes
