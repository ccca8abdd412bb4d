"""Times, numbers, order and texts of DICOM images."""

import ismrmrd
import numpy as np
import pydicom
import pytest

from gadget.output.dicom.times import Clock
from gadget.output.labels import Labels
from gadget.output.series.planes import planes_of
from jrsr_core import load_model, read_scan
from jrsr_core.mrd.files.images import ImageFile
from jrsr_core.mrd.header.scan_header import parse_header
from tests.helpers.commands import FAST, jrsr, write_small_scan
from tests.helpers.other_images import an_image, classic, enhanced, read_folder, write_file
from tests.helpers.paths import SHARED

CASES = SHARED / "cases"
needs_cases = [
    pytest.mark.data,
    pytest.mark.skipif(not CASES.is_dir(), reason="no shared cases"),
]


def header(vendor="SIEMENS", study="", measurement="", sequence="") -> str:
    return (
        f"<ismrmrdHeader><studyInformation>{study}</studyInformation>"
        f"<measurementInformation>{measurement}</measurementInformation>"
        "<acquisitionSystemInformation>"
        f"<systemVendor>{vendor}</systemVendor></acquisitionSystemInformation>"
        f"<sequenceParameters>{sequence}</sequenceParameters></ismrmrdHeader>"
    )


SERIES = "<seriesDate>2024-05-06</seriesDate><seriesTime>10:24:00</seriesTime>"


IS_NOISE = 1 << (ismrmrd.ACQ_IS_NOISE_MEASUREMENT - 1)


def ticks(hours=0, minutes=0, seconds=0.0) -> int:
    return round((60 * (60 * hours + minutes) + seconds) / 2.5e-3)


@pytest.mark.parametrize(
    ("measurement", "stamps", "expected"),
    [
        # Of the day, as Siemens counts.
        (SERIES, [ticks(10, 25), ticks(10, 26, 0.5)], ["102500.000000", "102600.500000"]),
        ("", [ticks(10, 25)], ["102500.000000"]),
        # Slightly before the start that the header names.
        (SERIES, [ticks(10, 20)], ["102000.000000"]),
        # Hours away from the series: counted from its start, also over midnight.
        (SERIES, [ticks(23, 59, 59), ticks(0, 0, 1)], ["102400.000000", "102402.000000"]),
        (SERIES, [ticks(0, 0, 2.5), ticks(0, 0, 4)], ["102400.000000", "102401.500000"]),
        (SERIES, [0], [None]),
        ("", [0], [None]),
    ],
)
def test_acquisition_times(tmp_path, measurement, stamps, expected):
    images = [
        an_image(1.0, repetition=i, image_index=i + 1, acquisition_time_stamp=stamp)
        for i, stamp in enumerate(stamps)
    ]
    made = classic(tmp_path, images, header(measurement=measurement))
    assert [ds.get("AcquisitionTime") for ds in made] == expected
    for ds in made:
        start = "102400" if measurement else None
        assert ds.get("ContentTime") == (ds.get("AcquisitionTime") or start)
        assert ds.get("ContentDate", "") == ("20240506" if measurement else "")


@pytest.mark.parametrize(
    ("vendor", "study_time", "expected"),
    [
        ("SIEMENS", "03:00:00", "101112.500000"),
        ("SIEMENS", "10:00:00", "101112.500000"),
        ("", "10:00:00", "101112.500000"),
        # Stamps without a vendor that cannot be those of this study.
        ("", "03:00:00", None),
    ],
)
def test_the_time_of_the_study_is_none_of_a_scan(tmp_path, vendor, study_time, expected):
    study = f"<studyDate>2024-05-06</studyDate><studyTime>{study_time}</studyTime>"
    image = an_image(1.0, acquisition_time_stamp=ticks(10, 11, 12.5))
    (ds,) = classic(tmp_path, [image], header(vendor, study=study))
    assert ds.get("AcquisitionTime") == expected


