"""Siemens files: real ones, and simulated scans written as VB and VD."""

import math

import numpy as np
import pydicom
import pytest

from jrsr_core.mrd.files.images import ImageFile
from jrsr_core.mrd.files.scan import ScanFile, write_scan
from jrsr_core.mrd.header.scan_header import parse_header
from jrsr_core.mrd.lines.acquired import NOISE, LineList, has_flag
from jrsr_core.mrd.simulator.request import ScanRequest
from jrsr_core.mrd.simulator.simulate import simulate_scan
from tests.helpers.commands import FAST, NO_WEIGHTS, assert_one_line, jrsr
from tests.helpers.foreign_scans import SCAN
from tests.helpers.paths import SHARED
from tests.helpers.twix_files import protocol_text, write_vb, write_vd

twixtools = pytest.importorskip("twixtools", reason="extra siemens is not installed")

PULSEQ = SHARED / "data" / "raw" / "twix_pulseq_gre_1ch.dat"
SKYRA = SHARED / "data" / "raw" / "twix_skyra_bodycoil_2ch.dat"


def simulated(**options):
    """Return header and lines, with directions as Siemens has them: phase x read = slice."""
    scan = simulate_scan(ScanRequest(**(SCAN | options)))
    scan.lines.heads["read_dir"] *= -1
    return parse_header(scan.header_xml), scan.lines


def center_of(header):
    grid = header.encodings[0].grid
    return (grid.center_line, grid.center_partition)


def pixels(path):
    return np.stack([image.data.squeeze() for image in ImageFile(path)])


def without_noise(lines):
    keep = np.flatnonzero(~has_flag(lines.heads, NOISE))
    return LineList(lines.heads[keep], [lines.data[i] for i in keep])


def noise_alone(lines):
    keep = np.flatnonzero(has_flag(lines.heads, NOISE))
    return LineList(lines.heads[keep], [lines.data[i] for i in keep])


@pytest.mark.parametrize("version", ["vb", "vd"])
@pytest.mark.parametrize(
    "options",
    [
        {"averages": 2, "partial_fourier": 0.75},
        {"calibration": "separate", "mask": "regular", "acceleration": 2.0, "repetitions": 2},
        {"protocol": "wall-16x", "mask": "full", "matrix": "48x40", "positions": 8, "slices": 1},
        {"alternate": True, "partial_echo": 0.75, "mask": "full", "tilt": 35.0, "turn": 20.0},
    ],
    ids=["averages", "reference lines", "3-D", "reversed echoes"],
)
def test_same_images_as_the_scan(tmp_path, capfd, version, options):
    header, lines = simulated(**options)
    text = protocol_text(header.encodings[0], "gre", **{"sKSpace.lImagesPerSlab": None})
    if version == "vb":
        write_vb(tmp_path / "meas.dat", text, lines, center_of(header))
    else:
        write_vd(tmp_path / "meas.dat", [("gre", text, lines, center_of(header))])
    # Written as such a scan: the dwell time of noise is the scanner's.
    write_scan(tmp_path / "scan.h5", header.xml, lines)
    outcome = jrsr(capfd, "import", tmp_path / "meas.dat", "-o", tmp_path / "made.h5")
    assert outcome.code == 0, outcome
    with ScanFile(tmp_path / "scan.h5") as own, ScanFile(tmp_path / "made.h5") as made:
        a, b = own.header.encodings[0], made.header.encodings[0]
        for name in ("encoding_matrix", "recon_matrix", "acceleration", "grid", "line_limits"):
            assert getattr(a, name) == getattr(b, name), name
        np.testing.assert_allclose(a.encoding_fov_mm, b.encoding_fov_mm, rtol=1e-5)
        assert a.has_reference_scan == b.has_reference_scan
        for name in ("number_of_samples", "center_sample", "active_channels", "idx"):
            assert (own.heads[name] == made.heads[name]).all(), name
        for name in ("position", "read_dir", "phase_dir", "slice_dir"):
            np.testing.assert_allclose(own.heads[name], made.heads[name], atol=1e-4)
        # What the files state of every readout, see `tests.helpers.twix_files`.
        assert (made.heads["acquisition_time_stamp"] == 100).all()
        assert (made.heads["physiology_time_stamp"] == (200, 0, 0)).all()
        # VB has no place of the table.
        table = (0, 0, 0) if version == "vb" else (1.5, -2.5, -1045.016)
        tables = [table] * len(made.heads)
        np.testing.assert_allclose(made.heads["patient_table_position"], tables, atol=1e-4)
    for name in ("scan", "made"):
        assert jrsr(capfd, "recon", tmp_path / f"{name}.h5", *FAST).code == 0
    np.testing.assert_array_equal(
        pixels(tmp_path / "scan_jrsr.h5"), pixels(tmp_path / "made_jrsr.h5")
    )


