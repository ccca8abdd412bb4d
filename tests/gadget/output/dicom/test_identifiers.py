"""Studies and frames of reference where the scan header has no identifiers for them."""

import ismrmrd
import numpy as np
import pytest

from tests.helpers.commands import jrsr
from tests.helpers.other_images import an_image, classic, enhanced, read_folder, write_file

FACTS = {
    "patientName": "subjectInformation",
    "patientID": "subjectInformation",
    "patientBirthdate": "subjectInformation",
    "studyDate": "studyInformation",
    "studyTime": "studyInformation",
    "studyID": "studyInformation",
    "accessionNumber": "studyInformation",
    "deviceSerialNumber": "acquisitionSystemInformation",
}
SIEMENS = "45387_123456_123457_33"


def header(measurement: str = "", **facts: str) -> str:
    """A scan header that says this and nothing else."""
    elements = [f"<{FACTS[k]}><{k}>{v}</{k}></{FACTS[k]}>" for k, v in facts.items()]
    named = f"<measurementID>{measurement}</measurementID>" if measurement else ""
    return (
        f"<ismrmrdHeader>{''.join(elements)}"
        f"<measurementInformation>{named}<patientPosition>HFS</patientPosition>"
        "</measurementInformation></ismrmrdHeader>"
    )


def identifiers(tmp_path, xml: str, value: float = 1.0) -> tuple[str, str]:
    """Study and frame of reference of an image of a scan with this header."""
    (ds,) = classic(tmp_path, [an_image(value)], xml)
    return ds.StudyInstanceUID, ds.FrameOfReferenceUID


@pytest.mark.parametrize("measurement", ["1", "scan_001", SIEMENS])
@pytest.mark.parametrize("fact", FACTS)
def test_whatever_tells_sessions_apart_parts_them(tmp_path, fact, measurement):
    one, other, silent = (
        identifiers(tmp_path, header(measurement, **facts))
        for facts in ({fact: "2020-01-01"}, {fact: "2020-01-02"}, {})
    )
    for uids in zip(one, other, silent, strict=True):
        assert len(set(uids)) == 3


@pytest.mark.parametrize(
    ("uid", "is_used"),
    [
        ("1.2.840.113619.2.1", True),
        (f"1.2.{60 * '3'}", True),
        # A longer one must not become that of others by being cut.
        (f"1.2.{61 * '3'}", False),
        ("1.02.3", False),
        ("MR-12", False),
    ],
)
def test_a_frame_of_reference_that_the_header_names_is_used(tmp_path, uid, is_used):
    named = f"<frameOfReferenceUID>{uid}</frameOfReferenceUID></measurementInformation>"
    frames = [
        identifiers(tmp_path, header(m).replace("</measurementInformation>", named), value)[1]
        for m, value in ((SIEMENS, 1.0), (SIEMENS, 2.0), ("45387_123456_123457_34", 3.0))
    ]
    one, again, other = frames
    assert one == again
    assert (other == one) == (one == uid) == is_used


def test_measurements_of_a_session_share_their_study(tmp_path):
    facts = {"patientName": "A^B", "studyDate": "2020-01-01"}
    one = identifiers(tmp_path, header(SIEMENS, **facts))
    other = identifiers(tmp_path, header("45387_123456_123457_34", **facts), 2.0)
    elsewhere = identifiers(tmp_path, header("45387_123456_123458_33", **facts))
    assert one[0] == other[0] != elsewhere[0]
    assert len({one[1], other[1], elsewhere[1]}) == 3
    assert identifiers(tmp_path, header(SIEMENS, **facts), 3.0) == one, "the content has no part"


EXAMINATION = {"patientID": "P-17", "studyDate": "2020-01-01", "studyTime": "10:00:00"}


@pytest.mark.parametrize(
    "facts",
    [
        EXAMINATION,
        {"patientName": "A^B", "studyDate": "2020-01-01", "accessionNumber": "A7"},
        {"patientID": "P-17", "studyDate": "2020-01-01", "studyID": "20417"},
    ],
)
@pytest.mark.parametrize("measurements", [("", ""), ("m-3", "m-4"), ("scan", "")])
def test_scans_of_an_examination_that_the_labels_identify_share_their_study(
    tmp_path, facts, measurements
):
    headers = [
        header(name, **facts).replace("HFS", position)
        for name, position in zip(measurements, ("HFS", "FFS"), strict=True)
    ]
    one, other = (identifiers(tmp_path, xml) for xml in headers)
    assert one[0] == other[0] and one[1] != other[1]


@pytest.mark.parametrize("fact", EXAMINATION)
def test_other_examinations_have_other_studies(tmp_path, fact):
    changed = {"patientID": "P-18", "studyDate": "2020-01-02", "studyTime": "11:00:00"}
    one, other = (
        identifiers(tmp_path, header("m-3", **facts))
        for facts in (EXAMINATION, EXAMINATION | {fact: changed[fact]})
    )
    assert one[0] != other[0]