def test_an_acquisition_begins_with_its_first_line(tmp_path):
    """The header of an image has the time of the k-space centre."""
    image = an_image(
        1.0,
        acquisition_time_stamp=ticks(10, 25, 30),
        meta={"JRSR_first_time_stamp": ticks(10, 25)},
    )
    xml = header(measurement=SERIES)
    (ds,) = classic(tmp_path, [image], xml)
    assert ds.AcquisitionTime == "102500.000000"
    (whole,) = enhanced(tmp_path, [image], xml)
    (frame,) = whole.PerFrameFunctionalGroupsSequence
    content = frame.FrameContentSequence[0]
    assert whole.AcquisitionDateTime == content.FrameAcquisitionDateTime == "20240506102500.000000"
    assert content.FrameReferenceDateTime == "20240506102530.000000"


@pytest.mark.parametrize("stamp", ["-5", "x", "1.5", "1e12", "0", "nan"])
def test_a_first_time_stamp_that_is_none_is_not_used(tmp_path, stamp):
    image = an_image(
        1.0, acquisition_time_stamp=ticks(10, 25), meta={"JRSR_first_time_stamp": stamp}
    )
    (ds,) = classic(tmp_path, [image], header(measurement=SERIES))
    assert ds.AcquisitionTime == "102500.000000"


def siemens_at(start: str, xml: str) -> str:
    """The header of a simulated scan with this start, as one of Siemens."""
    for old, new in (("<measurementInformation>", start), ("<systemVendor>", "SIEMENS ")):
        assert old in xml
        xml = xml.replace(old, old + new)
    return xml


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        (ticks(10, 24, 30), "102430.000000"),
        # The last lines follow midnight, from which the stamps count.
        (ticks(23, 59, 59.95), "235959.950000"),
    ],
)
def test_a_reconstructed_image_has_the_time_of_its_first_line(tmp_path, capfd, first, expected):
    def stamped(xml, lines):
        is_noise = lines.heads["flags"] & IS_NOISE > 0
        stamps = first + np.arange(len(is_noise)) - is_noise.sum()
        assert is_noise[: is_noise.sum()].all(), "the noise lines, which are in no image, are first"
        lines.heads["acquisition_time_stamp"] = stamps % ticks(24)
        start = SERIES.replace("10:24:00", f"{expected[:2]}:{expected[2:4]}:00")
        return siemens_at(start, xml), lines

    write_small_scan(tmp_path / "scan.h5", stamped)
    command = ("recon", tmp_path / "scan.h5", *FAST, "--format", "mrd,dicom")
    assert jrsr(capfd, *command).code == 0
    (ds,) = read_folder(tmp_path / "scan_jrsr_dicom")
    assert ds.AcquisitionTime == expected
    (image,) = ImageFile(tmp_path / "scan_jrsr.h5")
    assert image.meta["JRSR_first_time_stamp"] == str(first)
    assert (image.acquisition_time_stamp - first) % ticks(24) > 0, "that of the k-space centre"


def test_an_image_that_python_saves_alone_has_the_time_that_it_has_in_its_scan(tmp_path, capfd):
    """Its time stamps count from another moment than midnight, which the first image tells."""

    def stamped(xml, lines):
        lines.heads["acquisition_time_stamp"] = ticks(0, 0, 7) + 40 * np.arange(len(lines.heads))
        return siemens_at(SERIES, xml), lines

    scan = tmp_path / "scan.h5"
    write_small_scan(scan, stamped, n_slices=3)
    assert jrsr(capfd, "recon", scan, *FAST, "--format", "dicom").code == 0
    together = [ds.AcquisitionTime for ds in read_folder(tmp_path / "scan_jrsr_dicom")]
    model = load_model("cg-sense+sinc")
    for i, data in enumerate(read_scan(scan)):
        model(data).save(tmp_path / f"{i}.dcm")
    alone = [read_folder(tmp_path / f"{i}.dcm")[0].AcquisitionTime for i in range(3)]
    assert alone == together == sorted(set(together)) and together[0] == "102400.000000"