def test_noise_of_another_measurement(tmp_path, capfd):
    """Two measurements, as VD and VE store them: the noise belongs to the scan after it."""
    header, lines = simulated(noise_scan=True, slices=1)
    text = protocol_text(header.encodings[0], "gre")
    center = center_of(header)
    noise, scan = noise_alone(lines), without_noise(lines)
    measurements = [("AdjCoilSens", text, noise, (0, 0)), ("gre", text, scan, center)]
    write_vd(tmp_path / "meas.dat", measurements)
    outcome = jrsr(capfd, "import", tmp_path / "meas.dat", "-o", tmp_path / "made.h5")
    assert outcome.code == 0 and "noise scan of measurement 1" in outcome.out
    with ScanFile(tmp_path / "made.h5") as made:
        is_noise = has_flag(made.heads, NOISE)
        assert int(is_noise.sum()) == len(noise.heads)
        # The dwell time of this adjustment is 5 us in every version.
        assert set(made.heads["sample_time_us"][is_noise]) == {5.0}
        samples = made.samples(np.flatnonzero(is_noise)[:1])
    np.testing.assert_array_equal(samples[0], noise.data[0])
    write_scan(tmp_path / "scan.h5", header.xml, lines)
    for name in ("scan", "made"):
        assert jrsr(capfd, "recon", tmp_path / f"{name}.h5", *FAST).code == 0
    # The receiver's noise bandwidth is that of the scanner, which the simulation's is not.
    a, b = pixels(tmp_path / "scan_jrsr.h5"), pixels(tmp_path / "made_jrsr.h5")
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-3 * a.max())


@pytest.mark.parametrize(("version", "dwell_us"), [("vb", 1e6 / 256 / 130), ("vd", 30.0)])
def test_noise_within_a_scan_has_the_dwell_time_of_its_version(tmp_path, capfd, version, dwell_us):
    """As `siemens_to_ismrmrd` has it: 130 Hz a sample, or 7680 us a readout in steps of 0.1 us."""
    header, lines = simulated(noise_scan=True, slices=1)
    is_noise = has_flag(lines.heads, NOISE)
    lines.heads["number_of_samples"][is_noise] = 256
    lines.heads["center_sample"][is_noise] = 128
    data = [x[:, :256] if n else x for x, n in zip(lines.data, is_noise, strict=True)]
    lines, text = LineList(lines.heads, data), protocol_text(header.encodings[0], "gre")
    if version == "vb":
        write_vb(tmp_path / "meas.dat", text, lines, center_of(header))
    else:
        write_vd(tmp_path / "meas.dat", [("gre", text, lines, center_of(header))])
    outcome = jrsr(capfd, "import", tmp_path / "meas.dat", "-o", tmp_path / "made.h5")
    assert outcome.code == 0, outcome
    with ScanFile(tmp_path / "made.h5") as made:
        noise = made.heads[has_flag(made.heads, NOISE)]
        assert len(noise) == is_noise.sum() > 0 and (noise["number_of_samples"] == 256).all()
        assert noise["sample_time_us"] == pytest.approx(dwell_us)
        # The protocol's 5000 ns.
        assert set(made.heads["sample_time_us"][~has_flag(made.heads, NOISE)]) == {5.0}


