"""Streams of MRD v2: the pixels of `jrsr recon`, whatever the version of the package `mrd`."""

import datetime
import io
import json
import sys
from types import SimpleNamespace

import ismrmrd
import numpy as np
import pytest

from gadget.errors import Exit, UsageError
from gadget.server.protocol.wire import ProtocolError
from gadget.settings import Settings
from gadget.stream.run import reconstruct_stream
from jrsr_core.mrd.header.scan_header import parse_header
from jrsr_core.mrd.lines.acquired import CALIBRATION_AND_IMAGING, has_flag
from tests.helpers.peer import CHEAP, environment

mrd = pytest.importorskip("mrd", reason="mrd-python (extra 'mrd') is not installed")

from gadget.stream import mrd_schema  # noqa: E402
from gadget.stream.mrd_header import header_xml  # noqa: E402
from gadget.stream.mrd_lines import lines_of  # noqa: E402
from tests.helpers.processes import run_process  # noqa: E402

SETTINGS = Settings(**CHEAP, trigger="measurement")
IN_NS = hasattr(mrd.AcquisitionHeader(), "acquisition_time_stamp_ns")
LIMIT = 2**20


def small_header(scan) -> "mrd.Header":
    """The header of a scan, written down a second time."""
    old = ismrmrd.xsd.CreateFromDocument(scan.header.xml)
    (encoding,) = old.encoding
    kind = mrd.EncodingType(trajectory=mrd.Trajectory.CARTESIAN)
    kind.encoded_space, kind.recon_space = map(space, (encoding.encodedSpace, encoding.reconSpace))
    for name in ("kspace_encoding_step_1", "slice"):
        given = getattr(encoding.encodingLimits, name)
        limit = mrd.LimitType(minimum=given.minimum, maximum=given.maximum, center=given.center)
        setattr(kind.encoding_limits, name, limit)
    header = mrd.Header(encoding=[kind])
    bandwidth = float(np.float32(old.acquisitionSystemInformation.relativeReceiverNoiseBandwidth))
    system = mrd.AcquisitionSystemInformationType(relative_receiver_noise_bandwidth=bandwidth)
    header.acquisition_system_information = system
    return header


def space(given: object) -> "mrd.EncodingSpaceType":
    matrix, fov = given.matrixSize, given.fieldOfView_mm
    own = mrd.EncodingSpaceType(matrix_size=mrd.MatrixSizeType(x=matrix.x, y=matrix.y, z=matrix.z))
    own.field_of_view_mm = mrd.FieldOfViewMm(x=fov.x, y=fov.y, z=fov.z)
    return own


def acquisition(head: np.void, data: np.ndarray) -> "mrd.Acquisition":
    """A line, with the fields that both versions have."""
    own = mrd.Acquisition(data=data)
    own.head.flags = mrd.AcquisitionFlags(int(head["flags"]))
    for name in ("measurement_uid", "scan_counter", "center_sample", "encoding_space_ref"):
        setattr(own.head, name, int(head[name]))
    for name in ("discard_pre", "discard_post"):
        setattr(own.head, name, int(head[name]) or None)
    for name in ("position", "read_dir", "phase_dir", "slice_dir", "patient_table_position"):
        setattr(own.head, name, np.array(head[name]))
    for name in head["idx"].dtype.names:
        if name != "user":
            setattr(own.head.idx, name, int(head["idx"][name]) or None)
    if IN_NS:
        own.head.acquisition_time_stamp_ns = int(head["acquisition_time_stamp"]) * 1_000_000
        own.head.sample_time_ns = round(float(head["sample_time_us"]) * 1000)
    else:
        own.head.acquisition_time_stamp = int(head["acquisition_time_stamp"])
        own.head.sample_time_us = float(head["sample_time_us"])
    return own


def acquisitions(scan) -> list["mrd.Acquisition"]:
    return [acquisition(h, d) for h, d in zip(scan.lines.heads, scan.lines.data, strict=True)]