def test_a_scan_over_midnight_has_two_dates(tmp_path):
    start = "<seriesDate>2024-05-06</seriesDate><seriesTime>23:59:00</seriesTime>"
    stamps = (ticks(23, 59, 30), ticks(0, 1))
    images = [
        an_image(1.0, repetition=i, image_index=i + 1, acquisition_time_stamp=stamp)
        for i, stamp in enumerate(stamps)
    ]
    made = classic(tmp_path, images, header(measurement=start))
    assert [ds.AcquisitionDate for ds in made] == ["20240506", "20240507"]
    (whole,) = enhanced(tmp_path, images, header(measurement=start))
    assert whole.AcquisitionDateTime == "20240506235930.000000"
    times = [
        f.FrameContentSequence[0].FrameAcquisitionDateTime
        for f in whole.PerFrameFunctionalGroupsSequence
    ]
    assert times == ["20240506235930.000000", "20240507000100.000000"]


def test_stamps_of_other_vendors_have_no_known_unit(tmp_path):
    stamps = {"acquisition_time_stamp": 5000, "physiology_time_stamp": (40, 0, 0)}
    (ds,) = classic(tmp_path, [an_image(1.0, **stamps)], header("GE MEDICAL SYSTEMS"))
    assert "AcquisitionTime" not in ds and "TriggerTime" not in ds
    (plane,) = planes_of(an_image(1.0, **stamps))
    assert Clock(Labels(header("")), 5000).triggered_ms(plane) == 100.0


def cine() -> list:
    return [
        an_image(
            10.0 * p + s,
            place=8.0 * s,
            slice=s,
            phase=p,
            image_index=1 + s + 2 * p,
            physiology_time_stamp=(20 * p + 4, 0, 0),
        )
        for p in range(5)
        for s in range(2)
    ]


