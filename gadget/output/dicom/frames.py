"""Makes the functional groups of the frames of an Enhanced MR image: place, time and contrast."""

from collections.abc import Sequence

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from gadget.output.labels import Labels
from gadget.output.series.planes import Plane

from .classic import sampling
from .modules import SharedAttributes, decimal
from .order import ranks, temporal_positions

SAMPLING = (
    "JRSR_acquired_matrix",
    "JRSR_acceleration",
    "JRSR_n_averages",
    "JRSR_n_phase_encodes",
)
"""Attributes of an image whose sampling is known."""


def frame_groups(
    planes: Sequence[Plane], shared: SharedAttributes, labels: Labels
) -> list[Dataset]:
    """Return the functional groups of every frame of one stack and contrast."""
    # PS3.3 C.7.6.16.2.2.4: positions are counted from 1.
    places = ranks([round(p.location, 2) + 0.0 for p in planes])
    times = temporal_positions(planes)
    weightings = _diffusion(planes, labels)
    has_sampling = all(plane.meta.get(name) for plane in planes for name in SAMPLING)
    return [
        groups(
            FrameContentSequence=_content(plane, place, time, shared),
            PlanePositionSequence=item(ImagePositionPatient=[decimal(v) for v in plane.first]),
            PlaneOrientationSequence=item(
                ImageOrientationPatient=[decimal(v) for v in (*plane.row, *plane.column)]
            ),
            **(_sampling(plane) if has_sampling else {}),
            **_echo(plane, labels),
            **_trigger(plane, shared),
            **diffusion,
        )
        for plane, place, time, diffusion in zip(planes, places, times, weightings, strict=True)
    ]


def _content(plane: Plane, place: int, time: int, shared: SharedAttributes) -> Dataset:
    content = item(
        FrameAcquisitionNumber=shared.positions[plane.number],
        StackID="1",
        InStackPositionNumber=place,
        TemporalPositionIndex=time,
        DimensionIndexValues=[1, place, time],
        FrameComments=f"FALLBACK: {plane.meta['JRSR_fallback']}" if plane.is_fallback else "",
    )
    began, reference = shared.clock.began(plane), shared.clock.moment(plane.acquired)
    if all(began) and all(reference):
        content.FrameAcquisitionDateTime = "".join(began)
        # PS3.3 C.7.6.16.2.2: the moment that the frame shows best, for which its contrast counts.
        content.FrameReferenceDateTime = "".join(reference)
    return content


def _sampling(plane: Plane) -> dict[str, Dataset]:
    """Return the groups of sampling and averages, which all frames of a file have or none."""
    meta = plane.meta
    return {
        "MRFOVGeometrySequence": item(
            InPlanePhaseEncodingDirection="COLUMN",
            MRAcquisitionFrequencyEncodingSteps=meta["JRSR_acquired_matrix"][-1],
            MRAcquisitionPhaseEncodingStepsInPlane=meta["JRSR_n_phase_encodes"],
            **sampling(plane),
        ),
        "MRAveragesSequence": item(NumberOfAverages=meta["JRSR_n_averages"]),
    }


def _diffusion(planes: Sequence[Plane], labels: Labels) -> list[dict[str, Dataset]]:
    """Return the groups of the diffusion macro (PS3.3 C.8.13.5.9), which all frames have or none.

    Derived images need no directionality, so it is left out where the direction is unknown.
    """
    found = [labels.diffusion(plane.counters) for plane in planes]
    known = [diffusion for diffusion in found if diffusion is not None]
    if len(known) < len(found):
        return [{} for _ in planes]
    made = []
    for diffusion in known:
        group = item(DiffusionBValue=diffusion.b_value)
        if diffusion.direction:
            group.DiffusionDirectionality = "DIRECTIONAL"
            gradient = item(DiffusionGradientOrientation=list(diffusion.direction))
            group.DiffusionGradientDirectionSequence = Items([gradient])
        elif not diffusion.b_value:
            group.DiffusionDirectionality = "NONE"
        made.append({"MRDiffusionSequence": group})
    return made


def _echo(plane: Plane, labels: Labels) -> dict[str, Dataset]:
    """Return the group of the echo; none without an echo time, which it has to state."""
    time = labels.parameter("TE", plane.counters["contrast"])
    return {} if time is None else {"MREchoSequence": item(EffectiveEchoTime=time)}


def _trigger(plane: Plane, shared: SharedAttributes) -> dict[str, Dataset]:
    trigger = shared.clock.triggered_ms(plane)
    if trigger is None:
        return {}
    return {"CardiacSynchronizationSequence": item(NominalCardiacTriggerDelayTime=trigger)}


def item(**values: object) -> Dataset:
    """Return a data set of these attributes."""
    ds = Dataset()
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


def groups(**members: Dataset) -> Dataset:
    """Return functional groups, which are sequences of one item."""
    return item(**{keyword: Items([group]) for keyword, group in members.items()})
