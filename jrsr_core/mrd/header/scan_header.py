"""ISMRMRD XML header -> `ScanHeader` with one `Encoding` per encoding space.

Elements are found by name without their namespace. Unknown elements, vendor extensions, a missing
namespace and unknown enumeration values are accepted; only the sizes of the encoding spaces are
required. Errors name the element.
"""

import math
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field

from jrsr_core.data import Vector
from jrsr_core.mrd.errors import BadScan

from .encoding import LARGEST_MM, Encoding
from .stated_fov import read_as_meant
from .xml import XmlError, declared_as_utf8, decode_xml, parse_xml

DEFAULT_NOISE_BANDWIDTH = 0.793
"""Effective over nominal receiver bandwidth where the header has none, as Gadgetron assumes."""

NOISE_BANDWIDTHS = 0.1, 2.0
"""Smallest and largest effective over nominal receiver bandwidth; scanners write 0.7 to 1."""

MAX_ENCODINGS = 256

NO_HEADER = "<ismrmrdHeader/>"
"""Header of images whose scan is not known."""

SMALLEST_FOV_MM = 1.0
"""A field of view below it along both axes is taken for one in metres."""

MAX_INTEGER = 2**31 - 1
"""Largest magnitude of a whole number."""

LIMITED_COUNTERS = ("average", "slice", "contrast", "phase", "repetition", "set")


DEVICE = (
    "systemVendor",
    "systemModel",
    "systemFieldStrength_T",
    "institutionName",
    "stationName",
    "deviceID",
    "deviceSerialNumber",
)
"""Elements of `acquisitionSystemInformation` that tell one scanner from another; the first two name
its kind."""


@dataclass(frozen=True)
class ScanHeader:
    """Contents of a scan header that images and checks need; `xml` is its text.

    `noise_measurement_id` names the measurement whose noise it depends on.
    `coil_names` are in the order of the channels; empty unless every coil has a name of its own.
    `noise_bandwidth` is effective over nominal receiver bandwidth, and `noise_bandwidth_note` says
    that the header has an impossible one; it matters only where noise lines are used.
    `device` are the texts of `DEVICE`, empty where the header has none.
    """

    xml: str = field(repr=False)
    encodings: tuple[Encoding, ...]
    n_coils: int | None = None
    protocol_name: str = ""
    measurement_id: str = ""
    noise_measurement_id: str = ""
    system: str = ""
    field_strength_t: float | None = None
    te_ms: tuple[float, ...] = ()
    tr_ms: tuple[float, ...] = ()
    flip_deg: tuple[float, ...] = ()
    noise_bandwidth: float = DEFAULT_NOISE_BANDWIDTH
    noise_bandwidth_note: str = ""
    coil_names: tuple[str, ...] = ()
    device: tuple[str, ...] = ()

    def check_space(self, number: int) -> None:
        """Raise `BadScan` unless this is the number of an encoding space of the header."""
        if number >= (n := len(self.encodings)):
            raise BadScan(f"lines refer to encoding {number}, the header has {n}")

    def is_of_same_device(self, device: tuple[str, ...]) -> bool:
        """Return whether nothing that this header and another one state of the scanner differs."""
        pairs = zip(self.device, device, strict=False)
        return all(own == other for own, other in pairs if own and other)