def test_cine_is_in_order(tmp_path):
    made = classic(tmp_path, cine(), header())
    made.sort(key=lambda ds: ds.InstanceNumber)
    assert [ds.TemporalPositionIdentifier for ds in made] == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert [ds.AcquisitionNumber for ds in made] == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert [float(ds.TriggerTime) for ds in made] == [10 + 50 * (i // 2) for i in range(10)]
    for ds in made:
        assert (ds.NumberOfTemporalPositions, ds.CardiacNumberOfImages) == (5, 5)
    (whole,) = enhanced(tmp_path, cine(), header())
    triggers = [
        f.CardiacSynchronizationSequence[0].NominalCardiacTriggerDelayTime
        for f in whole.PerFrameFunctionalGroupsSequence
    ]
    assert triggers == [10 + 50 * (i // 2) for i in range(10)]


@pytest.mark.parametrize("counter", ["repetition", "set", "average"])
def test_series_over_time_are_in_order(tmp_path, counter):
    images = [an_image(1.0 + i, image_index=i + 1, **{counter: 2 * i}) for i in range(3)]
    made = classic(tmp_path, images)
    assert [ds.TemporalPositionIdentifier for ds in made] == [1, 2, 3]
    assert {ds.EchoNumbers for ds in made} == {1}


def test_echoes_share_their_position_in_time(tmp_path):
    images = [an_image(1.0 + i, image_index=i + 1, contrast=i) for i in range(3)]
    made = classic(tmp_path, images, header(sequence="<TE>5</TE><TE>10</TE><TE>15</TE>"))
    assert [(ds.EchoNumbers, ds.EchoTime) for ds in made] == [(1, 5), (2, 10), (3, 15)]
    assert {ds.TemporalPositionIdentifier for ds in made} == {1}


@pytest.mark.parametrize(
    ("number", "expected"), [("4", 4001), ("0", 1), ("", 1), ("-2", 1), ("1e12", 1), ("x", 1)]
)
def test_series_numbers_begin_at_that_of_the_scan(tmp_path, number, expected):
    xml = header(measurement=f"<initialSeriesNumber>{number}</initialSeriesNumber>")
    images = [an_image(1.0), an_image(2.0, image_series_index=101)]
    numbers = [ds.SeriesNumber for ds in classic(tmp_path, images, xml)]
    assert numbers == [expected, expected + 100]
    assert [ds.SeriesNumber for ds in enhanced(tmp_path, images, xml)] == numbers


def test_scans_of_a_siemens_session_are_numbered_by_their_measurement(tmp_path):
    named = "<measurementID>45387_123456_123457_55</measurementID>"
    numbers = [
        classic(tmp_path, [an_image(1.0)], header(measurement=texts))[0].SeriesNumber
        for texts in (named, f"{named}<initialSeriesNumber>4</initialSeriesNumber>")
    ]
    assert numbers == [55001, 4001]


NETWORK = {"JRSR_model": "jrsr-dc"}
SECOND = {"image_index": 2}


@pytest.mark.parametrize(
    ("names", "images", "expected"),
    [
        ({"protocolName": "t2_tse"}, [an_image(meta=NETWORK)], "t2_tse JRSR jrsr-dc"),
        (
            {"protocolName": "t2_tse", "seriesDescription": "T2 axial"},
            [an_image(meta=NETWORK | {"JRSR_map": "unmeasured"})],
            "T2 axial JRSR jrsr-dc unmeasured",
        ),
        ({}, [an_image(meta=NETWORK)], "JRSR jrsr-dc"),
        ({"protocolName": "t2_tse"}, [an_image()], "t2_tse ISMRMRD series 1"),
        (
            {"protocolName": 9 * "t2_tse_tra "},
            [an_image(meta=NETWORK), an_image(meta=NETWORK | {"JRSR_fallback": "x"}, **SECOND)],
            "t2_tse_tra t2_tse_tra t2_tse_tra t2 JRSR, 1 of 2 FALLBACK images",
        ),
    ],
)
def test_series_are_named_by_their_scan_and_marked(tmp_path, names, images, expected):
    texts = "".join(f"<{name}>{text}</{name}>" for name, text in names.items())
    for ds in classic(tmp_path, images, header(measurement=texts)):
        assert ds.SeriesDescription == expected and len(expected) <= 64


def test_the_mark_of_incomplete_volumes_is_kept(tmp_path):
    images = [
        an_image(place=8.0 * s, slice=s, repetition=r, image_index=1 + s + 2 * r, meta=NETWORK)
        for r, s in ((0, 0), (0, 1), (1, 0))
    ]
    xml = header(measurement=f"<protocolName>{64 * 'x'}</protocolName>")
    found = {ds.SeriesDescription for ds in classic(tmp_path, images, xml)}
    assert found == {f"{51 * 'x'} JRSR jrsr-dc", f"{39 * 'x'} JRSR jrsr-dc, INCOMPLETE"}


def test_the_station_has_its_name(tmp_path):
    name = "<stationName>MRC40123</stationName><systemVendor>"
    (ds,) = classic(tmp_path, [an_image()], header().replace("<systemVendor>", name))
    assert ds.StationName == "MRC40123"
    (ds,) = classic(tmp_path, [an_image()], header())
    assert "StationName" not in ds


def system(*coils, encodings="", subject="") -> str:
    """A header with coils of these names, and more elements."""
    labels = "".join(f"<coilLabel><coilName>{name}</coilName></coilLabel>" for name in coils)
    xml = header().replace("<systemVendor>", f"{labels}<systemVendor>")
    more = f"<subjectInformation>{subject}</subjectInformation>{encodings}<studyInformation>"
    return xml.replace("<studyInformation>", more)


def both(tmp_path, images, xml) -> list[pydicom.Dataset]:
    """The first classic image and the first Enhanced one."""
    return [made(tmp_path, images, xml)[0] for made in (classic, enhanced)]


@pytest.mark.parametrize(
    ("coils", "name"),
    [
        (("HeadNeck_20:1:H11", "HeadNeck_20:1:H12"), "HeadNeck_20"),
        (("Body",), "Body"),
        (("HeadNeck_20:1:H11", "Spine_32:1:S1"), None),
        (("coil 0", "coil 1"), None),
        (("", ""), None),
        ((), None),
    ],
)
def test_the_coil_has_its_name_if_it_is_one(tmp_path, coils, name):
    for ds in both(tmp_path, [an_image()], system(*coils)):
        assert ds.get("ReceiveCoilName") == name


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [(["7"], 7), (["7", "7"], 7), (["7", "5"], None), (["1.5"], None), (["0"], None), ([], None)],
)
def test_the_echo_train_is_that_of_all_encodings(tmp_path, lengths, expected):
    texts = (f"<encoding><echoTrainLength>{n}</echoTrainLength></encoding>" for n in lengths)
    for ds in both(tmp_path, [an_image()], system(encodings="".join(texts))):
        assert ds.get("EchoTrainLength") == expected


def test_the_patient_has_a_height_and_the_sequence_a_name(tmp_path):
    xml = system(subject="<patientHeight_m>1.76</patientHeight_m>")
    name = "<measurementInformation><sequenceName>%SiemensSeq%\\tse</sequenceName>"
    for ds in both(tmp_path, [an_image()], xml.replace("<measurementInformation>", name)):
        assert (ds.PatientSize, ds.SequenceName) == (1.76, "%SiemensSeq%/tse")


@pytest.mark.parametrize(
    ("given", "position", "part"),
    [(("HFS", "Head"), "HFS", "HEAD"), (("head-first (supine)", "K\u00f6rper"), "", None)],
)
def test_codes_that_are_none_are_left_out(tmp_path, given, position, part):
    xml = header(
        study=f"<bodyPartExamined>{given[1]}</bodyPartExamined>",
        measurement=f"<patientPosition>{given[0]}</patientPosition>",
    )
    (ds,) = classic(tmp_path, [an_image()], xml)
    assert (ds.PatientPosition, ds.get("BodyPartExamined")) == (position, part)
    assert ("Laterality" in ds) == (part is None)


SAMPLING = {
    "JRSR_acquired_matrix": [30, 40],
    "JRSR_acceleration": 2.5,
    "JRSR_n_averages": 2,
    "JRSR_n_phase_encodes": 12,
    "JRSR_pixel_bandwidth_hz": 195.312,
}


def test_the_sampling_is_stated(tmp_path):
    ds, whole = both(tmp_path, [an_image(meta=SAMPLING)], header())
    assert (ds.NumberOfAverages, ds.NumberOfPhaseEncodingSteps) == (2, 12)
    assert (ds.PercentSampling, ds.PercentPhaseFieldOfView) == (40, 75)
    assert ds.PixelBandwidth == whole.PixelBandwidth == 195.312
    (frame,) = frames_of(whole)
    assert frame.MRAveragesSequence[0].NumberOfAverages == 2
    assert frame.MRFOVGeometrySequence[0].MRAcquisitionFrequencyEncodingSteps == 40


@pytest.mark.parametrize("name", SAMPLING)
@pytest.mark.parametrize("value", ["x", "-1", "0", "1e40", "nan", "1.5.2"])
def test_no_sampling_is_invented(tmp_path, name, value):
    """Images of others have no such attributes, or any."""
    images = [an_image(meta=SAMPLING | {name: value}), an_image(meta=SAMPLING, **SECOND)]
    ds, whole = both(tmp_path, images, header())
    keywords = {
        "JRSR_acquired_matrix": "AcquisitionMatrix",
        "JRSR_acceleration": "PercentSampling",
        "JRSR_n_averages": "NumberOfAverages",
        "JRSR_n_phase_encodes": "NumberOfPhaseEncodingSteps",
        "JRSR_pixel_bandwidth_hz": "PixelBandwidth",
    }
    assert keywords[name] not in ds
    # All frames have a functional group, or none has it.
    has_groups = name == "JRSR_pixel_bandwidth_hz"
    for keyword in ("MRFOVGeometrySequence", "MRAveragesSequence"):
        assert [keyword in frame for frame in frames_of(whole)] == [has_groups] * 2


@pytest.mark.parametrize(
    ("kind", "protocol", "times", "inversion"),
    [
        ("Flash", "t1_mprage_sag", "<TI>900</TI>", 900),
        ("TurboSpinEcho", "t2_tirm_tra_dark-fluid", "<TI>2500</TI>", 2500),
        ("TurboSpinEcho", "AX FLAIR", "<TI>2500</TI>", 2500),
        ("IR-FSE", "", "<TI>400</TI>", 400),
        ("Flash", "t1_mprage_sag", "<TI>0</TI>", None),
        ("Flash", "t1_mprage_sag", "", None),
        # Converters of Siemens files write one for every sequence.
        ("TurboSpinEcho", "t1_tse_tra", "<TI>300</TI>", None),
        ("Flash", "third_first_airway", "<TI>300</TI>", None),
    ],
)
def test_inversion_time_only_of_inversion_sequences(tmp_path, kind, protocol, times, inversion):
    xml = header(
        measurement=f"<protocolName>{protocol}</protocolName>",
        sequence=f"{times}<sequence_type>{kind}</sequence_type>",
    )
    (ds,) = classic(tmp_path, [an_image(1.0)], xml)
    assert ds.get("InversionTime") == inversion
    assert ("IR" in ds.ScanningSequence) == (inversion is not None)
    (whole,) = enhanced(tmp_path, [an_image(1.0)], xml)
    assert whole.get("InversionTime") == inversion


ZONES = [
    ("2024-05-06Z", "10:11:12Z", "20240506", "101112", "+0000"),
    ("2024-05-06+02:00", "10:11:12.25+02:00", "20240506", "101112.25", "+0200"),
    ("2024-05-06", "10:11:12.123456789-0530", "20240506", "101112.123456", "-0530"),
    ("2024-05-06+01:00", "10:11:12+02:00", "20240506", "101112", None),
    ("2024-05-06", "10:11:12", "20240506", "101112", None),
    ("2024-13-06", "10:61:12", "", "", None),
    ("9999-12-31", "23:59:59", "", "235959", None),
]


@pytest.mark.parametrize(("date", "time", "da", "tm", "zone"), ZONES)
def test_dates_and_times_may_have_a_zone(tmp_path, date, time, da, tm, zone):
    study = f"<studyDate>{date}</studyDate><studyTime>{time}</studyTime>"
    image = an_image(1.0, acquisition_time_stamp=ticks(23, 59, 59))
    (ds,) = classic(tmp_path, [image], header(study=study))
    assert (ds.StudyDate, ds.StudyTime, ds.get("TimezoneOffsetFromUTC")) == (da, tm, zone)


NAME = "MÜLLER^JÜRGEN"


def as_bytes(encoding: str, declared: str, name: str = NAME) -> bytes:
    declaration = f'<?xml version="1.0"{declared}?>'
    subject = f"<subjectInformation><patientName>{name}</patientName></subjectInformation>"
    space = (
        "<matrixSize><x>8</x><y>6</y><z>1</z></matrixSize>"
        "<fieldOfView_mm><x>8</x><y>6</y><z>5</z></fieldOfView_mm>"
    )
    encodings = (
        f"<encoding><encodedSpace>{space}</encodedSpace><reconSpace>{space}</reconSpace></encoding>"
    )
    text = f"{declaration}<ismrmrdHeader>{subject}{encodings}</ismrmrdHeader>"
    return text.encode(encoding)


@pytest.mark.parametrize(
    ("encoding", "declared"),
    [
        ("latin-1", ' encoding="ISO-8859-1"'),
        ("latin-1", " encoding='iso-8859-1' standalone='yes'"),
        ("latin-1", ""),
        ("latin-1", ' encoding="UTF-8"'),
        ("cp1252", ' encoding="windows-1252"'),
        ("utf-8", ' encoding="UTF-8"'),
        ("utf-8", ""),
        ("utf-8", ' encoding="us-ascii"'),
        ("utf-8", ' encoding="rot13"'),
    ],
)
def test_names_are_read_by_their_declaration(tmp_path, encoding, declared):
    xml = parse_header(as_bytes(encoding, declared) + b"\0").xml
    assert NAME in xml and parse_header(xml.encode()).xml == xml, "what is written is read again"
    (ds,) = classic(tmp_path, [an_image(1.0)], xml)
    assert (ds.PatientName, ds.SpecificCharacterSet) == (NAME, "ISO_IR 100")
    raw = (tmp_path / "classic" / "series001_00001.dcm").read_bytes()
    assert NAME.encode("latin-1") in raw


def test_names_beyond_latin_1_are_unicode(tmp_path):
    xml = parse_header(as_bytes("utf-8", "", "Иванов^Пётр")).xml
    (ds,) = classic(tmp_path, [an_image(1.0)], xml)
    assert (ds.PatientName, ds.SpecificCharacterSet) == ("Иванов^Пётр", "ISO_IR 192")


def test_an_image_file_in_latin_1_is_converted(tmp_path, capfd):
    import h5py

    path = tmp_path / "images.h5"
    write_file(path, an_image(1.0))
    with h5py.File(path, "r+") as file:
        text = file["dataset"].create_dataset("xml", (1,), h5py.special_dtype(vlen=bytes))
        text[0] = as_bytes("latin-1", ' encoding="ISO-8859-1"')
    assert jrsr(capfd, "convert", path).code == 0
    (ds,) = read_folder(tmp_path / "images_dicom")
    assert ds.PatientName == NAME


OF_NETWORK = {
    "JRSR_model": "jrsr-dc",
    "JRSR_weights_sha256": "abc",
    "JRSR_research_use": "Research use only: image derived by a neural network",
    "ImageComment": ["Research use only: image derived by a neural network", "JRSR jrsr-dc"],
}
OF_FALLBACK = {
    "JRSR_model": "cg-sense+sinc",
    "JRSR_research_use": "Research use only: conventional reconstruction",
    "JRSR_fallback": "acs is 2 x 2",
    "ImageComment": ["FALLBACK IMAGE, not from the model", "acs is 2 x 2"],
    "JRSR_warnings": "aliased",
}


@pytest.mark.parametrize("fallback", [{0}, {2, 4}, set(range(5))])
def test_an_enhanced_image_is_described_by_all_of_its_frames(tmp_path, fallback):
    metas = [OF_FALLBACK if i in fallback else OF_NETWORK for i in range(5)]
    images = [an_image(place=6.0 * i, slice=i, image_index=i + 1) for i in range(5)]
    for image, meta in zip(images, metas, strict=True):
        image.meta = ismrmrd.Meta(meta)
    (whole,) = enhanced(tmp_path, images)
    made = classic(tmp_path, images)
    typical = next((ds for ds, m in zip(made, metas, strict=True) if m is OF_NETWORK), made[0])
    assert whole.DerivationDescription == typical.DerivationDescription
    assert whole.SeriesDescription == f"JRSR, {len(fallback)} of 5 FALLBACK images"
    texts = str(whole.ImageComments).split("; ")
    assert len(set(texts)) == len(texts)
    numbers = ", ".join(str(i + 1) for i in sorted(fallback))
    frames = f"frame{'s' if len(fallback) > 1 else ''} {numbers}"
    assert f"FALLBACK IMAGE, not from the model: {frames}: acs is 2 x 2" in texts
    assert "Warning: aliased" in texts
    for meta in metas:
        assert meta["JRSR_research_use"] in texts
    marked = [bool(f.FrameContentSequence[0].FrameComments) for f in frames_of(whole)]
    assert marked == [i in fallback for i in range(5)]


def frames_of(ds: pydicom.Dataset) -> pydicom.Sequence:
    return ds.PerFrameFunctionalGroupsSequence


def test_many_fallback_frames_are_listed_in_a_bounded_text(tmp_path):
    images = [an_image(place=6.0 * i, slice=i, image_index=i + 1) for i in range(30)]
    for i, image in enumerate(images):
        image.meta = ismrmrd.Meta(OF_FALLBACK | {"JRSR_fallback": "late" if i else 4000 * "x"})
    (whole,) = enhanced(tmp_path, images)
    listed = ", ".join(str(i) for i in range(2, 22))
    assert f"frames {listed} and 9 more: late" in whole.ImageComments
    assert len(whole.ImageComments) <= 10240


def test_an_enhanced_map_is_not_called_an_image(tmp_path):
    comment = ["MAP, not an image: noise of every pixel", "white is 2 times what is expected"]
    meta = OF_NETWORK | {"JRSR_map": "noise", "ImageComment": comment}
    (whole,) = enhanced(tmp_path, [an_image(meta=meta)])
    assert str(whole.ImageComments).split("; ")[1:] == comment


@pytest.mark.parametrize("value", ["", "None"])
def test_an_empty_fallback_is_none(tmp_path, capfd, value):
    """A client of ours wrote "None" for the empty texts that it received."""
    meta = {"JRSR_model": "jrsr-dc", "JRSR_fallback": value, "Their_text": "None"}
    write_file(tmp_path / "images.h5", an_image(1.0, meta=meta))
    (image,) = ImageFile(tmp_path / "images.h5")
    assert (image.meta["JRSR_fallback"], image.meta["Their_text"]) == ("", "None")
    assert jrsr(capfd, "convert", tmp_path / "images.h5").code == 0
    (ds,) = read_folder(tmp_path / "images_dicom")
    assert "FALLBACK" not in f"{ds.ImageType}{ds.SeriesDescription}{ds.DerivationDescription}"


@pytest.mark.parametrize("layout", ["dicom", "enhanced", "nifti"])
def test_an_image_without_a_place_is_left_out(tmp_path, capfd, layout):
    images = [an_image(float(i), place=5.0 * i, image_index=i) for i in (1, 2, 3)]
    images[1].position = (np.nan, 0, 0)
    write_file(tmp_path / "images.h5", *images)
    made = jrsr(capfd, "convert", tmp_path / "images.h5", "--format", layout)
    assert made.code == 3
    reason = "image 2: position_mm is (nan, 0.0, 0.0), expected three finite numbers"
    assert f"1 of 3 images left out, first reason: {reason}" in made.err
    if layout == "dicom":
        assert [ds.InstanceNumber for ds in read_folder(tmp_path / "images_dicom")] == [1, 3]


def test_a_conventional_image_is_not_called_that_of_a_network(tmp_path, capfd):
    write_small_scan(tmp_path / "scan.h5", acceleration=2)
    command = ("recon", tmp_path / "scan.h5", *FAST, "--format", "mrd,dicom,enhanced")
    assert jrsr(capfd, *command).code == 0
    (image,) = ImageFile(tmp_path / "scan_jrsr.h5")
    assert "AI" not in image.meta["ImageProcessingHistory"]
    texts = [str(image.meta)]
    for folder in ("scan_jrsr_dicom", "scan_jrsr_enhanced"):
        (ds,) = read_folder(tmp_path / folder)
        texts.append(ds.DerivationDescription + str(ds.ImageComments))
    for text in texts:
        assert "neural" not in text and "Joint" not in text
        assert "Research use only" in text


class TestCases:
    """Small inputs that went wrong."""

    pytestmark = needs_cases

    @staticmethod
    def exported(tmp_path, capfd, name) -> list[pydicom.Dataset]:
        out = tmp_path / "out"
        out.mkdir()
        command = ("recon", CASES / f"{name}.h5", "-o", out, *FAST, "--format", "dicom")
        assert jrsr(capfd, *command).code in (0, 3)
        return read_folder(out / f"{name}_jrsr_dicom")

    def test_latin1(self, tmp_path, capfd):
        (ds,) = self.exported(tmp_path, capfd, "latin1")
        assert ds.PatientName == NAME

    def test_study(self, tmp_path, capfd):
        made = self.exported(tmp_path, capfd, "studyA")
        assert {ds.SeriesNumber for ds in made} == {4001}
        assert min(ds.AcquisitionTime for ds in made) == "102400.000000"
        assert len({ds.AcquisitionTime for ds in made}) == 3

    def test_cine(self, tmp_path, capfd):
        made = self.exported(tmp_path, capfd, "cine")
        found = {(ds.SliceLocation, ds.TemporalPositionIdentifier) for ds in made}
        assert len(made) == len(found) == 10
        assert {ds.NumberOfTemporalPositions for ds in made} == {5}

    def test_aborted(self, tmp_path, capfd):
        """An incomplete repetition, whether left out or not, is in no series of complete ones."""
        made = self.exported(tmp_path, capfd, "ab50")
        first = [ds for ds in made if ds.SeriesNumber == 1]
        assert len(first) == 3 and {ds.TemporalPositionIdentifier for ds in first} == {1}