@pytest.mark.parametrize(
    "facts",
    [
        {"patientID": "anonymous"},
        {"patientID": "xxxx"},
        {"patientID": "000"},
        {"studyTime": "00:00:00"},
        {"studyTime": ""},
        {"studyTime": "", "studyID": "1"},
        {"studyDate": ""},
    ],
)
def test_labels_of_many_examinations_identify_none(tmp_path, facts):
    one, other = (
        identifiers(tmp_path, header(name, **EXAMINATION | facts)) for name in ("m-3", "m-4")
    )
    assert one[0] != other[0]


@pytest.mark.parametrize("name", ["scan_00", "knee_1_2_", "1_2_", "1_2_3_4_"])
def test_other_names_of_measurements_are_not_taken_apart(tmp_path, name):
    one, other = (identifiers(tmp_path, header(f"{name}{n}")) for n in (1, 2))
    assert one[0] != other[0] and one[1] != other[1]


def test_anonymous_scans_of_one_protocol_are_known_by_their_images(tmp_path):
    one, again, other = (identifiers(tmp_path, header(), value) for value in (1.0, 1.0, 2.0))
    assert one == again
    assert one[0] != other[0] and one[1] != other[1]


def test_a_file_without_header_is_known_by_its_images(tmp_path, capfd):
    made = {}
    for name, value in (("a", 1.0), ("b", 2.0)):
        write_file(tmp_path / f"{name}.h5", an_image(value))
        for run in ("first", "again"):
            (tmp_path / run).mkdir(exist_ok=True)
            command = ("convert", tmp_path / f"{name}.h5", "-o", tmp_path / run)
            assert jrsr(capfd, *command, "--format", "dicom,enhanced").code == 0
            made[name, run] = tmp_path / run / f"{name}_dicom" / "series001_00001.dcm"
    for name in "ab":
        assert made[name, "first"].read_bytes() == made[name, "again"].read_bytes()
    (a,), (b,) = (read_folder(made[name, "first"].parent) for name in "ab")
    (enhanced,) = read_folder(tmp_path / "first" / "a_enhanced")
    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID"):
        assert a[keyword].value != b[keyword].value
        assert a[keyword].value == enhanced[keyword].value


UIDS = (
    "StudyInstanceUID",
    "FrameOfReferenceUID",
    "SeriesInstanceUID",
    "SOPInstanceUID",
    "DimensionOrganizationUID",
)


def all_identifiers(tmp_path, layout, images) -> dict[tuple, str]:
    """Identifiers of every data set by its series and instance number."""
    return {
        (ds.SeriesNumber, ds.InstanceNumber, element.keyword): str(element.value)
        for ds in layout(tmp_path, images, header())
        for element in ds.iterall()
        if element.keyword in UIDS
    }


def scan_of_several_series(first: float = 1.0) -> list:
    """Two slices, twice, and an interrupted third time; maps, and the phase; one fallback image."""
    network = {"JRSR_model": "jrsr-dc", "JRSR_weights_sha256": "abc"}
    fallback = {"JRSR_model": "cg-sense+sinc", "JRSR_fallback": "acs is 2 x 2"}
    made = []
    for i, (r, s) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)], 1):
        fields = {"place": 6.0 * s, "slice": s, "repetition": r, "image_index": i}
        made += [
            an_image(first + i, meta=fallback if i == 1 else network, **fields),
            an_image(i, image_series_index=101, meta=network | {"JRSR_map": "noise"}, **fields),
            an_image(0.1 * i, image_type=ismrmrd.IMTYPE_PHASE, meta=network, **fields),
        ]
    return made


@pytest.mark.parametrize("layout", [classic, enhanced])
def test_the_order_of_arrival_has_no_part_in_identifiers(tmp_path, layout):
    images = scan_of_several_series()
    wanted = all_identifiers(tmp_path, layout, images)
    shuffled = np.random.default_rng(0).permutation(len(images))
    by_series = sorted(range(len(images)), key=lambda i: images[i].image_series_index)
    for order in (range(len(images))[::-1], by_series, shuffled):
        assert all_identifiers(tmp_path, layout, [images[i] for i in order]) == wanted


@pytest.mark.parametrize("layout", [classic, enhanced])
def test_one_other_pixel_gives_other_identifiers(tmp_path, layout):
    one, other = (all_identifiers(tmp_path, layout, scan_of_several_series(v)) for v in (1.0, 1.5))
    changed = {key for key in one if one[key] != other[key]}
    # The series of phase and maps are the same; without labels the study is known by its images.
    assert {key for key in one if key[0] == 1} <= changed
    assert one.keys() == other.keys()


def test_images_of_one_number_are_known_by_their_order(tmp_path):
    """They are numbered as they arrive, so that another order makes other files."""
    images = [an_image(value, image_index=0) for value in (1.0, 2.0)]
    one, other = (all_identifiers(tmp_path, classic, some) for some in (images, images[::-1]))
    is_image = [key for key in one if key[2] == "SOPInstanceUID"]
    assert not {one[key] for key in is_image} & {other[key] for key in is_image}