def parse_header(xml: bytes | str) -> ScanHeader:
    """Parse an ISMRMRD header.

    Raises
    ------
    BadScan
        No XML, no ISMRMRD header, an encoding space without a usable size, or a number that is
        out of range.
    """
    text = decode_xml(xml) if isinstance(xml, bytes) else declared_as_utf8(xml.rstrip("\0"))
    root = _root(text)
    found = root.findall("encoding")
    if not 0 < len(found) <= MAX_ENCODINGS:
        what = f"{len(found)} encodings, at most {MAX_ENCODINGS} are accepted"
        raise BadScan(f"header: {what if found else 'encoding is missing'}")
    encodings = tuple(_encoding(e, i) for i, e in enumerate(found))
    device = tuple(_text(root, f"acquisitionSystemInformation/{name}") for name in DEVICE)
    noise_bandwidth, noise_bandwidth_note = _noise_bandwidth(root)
    return ScanHeader(
        xml=text,
        encodings=encodings,
        n_coils=_integer(root, "acquisitionSystemInformation/receiverChannels"),
        protocol_name=_text(root, "measurementInformation/protocolName"),
        measurement_id=_text(root, "measurementInformation/measurementID"),
        noise_measurement_id=_noise_measurement_id(root),
        system=" ".join(filter(None, device[:2])),
        field_strength_t=_number(root, "acquisitionSystemInformation/systemFieldStrength_T"),
        te_ms=_numbers(root, "sequenceParameters/TE"),
        tr_ms=_numbers(root, "sequenceParameters/TR"),
        flip_deg=_numbers(root, "sequenceParameters/flipAngle_deg"),
        noise_bandwidth=noise_bandwidth,
        noise_bandwidth_note=noise_bandwidth_note,
        coil_names=_coil_names(root),
        device=device,
    )


def _root(text: str) -> ET.Element:
    try:
        root = parse_xml(text.encode("utf-8", errors="replace"))
    except XmlError as error:
        raise BadScan(f"header {error}") from None
    if root.tag != "ismrmrdHeader":
        raise BadScan(f"header is <{root.tag}>, expected <ismrmrdHeader>")
    return root


def _noise_measurement_id(root: ET.Element) -> str:
    """Return the id of the noise measurement that a scan depends on; empty if it names none."""
    for dependency in root.findall("measurementInformation/measurementDependency"):
        if _text(dependency, "dependencyType").lower() == "noise":
            return _text(dependency, "measurementID")
    return ""


def _noise_bandwidth(root: ET.Element) -> tuple[float, str]:
    """Return the effective over the nominal receiver bandwidth, and a note if it is not followed.

    It is the default where the header has none, or an impossible one; 0 stands for not known. Many
    scans have no noise lines to which it would apply, so that an impossible value, such as one in
    percent, must not refuse them.
    """
    name = "relativeReceiverNoiseBandwidth"
    value = _number(root, f"acquisitionSystemInformation/{name}") or 0.0
    low, high = NOISE_BANDWIDTHS
    if low <= value <= high:
        return value, ""
    default = DEFAULT_NOISE_BANDWIDTH
    text = f"{name} is {value:g}, expected {low:g} to {high:g}: {default:g} is used"
    return default, text if value else ""


def _coil_names(root: ET.Element) -> tuple[str, ...]:
    """Return names by ascending coil number, which may start at 0 or 1; () if ambiguous."""
    labels = root.findall("acquisitionSystemInformation/coilLabel")
    try:
        labelled = [(_integer(label, "coilNumber"), _text(label, "coilName")) for label in labels]
    except BadScan:
        return ()
    named = {number: name for number, name in labelled if number is not None}
    names = tuple(named[number] for number in sorted(named))
    return names if len({*names} - {""}) == len(labels) else ()


def _encoding(element: ET.Element, index: int) -> Encoding:
    where = f"encoding {index}"
    encoded, recon = "encodedSpace", "reconSpace"
    matrix = _matrix(element, f"{encoded}/matrixSize", where)
    thickness = _thickness(element, encoded), _thickness(element, recon)
    # Writers of 2-D scans leave one of the two thicknesses 0: the other one holds.
    thick = thickness[0] or thickness[1], thickness[1] or thickness[0]
    fov = _fov(element, f"{encoded}/fieldOfView_mm", where, thick[0])
    factor = "parallelImaging/accelerationFactor/kspace_encoding_step"
    stated = Encoding(
        encoding_matrix=matrix,
        recon_matrix=_matrix(element, f"{recon}/matrixSize", where),
        encoding_fov_mm=fov,
        recon_fov_mm=_fov(element, f"{recon}/fieldOfView_mm", where, thick[1]),
        trajectory=_text(element, "trajectory").lower() or "cartesian",
        center_line=_integer(element, "encodingLimits/kspace_encoding_step_1/center"),
        center_partition=_integer(element, "encodingLimits/kspace_encoding_step_2/center"),
        line_limits=_limits(element, "kspace_encoding_step_1"),
        partition_limits=_limits(element, "kspace_encoding_step_2"),
        max_segment=_integer(element, "encodingLimits/segment/maximum") or 0,
        acceleration=(
            _integer(element, f"{factor}_1") or 1,
            _integer(element, f"{factor}_2") or 1,
        ),
        calibration_mode=_text(element, "parallelImaging/calibrationMode").lower() or "none",
        multiband_factor=_integer(element, "parallelImaging/multiband/multiband_factor") or 1,
        counter_maxima=_counter_maxima(element),
    )
    return read_as_meant(stated)


