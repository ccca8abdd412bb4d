"""Makes one Enhanced MR Image Storage data set (DICOM PS3.3, A.36.2) from the planes of a stack.

A stack has one contrast, and slices on one even grid as those of NIfTI (`output.series.stacks`):
readers such as dcm2niix and nibabel take one stack of slices from a file, and one echo time for
vendors other than Philips. Its frames are indexed by position in the stack and temporal position.
Geometry and stored integers are those of the classic images.
"""

import itertools
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.tag import Tag
from pydicom.uid import UID, EnhancedMRImageStorage

from gadget.output.labels import Labels
from gadget.output.series.planes import Plane, typical
from gadget.output.series.stacks import divided

from .classic import put_bandwidth, put_times
from .frame_comments import frame_comments
from .frames import frame_groups, groups, item
from .identifiers import make_uid
from .marks import derivation
from .modules import SharedAttributes, decimal, new_data_set, slice_distance

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
    ("TemporalPositionIndex", "FrameContentSequence"),
)


def stacks(planes: Sequence[Plane]) -> list[list[Plane]]:
    """Return the stacks of a series and their planes, each by its numbers."""
    by_contrast: dict[int, list[Plane]] = defaultdict(list)
    for plane in planes:
        by_contrast[plane.counters["contrast"]].append(plane)
    found = [itertools.chain(*frames) for same in by_contrast.values() for frames in divided(same)]
    ordered = (sorted(stack, key=lambda p: p.number) for stack in found)
    return sorted(ordered, key=lambda stack: stack[0].number)


def enhanced_image(
    planes: Sequence[Plane], number: int, shared: SharedAttributes, labels: Labels
) -> Dataset:
    """Return the data set of stack `number` of a series, without file meta information."""
    first = planes[0]
    # The first stack keeps the identifier that a series of one stack has.
    uid = make_uid(shared.uid, "enhanced", *([number] if number > 1 else []))
    ds = new_data_set(EnhancedMRImageStorage, uid, first.pixels.shape, shared, labels)
    ds.SeriesInstanceUID = UID(make_uid(shared.uid, "enhanced series"))
    for keyword in ("Manufacturer", "ManufacturerModelName", "DeviceSerialNumber"):
        setattr(ds, keyword, ds.get(keyword) or UNKNOWN)
    _put_times(ds, planes, shared)
    ds.InstanceNumber = number
    ds.ImageType = KIND
    _put_kind(ds, first, labels)
    ds.ContentQualification = "RESEARCH"
    ds.ApplicableSafetyStandardAgency = UNKNOWN.upper()
    if tesla := labels.number("acquisitionSystemInformation/systemFieldStrength_T"):
        ds.MagneticFieldStrength = tesla
        ds.ResonantNucleus = "1H"
    if hertz := labels.number("experimentalConditions/H1resonanceFrequency_Hz"):
        ds.ImagingFrequency = decimal(hertz / 1e6)
    if "Laterality" in ds:
        del ds.Laterality  # Frames have their own.
    ds.DerivationDescription = derivation(typical(planes))
    ds.ImageComments = frame_comments(planes)
    ds.AcquisitionContextSequence = Items([])
    ds.PresentationLUTShape = "IDENTITY"
    ds.NumberOfFrames = len(planes)
    ds.PixelData = np.stack([shared.stored.pixels(p.pixels) for p in planes]).tobytes()
    _put_dimensions(ds, shared)
    _put_timing(ds, first, labels)
    ds.SharedFunctionalGroupsSequence = Items([_shared_groups(planes, shared, labels)])
    ds.PerFrameFunctionalGroupsSequence = Items(frame_groups(planes, shared, labels))
    return ds


def _put_timing(ds: Dataset, plane: Plane, labels: Labels) -> None:
    """Set the timing of the contrast in the data set itself, as in classic images.

    Their functional groups require what ISMRMRD headers lack, such as the absorption rate.
    """
    contrast = plane.counters["contrast"]
    ds.EchoNumbers = contrast + 1
    values = {
        "RepetitionTime": labels.parameter("TR", contrast),
        "FlipAngle": labels.parameter("flipAngle_deg", contrast),
        "InversionTime": labels.inversion_time(contrast),
    }
    for keyword, value in values.items():
        if value is not None:
            setattr(ds, keyword, decimal(value))
    if n := labels.echo_train_length():
        ds.EchoTrainLength = n
    put_bandwidth(ds, plane)


def _put_times(ds: Dataset, planes: Sequence[Plane], shared: SharedAttributes) -> None:
    known = (p for p in planes if any(shared.clock.began(p)))
    earliest = min(known, key=shared.clock.began, default=planes[0])
    put_times(ds, earliest, shared)
    date, time = (ds.get(f"Acquisition{what}", "") for what in ("Date", "Time"))
    for keyword in ("AcquisitionDate", "AcquisitionTime"):
        if keyword in ds:
            delattr(ds, keyword)
    if date and time:
        ds.AcquisitionDateTime = f"{date}{time}"
    ds.ContentDate = ds.get("ContentDate") or NO_DATE
    ds.ContentTime = ds.get("ContentTime") or NO_TIME


def _put_kind(ds: Dataset, plane: Plane, labels: Labels) -> None:
    ds.PixelPresentation = "MONOCHROME"
    ds.VolumetricProperties = "VOLUME"
    ds.VolumeBasedCalculationTechnique = "NONE"
    ds.ComplexImageComponent = plane.part
    is_diffusion = labels.diffusion(plane.counters) is not None
    ds.AcquisitionContrast = "DIFFUSION" if is_diffusion else "UNKNOWN"


def _put_dimensions(ds: Dataset, shared: SharedAttributes) -> None:
    uid = UID(make_uid(shared.uid, "dimensions"))
    ds.DimensionOrganizationSequence = Items([item(DimensionOrganizationUID=uid)])
    ds.DimensionIndexSequence = Items(
        [
            item(
                DimensionOrganizationUID=uid,
                DimensionIndexPointer=Tag(keyword),
                FunctionalGroupPointer=Tag(group),
            )
            for keyword, group in DIMENSIONS
        ]
    )


def _shared_groups(planes: Sequence[Plane], shared: SharedAttributes, labels: Labels) -> Dataset:
    plane = planes[0]
    measures = item(
        PixelSpacing=[decimal(v) for v in plane.spacing], SliceThickness=decimal(plane.thickness)
    )
    # That of the stack: the series may have others.
    if (gap := slice_distance(planes)) is not None:
        measures.SpacingBetweenSlices = decimal(gap)
    code, meaning = REGIONS.get(labels.code("studyInformation/bodyPartExamined"), ANYWHERE)
    region = item(CodeValue=code, CodingSchemeDesignator="SCT", CodeMeaning=meaning)
    kind = item(FrameType=KIND)
    _put_kind(kind, plane, labels)
    window = Dataset()
    shared.stored.put_window(window)
    return groups(
        PixelMeasuresSequence=measures,
        FrameAnatomySequence=item(FrameLaterality="U", AnatomicRegionSequence=Items([region])),
        PixelValueTransformationSequence=item(
            RescaleIntercept=decimal(0.0), RescaleSlope=decimal(1.0), RescaleType="US"
        ),
        RealWorldValueMappingSequence=shared.stored.real_world(),
        FrameVOILUTSequence=window,
        MRImageFrameTypeSequence=kind,
    )
