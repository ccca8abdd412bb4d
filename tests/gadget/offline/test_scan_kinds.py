"""`jrsr simulate`, `check` and `recon` on every kind of scan, and geometry across them."""

import h5py
import ismrmrd
import numpy as np
import pytest
import torch

from gadget.compute.model import make_engine
from gadget.scan.stages import file_tasks, make_assembler, reconstruct, to_results
from jrsr_core.data import Counters
from jrsr_core.mrd.files.scan import ScanFile, write_scan
from jrsr_core.mrd.planning.plan import plan_scan
from jrsr_core.mrd.simulator.frames import make_frame
from jrsr_core.mrd.simulator.header import ScanMetadata, slice_axes
from jrsr_core.mrd.simulator.lines import scan_of_frames
from jrsr_core.mrd.simulator.request import ScanRequest
from jrsr_core.mrd.simulator.simulate import write_simulation
from jrsr_core.physics.fourier import fft2c
from jrsr_core.physics.resolution import sinc_interpolate
from jrsr_core.reconstruction.field_of_view import crop_to_fov
from jrsr_core.simulation.acquisition import to_low_resolution
from tests.helpers.commands import FAST, assert_one_line, jrsr
from tests.helpers.mrd_scans import geometry_of
from tests.helpers.synthetic import coil_profiles

from .test_scan_matrix import SETTINGS

