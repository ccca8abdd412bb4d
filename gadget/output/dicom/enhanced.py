"""Makes one Enhanced MR Image Storage data set (DICOM PS3.3, A.36.2) with all planes of a series.

Geometry and scale are those of the classic images. Frames are indexed by stack, position in the
stack, contrast (echo time) and time (repetition, set, phase, average).
"""

import itertools
from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.tag import Tag
from pydicom.uid import UID, EnhancedMRImageStorage

from gadget.output.planes import Plane
from gadget.output.series import PlaneStore, Series
from jrsr_core.mrd.images import RESEARCH_USE

from .classic import derivation, echo_time, stored_pixels
from .identifiers import make_uid
from .labels import Labels
from .modules import SharedAttributes, decimal, new_data_set, shared_attributes

UNKNOWN = "unknown"
NO_DATE, NO_TIME = "19000101", "000000"
"""Used if the header has none: they may not be empty, and the date of the run would make
two reconstructions of one scan differ."""

KIND = ["DERIVED", "PRIMARY", "VOLUME", "RESAMPLED"]
"""Image type as enhanced objects define it; the series description names the maps."""

REGIONS = {"BRAIN": ("12738006", "Brain"), "HEAD": ("69536005", "Head")}
ANYWHERE = ("38266002", "Entire body")
DIMENSIONS = (
    ("StackID", "FrameContentSequence"),
    ("InStackPositionNumber", "FrameContentSequence"),
    ("EffectiveEchoTime", "MREchoSequence"),
    ("TemporalPositionIndex", "FrameContentSequence"),
)
MOMENTS = ("repetition", "set", "phase", "average")


def enhanced_image(series: Series, store: PlaneStore, labels: Labels) -> Dataset:
    """Return the data set of a whole series, without file meta information.

    Raises
    ------
    ValueError
        The planes differ in matrix size, which all frames of a data set share.
    """
    shared = shared_attributes(series, labels, store.digest)
    planes = sorted(store.planes(series), key=lambda p: p.number)
    shapes = {p.pixels.shape for p in planes}
    if len(shapes) > 1:
        raise ValueError(f"series {series.number} has images of {sorted(shapes)}, frames share one")
    first = planes[0]
    uid = make_uid(shared.uid, "enhanced")
    ds = new_data_set(EnhancedMRImageStorage, uid, first.pixels.shape, shared, labels)
    ds.SeriesInstanceUID = UID(make_uid(shared.uid, "enhanced series"))
    for keyword in ("Manufacturer", "ManufacturerModelName", "DeviceSerialNumber"):
        setattr(ds, keyword, ds.get(keyword) or UNKNOWN)
    ds.ContentDate = ds.get("SeriesDate") or ds.StudyDate or NO_DATE
    ds.ContentTime = ds.get("SeriesTime") or ds.StudyTime or NO_TIME
    ds.InstanceNumber = 1
    ds.ImageType = KIND
    _put_kind(ds, first)
    ds.ContentQualification = "RESEARCH"
    ds.ApplicableSafetyStandardAgency = UNKNOWN.upper()
    if "Laterality" in ds:
        del ds.Laterality  # Frames have their own.
    ds.DerivationDescription = derivation(first)
    ds.ImageComments = RESEARCH_USE
    ds.AcquisitionContextSequence = Items([])
    ds.PresentationLUTShape = "IDENTITY"
    ds.NumberOfFrames = len(planes)
    ds.PixelData = np.stack([stored_pixels(p, shared) for p in planes]).tobytes()
    _put_dimensions(ds, shared)
    ds.SharedFunctionalGroupsSequence = Items([_shared_groups(first, shared, labels)])
    ds.PerFrameFunctionalGroupsSequence = Items(_frames(planes, labels))
    return ds


def _put_kind(ds: Dataset, plane: Plane) -> None:
    ds.PixelPresentation = "MONOCHROME"
    ds.VolumetricProperties = "VOLUME"
    ds.VolumeBasedCalculationTechnique = "NONE"
    ds.ComplexImageComponent = plane.part
    ds.AcquisitionContrast = "UNKNOWN"