def written(header: "mrd.Header", items: list) -> bytes:
    target = io.BytesIO()
    with mrd.BinaryMrdWriter(target) as writer:
        writer.write_header(header)
        writer.write_data(items)
    return target.getvalue()


def stream(folder, data: bytes) -> tuple[Exit, list, object]:
    """Exit code, items and header of what comes of a stream."""
    source, target = folder / "in.mrd", folder / "out.mrd"
    source.write_bytes(data)
    code = reconstruct_stream(SETTINGS, str(source), str(target), overwrite=True)
    if not target.exists():
        return code, [], None
    header, items = read(target.read_bytes())
    return code, items, header


def read(data: bytes) -> tuple[object, list]:
    """Header and items of a stream."""
    with mrd.BinaryMrdReader(io.BytesIO(data)) as reader:
        return reader.read_header(), list(reader.read_data())


def test_the_pixels_are_those_of_the_file(scan, tmp_path):
    items = [mrd.StreamItem.Acquisition(a) for a in acquisitions(scan)]
    data = written(small_header(scan), items)
    code, images, echo = stream(tmp_path, data)
    assert code == Exit.DONE and echo == read(data)[0]
    assert all(isinstance(item, mrd.StreamItem.ImageFloat) for item in images)
    assert [i.value.data.tobytes() for i in images] == [pixels for _, pixels in scan.expected()]
    first = images[0].value
    assert first.meta["GADGETRON_DataRole"][0].value == "Image"
    assert first.head.image_series_index == 1 and first.head.image_type == mrd.ImageType.MAGNITUDE
    assert [i.value.head.slice for i in images] == [0, 1]


def test_buckets_and_what_passes_by(scan, tmp_path):
    wave = mrd.Waveform(data=np.arange(6, dtype=np.uint32).reshape(2, 3))
    array = mrd.StreamItem.ArrayComplexFloat(np.arange(4, dtype=np.complex64).reshape(2, 2))
    bucket = mrd.AcquisitionBucket(data=acquisitions(scan), waveforms=[wave])
    items = [array, mrd.StreamItem.AcquisitionBucket(bucket)]
    code, out, _ = stream(tmp_path, written(small_header(scan), items))
    assert code == Exit.DONE
    assert np.array_equal(out[0].value, array.value)
    assert np.array_equal(out[1].value.data, wave.data)
    expected = [pixels for _, pixels in scan.expected()]
    assert [item.value.data.tobytes() for item in out[2:]] == expected


def test_images_alone_are_forwarded_and_declined(scan, tmp_path, caplog):
    items = [mrd.StreamItem.Acquisition(a) for a in acquisitions(scan)]
    _, images, _ = stream(tmp_path, written(small_header(scan), items))
    (tmp_path / "second").mkdir()
    code, _, _ = stream(tmp_path / "second", written(small_header(scan), images))
    assert code == Exit.DECLINED
    assert "2 images and no lines came, expected lines or buckets" in caplog.text


def test_absent_counters_are_0_and_an_absent_centre_is_the_middle():
    lines = lines_of([mrd.Acquisition(data=np.ones((2, 7), np.complex64))], LIMIT)
    head = lines.heads[0]
    assert head["center_sample"] == 3 and head["active_channels"] == 2
    assert all(head["idx"][name].max() == 0 for name in head["idx"].dtype.names)
    assert head["channel_mask"][0] == 0b11


def test_time_stamps_are_kept():
    line = mrd.Acquisition(data=np.ones((1, 4), np.complex64))
    if IN_NS:
        line.head.acquisition_time_stamp_ns = 1_234_000_000
        line.head.physiology_time_stamp_ns = [5_000_000]
        line.head.sample_time_ns = 2500
    else:
        line.head.acquisition_time_stamp = 1234
        line.head.physiology_time_stamp = [5]
        line.head.sample_time_us = 2.5
    head = lines_of([line], LIMIT).heads[0]
    assert head["acquisition_time_stamp"] == 1234
    assert head["physiology_time_stamp"].tolist() == [5, 0, 0]
    assert head["sample_time_us"] == 2.5