SMALL = ("--matrix", "96x112", "--coils", "4", "--acs", "16", "--mask", "regular", "--accel", "2")
SMALL_REQUEST = ScanRequest(matrix="96x112", n_coils=4, acs=16, mask="regular", acceleration=2)
WALL = (
    *("--protocol", "wall-16x", "--matrix", "64x56", "--positions", "6"),
    *("--coils", "4", "--acs", "12", "--mask", "random", "--accel", "2"),
)
# Options of the command, or fields of the request where the command has no such option.
KINDS = {
    "plain": (SMALL, ("2-D Cartesian", "embedded: ACS 17 x 56 from the centre of each image")),
    "contrasts": (
        (*SMALL, "--contrasts", "2", "--slices", "2"),
        ("4 (2 contrasts, 2 slices)", "ACS 17 x 56 from one image of each slice for all"),
    ),
    "frames": (
        (*SMALL, "--calibration", "interleaved", "--repetitions", "2"),
        ("2 (2 repetitions)", "interleaved: ACS 48 x 56 from average over the frames"),
    ),
    "separate": (
        (*SMALL, "--calibration", "separate", "--slices", "2"),
        ("separate: ACS 16 x 56 from 32 reference lines",),
    ),
    "external": (
        (*SMALL, "--calibration", "external"),
        ("2 encoding spaces", "external: ACS 16 x 28 from 16 reference lines"),
    ),
    "none": ((*SMALL, "--calibration", "none"), ("none: ACS 17 x 56",)),
    "averages": ((*SMALL, "--averages", "3"), ("averages 3",)),
    "partial": (
        (*SMALL, "--partial-fourier", "0.75", "--partial-echo", "0.8"),
        ("acceleration", "ACS 17 x 35"),
    ),
    "wider": ((*SMALL, "--phase-oversampling", "1.5"), ("72 x 56 -> 96 x 112",)),
    "folded": ((*SMALL, "--phase-fov", "0.7"), ("34 x 56 -> 68 x 112",)),
    "spare": (
        {"spare_lines": True, "spare_encoding": True},
        ("1 navigator", "1 dummy scan", "1 phase stabilisation", "2 encoding spaces"),
    ),
    "whitened before": ((*SMALL, "--no-noise-scan"), ("no noise lines, noise level estimated",)),
    "64 coils": ((*SMALL, "--coils", "64"), ("coils 64", "12 virtual coils")),
    "noise": ({"noise_scans": 3, "noise_dwell": 2.0}, ("24 noise",)),
    "readout at HR": (
        (*SMALL, "--readout-pixel", "0.5"),
        ("112 samples (high resolution already: 56 central", "48 x 56 -> 96 x 112"),
    ),
    "two encodings": (
        (*SMALL, "--second-encoding", "--slices", "2"),
        ("4 (2 slices)", "encoding 1 2 images", "36 x 42 -> 72 x 84"),
    ),
    "reference volume": (
        (*SMALL, "--calibration", "volume", "--slices", "6"),
        ("ACS 16 x 28 from 96 lines of a reference volume, at the place of each slice",),
    ),
    "3-D contrasts": (
        (*WALL, "--contrasts", "2", "--repetitions", "2"),
        ("4 (2 repetitions, 2 contrasts)", "ACS 12 x 12 from one image of each slice for all"),
    ),
    "3-D wider": ((*WALL, "--phase-oversampling", "1.5"), ("28 x 48 x 6 -> 56 x 64 x 6",)),
    "3-D folded": ((*WALL, "--phase-fov", "0.7"), ("28 x 22 x 6 -> 56 x 44 x 6",)),
    "3-D partial echo": (
        (*WALL, "--partial-echo", "0.75"),
        ("asymmetric echo: 67 % measured, the rest zero-filled",),
    ),
    "3-D": (WALL, ("3-D Cartesian", "28 x 32 x 6 -> 56 x 64 x 6", "4 virtual coils")),
    "3-D reference": (
        (*WALL, "--calibration", "separate", "--mask", "regular"),
        ("separate: ACS 12 x 12 from 144 reference lines",),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_check_shows_it_on_one_screen_and_recon_does_it(kind, tmp_path, capfd):
    options, words = KINDS[kind]
    scan, true = tmp_path / "scan.h5", tmp_path / "truth.h5"
    if isinstance(options, dict):
        write_simulation(SMALL_REQUEST.override(**options), scan, true)
    else:
        made = jrsr(capfd, "simulate", "-o", scan, "--truth", true, *options)
        assert made.code == 0, made.err
    found = jrsr(capfd, "check", scan, *FAST)
    assert found.code == 0 and found.err == ""
    # One screen; a second encoding space has rows of its own.
    assert len(found.out.splitlines()) < (25 if kind != "two encodings" else 30)
    assert max(map(len, found.out.splitlines()[1:])) <= 100
    for word in words:
        assert word in " ".join(found.out.split()), found.out
    done = jrsr(capfd, "recon", scan, *FAST, "--format", "mrd,png")
    assert done.code == 0, done.err
    with h5py.File(tmp_path / "scan_jrsr.h5") as file, h5py.File(tmp_path / "truth.h5") as truth:
        images = file["dataset/image_1/data"][()].squeeze()
        objects = truth["truth"][()].squeeze()
    assert images.shape == objects.shape
    assert np.corrcoef(images.ravel(), objects.ravel())[0, 1] > 0.9


@pytest.mark.parametrize("share", [1.0, 0.7])
def test_an_object_larger_than_the_field_of_view(share, tmp_path, capfd):
    """Folded over, it is unfolded all the same, and the images say so."""
    scan, options = tmp_path / "scan.h5", ("--coils", "8", "--acs", "16", "--accel", "3")
    truth_file = ("--truth", tmp_path / "truth.h5", "--phase-fov", str(share))
    sampling = ("--mask", "regular", "--matrix", "128x128", "--noise-db", "40")
    assert jrsr(capfd, "simulate", "-o", scan, *options, *truth_file, *sampling).code == 0
    done = jrsr(capfd, "recon", scan, *FAST)
    assert done.code == 0
    assert ("object exceeds the field of view" in done.err) == (share < 1)
    with ismrmrd.Dataset(str(tmp_path / "scan_jrsr.h5"), "dataset", False) as dataset:
        image = dataset.read_image("image_1", 0)
    assert (float(image.meta["JRSR_folded"]) > 0.03) == (share < 1)
    assert image.getHead().field_of_view[1] == pytest.approx(0.9 * 2 * round(64 * share))
    with h5py.File(tmp_path / "truth.h5") as file:
        truth = file["truth"][0]
    assert np.linalg.norm(image.data[0, 0] - truth) < 0.15 * np.linalg.norm(truth)


def test_every_encoding_space_has_a_series_of_its_own(tmp_path, capfd):
    """The second encoding shows the same object on 3/4 of the matrix, in the same place."""
    scan = tmp_path / "scan.h5"
    options = ("--second-encoding", "--slices", "2", "--noise-db", "60", "--mask", "full")
    assert jrsr(capfd, "simulate", "-o", scan, *SMALL, *options).code == 0
    done = jrsr(capfd, "recon", scan, *FAST, "--format", "mrd,png", "--set", "series_index=5")
    assert done.code == 0 and "4 images 96 x 112 and 72 x 84" in done.out
    with ismrmrd.Dataset(str(tmp_path / "scan_jrsr.h5"), "dataset", False) as dataset:
        first, second = ([dataset.read_image(f"image_{s}", i) for i in (0, 1)] for s in (5, 6))
    for one, other in zip(first, second, strict=True):
        assert geometry_of(one) == geometry_of(other) and one.slice == other.slice
        assert [i.meta["JRSR_encoding_space"] for i in (one, other)] == ["0", "1"]
        on_its_grid = sinc_interpolate(torch.from_numpy(one.data[0, 0].copy()), (72, 84))
        found = torch.from_numpy(other.data[0, 0].copy())
        assert (on_its_grid - found).norm() < 0.15 * found.norm()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"trajectory": "epi"}, "echo-planar"),
        ({"trajectory": "spiral"}, "trajectory is spiral"),
        ({"trajectory": "radial"}, "trajectory is radial"),
        ({"alternate": True, "spare_lines": True}, "reversed lines with phase correction"),
    ],
)
@pytest.mark.parametrize("command", ["check", "recon"])
def test_declined_with_the_reason(command, options, words, tmp_path, capfd):
    scan = tmp_path / "scan.h5"
    write_simulation(SMALL_REQUEST.override(**options), scan)
    assert_one_line(jrsr(capfd, command, scan, *FAST), 2, words)
    assert [p.name for p in tmp_path.iterdir()] == ["scan.h5"]