def _put_dimensions(ds: Dataset, shared: SharedAttributes) -> None:
    uid = UID(make_uid(shared.uid, "dimensions"))
    ds.DimensionOrganizationSequence = Items([_item(DimensionOrganizationUID=uid)])
    ds.DimensionIndexSequence = Items(
        [
            _item(
                DimensionOrganizationUID=uid,
                DimensionIndexPointer=Tag(keyword),
                FunctionalGroupPointer=Tag(group),
            )
            for keyword, group in DIMENSIONS
        ]
    )


def _shared_groups(plane: Plane, shared: SharedAttributes, labels: Labels) -> Dataset:
    measures = _item(
        PixelSpacing=[decimal(v) for v in plane.spacing], SliceThickness=decimal(plane.thickness)
    )
    if shared.gap is not None:
        measures.SpacingBetweenSlices = decimal(shared.gap)
    code, meaning = REGIONS.get(labels.code("studyInformation/bodyPartExamined"), ANYWHERE)
    region = _item(CodeValue=code, CodingSchemeDesignator="SCT", CodeMeaning=meaning)
    kind = _item(FrameType=KIND)
    _put_kind(kind, plane)
    window = _item(
        WindowCenter=decimal(shared.window[0]),
        WindowWidth=decimal(shared.window[1]),
        VOILUTFunction="LINEAR_EXACT",
    )
    rescale = _item(
        RescaleIntercept=decimal(0.0), RescaleSlope=decimal(shared.slope), RescaleType="US"
    )
    return _groups(
        PixelMeasuresSequence=measures,
        FrameAnatomySequence=_item(FrameLaterality="U", AnatomicRegionSequence=Items([region])),
        PixelValueTransformationSequence=rescale,
        FrameVOILUTSequence=window,
        MRImageFrameTypeSequence=kind,
    )


def _frames(planes: Sequence[Plane], labels: Labels) -> list[Dataset]:
    stacks = _ranks([tuple(np.round((*p.row, *p.column), 4) + 0.0) for p in planes])
    # PS3.3 C.7.6.16.2.2.4: positions are counted from 1 in each stack.
    places = _ranks_within(stacks, [round(p.location, 2) + 0.0 for p in planes])
    contrasts = _ranks([p.counters["contrast"] for p in planes])
    moments = _ranks(_moments(planes, list(zip(stacks, places, contrasts, strict=True))))
    made = []
    for plane, *index in zip(planes, stacks, places, contrasts, moments, strict=True):
        content = _item(
            FrameAcquisitionNumber=plane.counters["repetition"] + 1,
            StackID=str(index[0]),
            InStackPositionNumber=index[1],
            TemporalPositionIndex=index[3],
            DimensionIndexValues=index,
            FrameComments=f"FALLBACK: {plane.meta['JRSR_fallback']}" if plane.is_fallback else "",
        )
        position = _item(ImagePositionPatient=[decimal(v) for v in plane.first])
        axes = [decimal(v) for v in (*plane.row, *plane.column)]
        echo = float(echo_time(plane, labels) or 0.0)
        made.append(
            _groups(
                FrameContentSequence=content,
                PlanePositionSequence=position,
                PlaneOrientationSequence=_item(ImageOrientationPatient=axes),
                MREchoSequence=_item(EffectiveEchoTime=echo),
            )
        )
    return made


def _moments(planes: Sequence[Plane], places: Sequence[Hashable]) -> list[tuple[int, ...]]:
    """Return keys that order the planes of a place in time; equal ones are numbered."""
    n_seen: Counter = Counter()
    moments = []
    for plane, place in zip(planes, places, strict=True):
        moment = tuple(plane.counters[name] for name in MOMENTS)
        moments.append((*moment, n_seen[place, moment]))
        n_seen[place, moment] += 1
    return moments


def _ranks(values: Sequence) -> list[int]:
    """Return the rank of each value among the different ones, from 1."""
    return _ranks_within([0] * len(values), values)


def _ranks_within(stacks: Sequence[int], values: Sequence) -> list[int]:
    """Return the rank of each value among the different ones of its stack, from 1."""
    pairs = list(zip(stacks, values, strict=True))
    known: dict[tuple, int] = {}
    for _, same in itertools.groupby(sorted(set(pairs)), key=lambda pair: pair[0]):
        known |= {pair: i for i, pair in enumerate(same, 1)}
    return [known[pair] for pair in pairs]


def _item(**values: object) -> Dataset:
    ds = Dataset()
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


def _groups(**groups: Dataset) -> Dataset:
    return _item(**{keyword: Items([group]) for keyword, group in groups.items()})