def refused(line) -> str:
    with pytest.raises(ProtocolError) as error:
        lines_of([line], LIMIT)
    return str(error.value)


def test_what_lines_cannot_hold_is_refused():
    head = mrd.AcquisitionHeader()
    samples = np.ones((1, 4), np.complex64)
    with_phase = SimpleNamespace(head=head, data=samples, phase=np.zeros(4))
    assert "phase per sample" in refused(with_phase)
    assert "expected 2 axes" in refused(SimpleNamespace(head=head, data=np.ones(4)))
    large = mrd.Acquisition(data=np.ones((1, 2**18), np.complex64))
    assert "at most" in refused(large)
    far = mrd.Acquisition(data=samples)
    far.head.idx.kspace_encode_step_1 = 70_000
    assert "too large" in refused(far)


def test_every_field_of_the_header_has_a_field_of_v1():
    header = mrd.Header(experimental_conditions=mrd.ExperimentalConditionsType())
    header.experimental_conditions.h1resonance_frequency_hz = 63_500_000
    subject = mrd.SubjectInformationType(patient_name="Müller", patient_weight_kg=70.5)
    subject.patient_birthdate = datetime.date(1980, 2, 29)
    subject.patient_gender = mrd.PatientGender.O
    header.subject_information = subject
    measurement = mrd.MeasurementInformationType(protocol_name="T2 & <more>")
    measurement.patient_position = mrd.PatientPosition.H_FS
    header.measurement_information = measurement
    system = mrd.AcquisitionSystemInformationType(system_field_strength_t=1.5)
    system.receiver_channels = 2
    system.coil_label = [mrd.CoilLabelType(coil_number=1, coil_name="Head")]
    header.acquisition_system_information = system
    sequence = mrd.SequenceParametersType(t_r=[500.0], t_e=[12.5, 25.0])
    sequence.flip_angle_deg = [15.0]
    header.sequence_parameters = sequence
    encoding = mrd.EncodingType()
    encoding.encoded_space.matrix_size = mrd.MatrixSizeType(x=128, y=64, z=1)
    encoding.encoded_space.field_of_view_mm = mrd.FieldOfViewMm(x=256.0, y=128.0, z=4.0)
    encoding.recon_space = encoding.encoded_space
    factor = mrd.AccelerationFactorType(kspace_encoding_step_1=2, kspace_encoding_step_2=1)
    encoding.parallel_imaging = mrd.ParallelImagingType(acceleration_factor=factor)
    encoding.parallel_imaging.calibration_mode = mrd.CalibrationMode.SEPARATE
    header.encoding = [encoding]
    parsed = parse_header(header_xml(header))
    assert parsed.encodings[0].encoding_matrix == (1, 64, 128)
    assert parsed.encodings[0].encoding_fov_mm == (4.0, 128.0, 256.0)
    assert parsed.encodings[0].has_reference_scan
    assert parsed.te_ms == (12.5, 25.0) and parsed.tr_ms == (500.0,) and parsed.flip_deg == (15.0,)
    assert parsed.n_coils == 2 and parsed.field_strength_t == 1.5
    assert parsed.protocol_name == "T2 & <more>"
    for text in ("Müller", "1980-02-29", "HFS", "<patientGender>O<", "63500000", "Head"):
        assert text in parsed.xml


def with_schema(schema: str) -> bytes:
    """The beginning of a stream of another version."""
    text, n, size = schema.encode(), len(schema.encode()), b""
    while n > 0x7F:
        size += bytes([n & 0x7F | 0x80])
        n >>= 7
    return b"yardl\x01\0\0\0" + size + bytes([n]) + text + bytes(100)


def schema_like(*types: str, field: str = "acquisitionTimeStamp") -> str:
    named = [{"name": name} for name in types]
    return json.dumps(
        {"types": [*named, {"name": "AcquisitionHeader", "fields": [{"name": field}]}]}
    )