def test_several_measurements_are_asked_for(tmp_path, capfd):
    header, lines = simulated(slices=1)
    text = protocol_text(header.encodings[0], "gre")
    lines = without_noise(lines)
    half = LineList(lines.heads[:9], lines.data[:9])
    both = [("localizer", text, half, (0, 0)), ("gre", text, lines, center_of(header))]
    write_vd(tmp_path / "meas.dat", both)
    run = ("import", tmp_path / "meas.dat", "-o", tmp_path / "made.h5")
    words = ("--measurement", "1 (localizer, 9 readouts)", f"2 (gre, {len(lines.heads)} readouts)")
    assert_one_line(jrsr(capfd, *run), 2, "meas.dat: choose one", *words)
    assert_one_line(jrsr(capfd, *run, "--measurement", 3), 2, "no measurement 3", *words)
    assert not (tmp_path / "made.h5").exists()
    assert jrsr(capfd, *run, "--measurement", 2).code == 0
    with ScanFile(tmp_path / "made.h5") as made:
        assert len(made.heads) == len(lines.heads)
        assert made.header.protocol_name == "gre" and made.header.te_ms == (10.0,)


def test_readouts_without_end_mark(tmp_path, capfd):
    header, lines = simulated(slices=1)
    text = protocol_text(header.encodings[0], "gre")
    write_vd(tmp_path / "meas.dat", [("gre", text, lines, center_of(header))])
    whole = (tmp_path / "meas.dat").read_bytes()
    (tmp_path / "meas.dat").write_bytes(whole[: len(whole) // 2])
    outcome = jrsr(capfd, "import", tmp_path / "meas.dat", "-o", tmp_path / "made.h5")
    assert outcome.code == 0 and "without its end mark" in outcome.out
    with ScanFile(tmp_path / "made.h5") as made:
        assert 0 < len(made.heads) < len(lines.heads)


@pytest.mark.parametrize("where", range(0, 20))
def test_spoilt_files_are_one_line(tmp_path, capfd, where):
    """Random bytes anywhere: a scan, or one line of why not; nothing is half written."""
    header, lines = simulated(slices=1, matrix="48x48", mask="full")
    text = protocol_text(header.encodings[0], "gre")
    write_vd(tmp_path / "meas.dat", [("gre", text, lines, center_of(header))])
    spoilt = bytearray((tmp_path / "meas.dat").read_bytes())
    generator = np.random.default_rng(where)
    regions = [(0, 200), (10240, 10300), (10300, 11600), (11600, len(spoilt))]
    low, high = regions[where % 4]
    for place in generator.integers(low, high, 12):
        spoilt[place] = int(generator.integers(256))
    (tmp_path / "meas.dat").write_bytes(spoilt)
    outcome = jrsr(capfd, "import", tmp_path / "meas.dat", "-o", tmp_path / "made.h5")
    assert outcome.code in (0, 1, 2)
    if outcome.code:
        assert_one_line(outcome, outcome.code, "meas.dat: ")
        assert {p.name for p in tmp_path.iterdir()} == {"meas.dat"}


def directions_of_the_protocol(piece):
    """Return phase, read and slice direction of `sNormal` and `dInPlaneRot`, as the scanner does.

    The in-plane rotation 0 depends on the main axis of the normal. Source: `fGSLCalcPRS`, as
    published in suspect (openmrslab/suspect) and vespa.
    """
    normal = piece.get("sNormal", {})
    s = np.array([float(normal.get(f"d{axis}", 0.0)) for axis in ("Sag", "Cor", "Tra")])
    main = int(np.abs(s).argmax())
    if main == 2:
        phase = np.array([0.0, s[2], -s[1]]) / math.hypot(s[1], s[2])
    elif main == 1:
        phase = np.array([s[1], -s[0], 0.0]) / math.hypot(s[0], s[1])
    else:
        phase = np.array([-s[1], s[0], 0.0]) / math.hypot(s[0], s[1])
    read = np.cross(s, phase)
    turn = float(piece.get("dInPlaneRot", 0.0))
    phase = math.cos(turn) * phase - math.sin(turn) * read
    return phase, np.cross(s, phase), s


@pytest.mark.data
@pytest.mark.parametrize("path", [PULSEQ, SKYRA], ids=["pulseq", "skyra"])
def test_positions_of_real_files(tmp_path, capfd, path):
    """Positions and directions of the lines are those of the protocol's slices."""
    if not path.exists():
        pytest.skip("no shared data")
    made = tmp_path / "made.h5"
    assert jrsr(capfd, "import", path, "-o", made).code == 0
    read = twixtools.read_twix(
        str(path), verbose=False, parse_data=False, parse_pmu=False, parse_geometry=False
    )
    slices = read[-1]["hdr"]["MeasYaps"]["sSliceArray"]["asSlice"]
    phase, read_dir, normal = directions_of_the_protocol(slices[0])
    place = [slices[0]["sPosition"].get(f"d{axis}", 0.0) for axis in ("Sag", "Cor", "Tra")]
    with ScanFile(made) as scan:
        np.testing.assert_allclose(scan.heads["position"], [place] * len(scan.heads), atol=1e-4)
        for name, wanted in (("phase_dir", phase), ("read_dir", read_dir), ("slice_dir", normal)):
            np.testing.assert_allclose(scan.heads[name][0], wanted, atol=1e-5)


@pytest.mark.data
@pytest.mark.parametrize("path", [PULSEQ, SKYRA], ids=["pulseq", "skyra"])
def test_samples_of_real_files(tmp_path, capfd, path):
    """Samples and counters are those that twixtools reads."""
    if not path.exists():
        pytest.skip("no shared data")
    made = tmp_path / "made.h5"
    assert jrsr(capfd, "import", path, "-o", made).code == 0
    (read,) = twixtools.read_twix(str(path), verbose=False, parse_pmu=False, parse_geometry=False)
    with ScanFile(made) as scan:
        assert len(scan.heads) == len(read["mdb"])
        samples = scan.samples(np.arange(len(scan.heads)))
        for i, block in enumerate(read["mdb"]):
            np.testing.assert_array_equal(samples[i], block.data)
            assert scan.heads["idx"]["kspace_encode_step_1"][i] == block.cLin
            assert scan.heads["idx"]["repetition"][i] == block.cRep
        (encoding,) = scan.header.encodings
        assert encoding.readout_size == encoding.recon_matrix[2]
        assert encoding.grid.center_line == encoding.grid.ny // 2


@pytest.mark.data
def test_image_of_a_real_file(tmp_path, capfd):
    """The body coil's image is the phantom: bright inside, noise outside, both repetitions."""
    if not SKYRA.exists():
        pytest.skip("no shared data")
    made = tmp_path / "made.h5"
    assert jrsr(capfd, "import", SKYRA, "-o", made).code == 0
    checked = jrsr(capfd, "check", made)
    assert checked.code == 0 and "gre_bodycoil" in checked.out and "2 repetitions" in checked.out
    assert jrsr(capfd, "recon", made, "--format", "mrd,dicom", *NO_WEIGHTS).code == 0
    images = pixels(tmp_path / "made_jrsr.h5")
    assert images.shape == (2, 256, 256)
    inside, corner = images[:, 180:200, 160:200], images[:, :20, :20]
    assert (inside.mean((1, 2)) > 10 * corner.mean((1, 2))).all()
    assert np.corrcoef(images[0].ravel(), images[1].ravel())[0, 1] > 0.98
    # The centre of the DICOM image is the position of the slice in the protocol.
    ds = pydicom.dcmread(next((tmp_path / "made_jrsr_dicom").glob("*.dcm")))
    across, down = np.reshape(ds.ImageOrientationPatient, (2, 3)).astype(float)
    rows, columns = (
        n // 2 * float(mm) for n, mm in zip(images.shape[1:], ds.PixelSpacing, strict=True)
    )
    center = np.array(ds.ImagePositionPatient, float) + columns * across + rows * down
    np.testing.assert_allclose(center, [2.66726, 26.51940, -95.71421], atol=1e-3)