def test_noise_of_an_earlier_file(tmp_path, capfd):
    with_noise, without = tmp_path / "noise.h5", tmp_path / "scan.h5"
    for path, more in ((with_noise, ()), (without, ("--no-noise-scan",))):
        assert jrsr(capfd, "simulate", "-o", path, *SMALL, *more).code == 0
    option = ("--set", f"noise_file={with_noise}")
    assert str(with_noise) in jrsr(capfd, "check", without, *FAST, *option).out.split()
    images = []
    for source, more in ((with_noise, ()), (without, option), (without, ())):
        out = tmp_path / "out.h5"
        assert jrsr(capfd, "recon", source, "-o", out, *FAST, *more, "--overwrite").code == 0
        with h5py.File(out) as file:
            images.append(file["dataset/image_1/data"][()].squeeze())
    # The oversampled rim of the scan with noise lines holds noise, which is cropped away.
    np.testing.assert_allclose(images[1], images[0], atol=1e-4 * images[0].max())
    assert np.abs(images[2] - images[1]).max() > 1e-4 * images[0].max()
    outcome = jrsr(capfd, "recon", without, *FAST, "--set", f"noise_file={without}")
    assert_one_line(outcome, 2, f"noise_file {without} has no noise lines")
    outcome = jrsr(capfd, "recon", without, *FAST, "--set", f"noise_file={tmp_path / 'out.h5'}")
    assert_one_line(outcome, 2, f"noise_file {tmp_path / 'out.h5'}: images, which have no raw data")
    outcome = jrsr(capfd, "recon", without, *FAST, "--set", "noise_file=nowhere.h5")
    assert_one_line(outcome, 2, "noise_file nowhere.h5: no such file")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--calibration", "embeded"), "did you mean 'embedded'?"),
        (("--order", "random"), "order is 'random'"),
        (("--partial-fourier", "0.3"), "partial_fourier is 0.3, expected a number from 0.5 to 1"),
        (("--matrix", "96"), "matrix is '96', expected two sizes"),
        (("--calibration", "interleaved", "--repetitions", "1"), "needs 2 repetitions, not 1"),
        (("--protocol", "wall-16x", "--slices", "2"), "slices is 2"),
        (("--protocol", "wall-16x", "--readout-pixel", "0.5"), "readout_pixel is 0.5"),
        (("--phase-fov", "0.4"), "phase_fov is 0.4, expected a number from 0.5 to 1"),
        (
            ("--phase-fov", "0.8", "--phase-oversampling", "1.2"),
            "phase_fov is 0.8, phase_oversampling 1.2: one of them must be 1",
        ),
        (("--readout-pixel", "0.3"), "readout_pixel is 0.3, expected a number from 0.5 to 1"),
        (("--calibration", "volume"), "volume needs at least 2 slices, not 1"),
        (("--protocol", "wall-16x", "--calibration", "volume"), "volume is for 2-D slices"),
    ],
)
def test_options_that_make_no_scan(options, words, tmp_path, capfd):
    outcome = jrsr(capfd, "simulate", "-o", tmp_path / "s.h5", *SMALL, *options)
    assert_one_line(outcome, 2, words)
    assert not list(tmp_path.iterdir())