@pytest.mark.parametrize(
    ("schema", "version"),
    [
        (schema_like(), "2.0"),
        (schema_like("ImageInt32"), "2.1"),
        (schema_like("ImageInt32", field="acquisitionTimeStampNs"), "2.2.0"),
        (schema_like("PulseqBlock", field="acquisitionTimeStampNs"), "2.2.1"),
        ("{}", "an unknown version"),
        ("[1", "an unknown version"),
    ],
)
def test_another_version_is_named_beside_the_installed_one(tmp_path, schema, version):
    own = mrd_schema.version_of(mrd.BinaryMrdReader.schema)
    assert own in mrd_schema.PACKAGES
    with pytest.raises(UsageError) as error:
        stream(tmp_path, with_schema(schema))
    assert f"MRD {version}, the installed mrd-python reads {own}" in str(error.value)


def test_without_the_package_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mrd", None)
    with pytest.raises(UsageError, match="extra 'mrd'"):
        stream(tmp_path, with_schema(schema_like("ImageInt32")))


@pytest.mark.parametrize("n", [7, 10, 200])
def test_a_stream_that_ends_within_its_schema(tmp_path, n):
    with pytest.raises(ProtocolError, match="cut off"):
        stream(tmp_path, with_schema(schema_like("x" * 300))[:n])


def test_a_stream_that_is_cut_off_fails_and_leaves_no_file(scan, tmp_path, caplog):
    items = [mrd.StreamItem.Acquisition(a) for a in acquisitions(scan)]
    data = written(small_header(scan), items)
    code, images, _ = stream(tmp_path, data[:-100])
    assert code == Exit.FAILED and images == []
    assert "cut off" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == ["in.mrd"]


def test_bytes_that_are_no_items_fail_with_one_line(scan, tmp_path, caplog):
    items = [mrd.StreamItem.Acquisition(a) for a in acquisitions(scan)[:3]]
    data = written(small_header(scan), items)
    code, _, _ = stream(tmp_path, data[:-1] + b"\x01\x7f" + bytes(50))
    assert code == Exit.FAILED
    assert "cannot be read as MRD v2" in caplog.text and "Traceback" not in caplog.text


def run(*arguments: object, data: bytes = b"") -> bytes:
    done = run_process(
        [sys.executable, "-m", *map(str, arguments)],
        input=data,
        env=environment(),
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_phantom_of_the_package_comes_through_two_pipes(tmp_path):
    """A circle of the phantom: the image is bright where the phantom is, and dark outside."""
    phantom = run("mrd.tools.phantom", "-m", 64, "-c", 4, "-n", 0.001)
    cheap = [f"--set={name}={value}" for name, value in CHEAP.items()]
    data = run("gadget", "stream", *cheap, data=phantom)
    (item,) = read(data)[1]
    pixels = item.value.data[0, 0]
    assert pixels.shape == (128, 128)
    assert pixels[60:68, 40:88].mean() > 5 * pixels[:8, :8].mean()


def test_the_converter_of_the_package(scan):
    """`ismrmrd_to_mrd`, an independent reading of the same file: same pixels."""
    pytest.importorskip("mrd.tools.ismrmrd_to_mrd", reason="this mrd-python has no converter")
    data = run("mrd.tools.ismrmrd_to_mrd", "-d", scan.path)
    cheap = [f"--set={name}={value}" for name, value in CHEAP.items()]
    _, items = read(run("gadget", "stream", *cheap, data=data))
    expected = [pixels for _, pixels in scan.expected()]
    assert [item.value.data.tobytes() for item in items] == expected


def test_lines_in_both_parts_of_a_bucket_count_once(scan, tmp_path):
    lines = acquisitions(scan)
    both = has_flag(scan.lines.heads, CALIBRATION_AND_IMAGING)
    assert both.any()
    reference = [line for line, is_both in zip(lines, both, strict=True) if is_both]
    bucket = mrd.StreamItem.AcquisitionBucket(mrd.AcquisitionBucket(data=lines, ref=reference))
    code, images, _ = stream(tmp_path, written(small_header(scan), [bucket]))
    assert code == Exit.DONE
    assert [i.value.data.tobytes() for i in images] == [pixels for _, pixels in scan.expected()]