def _limits(element: ET.Element, name: str) -> tuple[int, int] | None:
    """Return the smallest and the largest value of a counter; None unless both are there."""
    path = f"encodingLimits/{name}"
    low, high = (_integer(element, f"{path}/{end}") for end in ("minimum", "maximum"))
    return None if low is None or high is None else (low, high)


def _counter_maxima(element: ET.Element) -> dict[str, int]:
    maxima = {
        name: _integer(element, f"encodingLimits/{name}/maximum") for name in LIMITED_COUNTERS
    }
    return {name: value for name, value in maxima.items() if value is not None}


def _matrix(element: ET.Element, path: str, where: str) -> tuple[int, int, int]:
    def size(axis: str) -> int:
        n = _integer(element, f"{path}/{axis}")
        if n is None or not 0 < n < 65536:
            raise BadScan(f"header: {where}, {path}/{axis} is {_shown(n)}, expected 1 to 65535")
        return n

    return size("z"), size("y"), size("x")


def _thickness(element: ET.Element, space: str) -> float:
    """Return the field of view along z, 0 where it is missing or not above 0 mm."""
    mm = _number(element, f"{space}/fieldOfView_mm/z")
    return mm if mm is not None and mm > 0 else 0.0


def _fov(element: ET.Element, path: str, where: str, thickness: float) -> Vector:
    def size(axis: str) -> float:
        mm = _number(element, f"{path}/{axis}")
        if axis == "z" and thickness > 0:
            mm = thickness
        if mm is None or not mm > 0:
            raise BadScan(f"header: {where}, {path}/{axis} is {_shown(mm)}, expected above 0 mm")
        if not 1 / LARGEST_MM <= mm <= LARGEST_MM:
            wanted = f"{1 / LARGEST_MM:g} to {LARGEST_MM:g}"
            raise BadScan(f"header: {where}, {path}/{axis} is {mm:g} mm, expected {wanted}")
        return mm

    z, y, x = size("z"), size("y"), size("x")
    if max(y, x) < SMALLEST_FOV_MM:
        raise BadScan(
            f"header: {where}, {path} is {x:g} x {y:g} mm: is it in metres? Write it in mm, as "
            f"{1000 * x:g} x {1000 * y:g}"
        )
    return z, y, x


def _shown(value: float | None) -> str:
    return "missing" if value is None else f"{value}"


def _text(element: ET.Element, path: str) -> str:
    return (element.findtext(path) or "").strip()


def _number(element: ET.Element, path: str) -> float | None:
    text = _text(element, path)
    return _to_float(text, path) if text else None


def _numbers(element: ET.Element, path: str) -> tuple[float, ...]:
    """Return one value per contrast; () if one of them is no number."""
    try:
        return tuple(_to_float(e.text or "", path) for e in element.findall(path))
    except BadScan:
        return ()


def _integer(element: ET.Element, path: str) -> int | None:
    value = _number(element, path)
    if value is not None and abs(value) > MAX_INTEGER:
        raise BadScan(f"header: {path} is {value:g}, expected at most {MAX_INTEGER}")
    return None if value is None else round(value)


def _to_float(text: str, path: str) -> float:
    # Some writers use the decimal comma of their country.
    plain = text.replace(",", ".") if text.count(",") == 1 and "." not in text else text
    try:
        value = float(plain)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise BadScan(f"header: {path} is {text.strip()!r}, expected a number")
    return value