def point_scan(path, lr_shape, place, oversampling, metadata):
    """A scan of one bright point at an HR pixel, on a disc, and its geometry."""
    ny, nx = lr_shape
    hr = (2 * ny, 2 * nx)
    y, x = (torch.arange(n) - n // 2 for n in hr)
    radius = (y[:, None] / ny) ** 2 + (x / nx) ** 2
    image = 0.2 * (radius < 0.7).float()
    image[place] = 20.0
    kspace = to_low_resolution(fft2c(coil_profiles(4, hr) * image), lr_shape)
    frame = make_frame(Counters(slice=2), kspace[:, None], torch.ones(1, ny))
    xml, lines = scan_of_frames(
        [frame],
        fov_mm=(4.0, 3.0 * ny, 2.5 * nx),
        recon_fov_mm=(4.0, 3.0 * ny / oversampling, 2.5 * nx),
        metadata=metadata,
    )
    write_scan(path, xml, lines)


def in_patient(geometry, shape, index):
    """Millimetres of a pixel: the centre of the field of view is pixel n//2."""
    pixel = [mm / n for mm, n in zip(geometry.fov_mm[1:], shape, strict=True)]
    y, x = ((i - n // 2) * mm for i, n, mm in zip(index, shape, pixel, strict=True))
    return (
        np.array(geometry.position_mm)
        + x * np.array(geometry.read_dir)
        + y * np.array(geometry.phase_dir)
    )


def peak(magnitude):
    return np.unravel_index(int(magnitude.argmax()), magnitude.shape)


@pytest.mark.parametrize("lr_shape", [(48, 56), (47, 55), (49, 56)])
@pytest.mark.parametrize("oversampling", [1.0, 1.3])
def test_a_marked_point_has_one_place_in_the_patient(lr_shape, oversampling, tmp_path):
    read, phase, normal = slice_axes(35.0, 20.0)
    metadata = ScanMetadata(
        read_dir=read,
        phase_dir=phase,
        slice_dir=normal,
        position_mm=(3.0, -20.0, 11.0),
        slice_gap_mm=1.0,
    )
    # Where LR pixel (30, 20) lies on the HR grid.
    lr_index = (30, 20)
    place = tuple(2 * (i - n // 2) + n for i, n in zip(lr_index, lr_shape, strict=True))
    point_scan(tmp_path / "scan.h5", lr_shape, place, oversampling, metadata)
    truth = (
        np.array(metadata.position_mm)
        + 2 * 5.0 * np.array(normal)
        + 3.0 * (lr_index[0] - lr_shape[0] // 2) * np.array(phase)
        + 2.5 * (lr_index[1] - lr_shape[1] // 2) * np.array(read)
    )
    engine = make_engine(SETTINGS)
    with ScanFile(tmp_path / "scan.h5") as scan:
        plan = plan_scan(scan.header, scan.heads)
        slices = make_assembler(scan, plan, SETTINGS)
        (image,) = reconstruct(file_tasks(slices), engine, SETTINGS)
        (result,) = to_results([image], plan.header, SETTINGS)
    cropped = crop_to_fov(image, plan.header.encodings[0].recon_fov_mm)
    for pixels in (cropped.magnitude.numpy(), cropped.low_resolution.abs().numpy()):
        found = in_patient(cropped.geometry, pixels.shape, peak(pixels))
        np.testing.assert_allclose(found, truth, atol=1e-4)
    written = result.mrd.data[0, 0]
    found = in_patient(geometry_of(result.mrd), written.shape, peak(written))
    np.testing.assert_allclose(found, truth, atol=1e-3)
