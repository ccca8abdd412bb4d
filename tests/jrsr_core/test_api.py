"""The public interface as a user calls it: a file in, the pixels of `jrsr recon` out."""

import importlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import jrsr_core as jrsr
from jrsr_core.mrd.errors import BadScan, PartialImage, UnsupportedScan
from jrsr_core.mrd.files.images import ImageFile
from tests.helpers.commands import FAST, write_small_scan
from tests.helpers.commands import jrsr as command
from tests.helpers.entry_points import entry_points_of_checkout
from tests.helpers.mrd_scans import geometry_of, noise_samples
from tests.helpers.paths import ROOT, needs_checkout
from tests.helpers.processes import run_process

NETWORK = "jrsr-dc"
SCANS = {
    "slices": ("--slices", "3", "--averages", "2"),
    "phase oversampling": ("--phase-oversampling", "1.5"),
    "high-resolution readout": ("--readout-pixel", "0.5"),
    "volume": ("--protocol", "wall-16x", "--positions", "2"),
}


def simulated(capfd, folder, *options):
    folder.mkdir(exist_ok=True)
    path = folder / "scan.h5"
    size = ("--matrix", "96x80", "--coils", "4", "--acs", "12")
    made = command(capfd, "simulate", "-o", path, *size, *options)
    assert made.code == 0, made.err
    return path


def calibration():
    return importlib.import_module("jrsr_core.calibration.settings").CalibrationSettings(
        kernel_width=4
    )


@pytest.mark.parametrize("kind", SCANS)
def test_pixels_are_those_of_the_command(capfd, tmp_path, kind):
    path = simulated(capfd, tmp_path, *SCANS[kind])
    made = command(capfd, "recon", path, "-o", tmp_path / "out.h5", *FAST)
    assert made.code == 0, made.err
    model = jrsr.load_model("cg-sense+sinc", calibration=calibration())
    with jrsr.read_scan(path) as scan:
        images = [model(data) for data in scan]
    expected = list(ImageFile(tmp_path / "out.h5"))
    assert len(images) == len(expected) > 0
    for image, mrd in zip(images, expected, strict=True):
        wanted = mrd.data[0] if image.image.ndim == 3 else mrd.data[0, 0]
        np.testing.assert_array_equal(image.magnitude.numpy(), wanted)
        assert image.origin.number == mrd.image_index
        np.testing.assert_allclose(image.affine, geometry_of(mrd).affine(wanted.shape), atol=1e-4)


def test_pixels_of_the_network_are_those_of_the_command(capfd, tmp_path):
    path = simulated(capfd, tmp_path)
    assert command(capfd, "recon", path, "-o", tmp_path / "out.h5").code == 0
    image = jrsr.load_model(NETWORK, maps=True)(jrsr.read_scan(path)[0])
    (mrd,) = ImageFile(tmp_path / "out.h5")
    np.testing.assert_array_equal(image.magnitude.numpy(), mrd.data[0, 0])
    assert set(image.maps) == {"hallucination", "taken_back", "unmeasured"}
    assert all(m.shape == image.image.shape for m in image.maps.values())
    assert image.to_numpy().dtype == np.complex64


@pytest.fixture
def scan(tmp_path):
    write_small_scan(tmp_path / "scan.h5", n_slices=3, acceleration=2, noise=noise_samples())
    with jrsr.read_scan(tmp_path / "scan.h5") as opened:
        yield opened


def test_a_scan_is_a_sequence_that_reads_when_asked(scan, monkeypatch):
    read = []
    assemble = scan._lines.assemble
    monkeypatch.setattr(scan._lines, "assemble", lambda c: read.append(c.slice) or assemble(c))
    assert len(scan) == 3 and not read
    assert scan[-1].counters.slice == 2 and read == [2]
    assert [s.counters.slice for s in scan[:2]] == [0, 1]
    assert [s.counters.slice for s in scan] == [0, 1, 2]
    with pytest.raises(IndexError, match=r"image 3 of scan\.h5, which has 3"):
        scan[3]
    assert scan.header.encodings[0].encoding_matrix == (1, 48, 128)
    assert scan.header.xml not in repr(scan.header)


def test_slices_stay_usable_after_the_file_is_closed(scan):
    slice_ = scan[0]
    scan.close()
    assert jrsr.load_model("cg-sense+sinc")(slice_).image.shape == (96, 128)


def test_a_broken_file_is_named(tmp_path):
    (tmp_path / "no.h5").write_text("nothing")
    with pytest.raises(BadScan, match=r"^no\.h5: not an HDF5 file"):
        jrsr.read_scan(tmp_path / "no.h5")
    with pytest.raises(FileNotFoundError, match=r"gone\.h5"):
        jrsr.read_scan(tmp_path / "gone.h5")


def test_noise_of_another_file_and_none(tmp_path, scan):
    write_small_scan(tmp_path / "plain.h5", n_slices=3, acceleration=2)
    plain = tmp_path / "plain.h5"
    assert jrsr.read_scan(plain)[0].noise_std is None
    assert scan[0].noise_std == jrsr.read_scan(plain, noise_file=scan.path)[0].noise_std
    for none in (None, ""):
        assert jrsr.read_scan(scan.path, noise_file=none)[0].noise_std == scan[0].noise_std
    without = jrsr.read_scan(scan.path, prewhiten=False)[0]
    assert without.noise_std is None and not torch.equal(without.kspace, scan[0].kspace)
    with pytest.raises(UnsupportedScan, match=r"noise_file .*plain\.h5 has no noise lines"):
        jrsr.read_scan(scan.path, noise_file=plain)


def test_a_bad_noise_file_is_named_as_such(tmp_path, scan):
    broken = tmp_path / "broken.h5"
    broken.write_text("nothing")
    with pytest.raises(BadScan, match=r"noise_file .*broken\.h5: not an HDF5 file"):
        jrsr.read_scan(scan.path, noise_file=broken)
    with pytest.raises(FileNotFoundError, match=r"^noise_file .*gone\.h5: no such file"):
        jrsr.read_scan(scan.path, noise_file=tmp_path / "gone.h5")
    assert jrsr.read_scan(scan.path, noise_file=broken, prewhiten=False)[0].noise_std is None


def test_a_slice_with_bad_samples_carries_the_others(tmp_path):
    def spoil(xml, lines):
        lines.data[3][:] = np.nan
        return xml, lines

    write_small_scan(tmp_path / "nan.h5", spoil)
    with pytest.raises(PartialImage) as failed:
        jrsr.read_scan(tmp_path / "nan.h5")[0]
    assert isinstance(failed.value.rest, jrsr.KSpaceSlice)


def no_calibration(slice_):
    return replace(slice_, acs=slice_.acs[:, :0, :0])


def test_an_image_that_fails_raises_or_is_a_fallback(scan):
    with pytest.raises(ValueError, match="no ACS"):
        jrsr.load_model("cg-sense+sinc")(no_calibration(scan[0]))
    model = jrsr.load_model("cg-sense+sinc", on_failure="fallback")
    image = model(no_calibration(scan[0]))
    assert image.report.fallback.startswith("no ACS") and "FALLBACK" in repr(image)
    with pytest.raises(ValueError, match="on_failure is 'ask', known: stop, fallback"):
        jrsr.load_model("cg-sense+sinc", on_failure="ask")
    with pytest.raises(TypeError, match=r"got ndarray: KSpaceSlice\.from_array"):
        model(np.zeros((4, 8, 8)))


# k-space of arrays.


@pytest.mark.parametrize("kind", ["numpy", "tensor", "complex128", "big-endian"])
def test_a_slice_from_arrays_gives_the_same_image(scan, kind):
    original = scan[0]
    kspace, mask = original.kspace.numpy(), original.mask.numpy()
    given = {
        "numpy": (kspace, mask > 0),
        "tensor": (original.kspace, original.mask),
        "complex128": (kspace.astype(np.complex128), mask.astype(int)),
        "big-endian": (kspace.astype(">c8"), mask[:, 0]),
    }[kind]
    made = jrsr.KSpaceSlice.from_array(
        *given, geometry=original.geometry, noise_std=original.noise_std
    )
    assert torch.equal(made.acs, original.acs) and made.acceleration == original.acceleration
    model = jrsr.load_model("cg-sense+sinc")
    assert torch.equal(model(made).image, model(original).image)
    assert not model(made).report.warnings


def test_a_slice_without_mask_or_geometry(scan):
    original = scan[0]
    made = jrsr.KSpaceSlice.from_array(original.kspace.numpy())
    assert torch.equal(made.mask, original.mask)
    image = jrsr.load_model("cg-sense+sinc")(made)
    assert any("no geometry was given" in w for w in image.report.warnings)
    np.testing.assert_array_equal(image.affine[:3, :3], np.diag((-0.5, -0.5, 1.0)))
    np.testing.assert_array_equal(image.affine @ (64, 48, 0, 1), (0, 0, 0, 1))


def test_samples_outside_the_mask_do_not_count(scan):
    full, mask = scan[0].kspace + 1, scan[0].mask
    made = jrsr.KSpaceSlice.from_array(full, mask)
    assert torch.equal(made.kspace, full * mask)
    full = full.masked_fill(mask == 0, float("nan"))
    assert torch.equal(jrsr.KSpaceSlice.from_array(full, mask).kspace, made.kspace)


@pytest.mark.parametrize(
    "kspace, mask, message",
    [
        (np.zeros((4, 8)), None, r"kspace is \(4, 8\), expected complex \(coil, ky, kx\)"),
        (np.zeros((4, 8, 8)), None, r"kspace is float64, expected complex \(coil, ky, kx\)"),
        (np.zeros((4, 8, 8), "c8"), np.ones((8, 9)), r"mask is \(8, 9\), kspace is \(8, 8\)"),
    ],
)
def test_arrays_that_do_not_fit_are_named(kspace, mask, message):
    with pytest.raises(ValueError, match=message):
        jrsr.KSpaceSlice.from_array(kspace, mask)


# Own networks.


class Doubled(torch.nn.Module):
    """Nearest neighbours."""

    def forward(self, image):
        return image.repeat_interleave(2, -1).repeat_interleave(2, -2)


def test_own_networks_are_models(scan):
    image = jrsr.load_model(Doubled())(scan[0])
    assert image.report.model == "Doubled" and not image.report.weights_sha256
    expected = image.low_resolution.repeat_interleave(2, -1).repeat_interleave(2, -2)
    torch.testing.assert_close(image.image, expected)
    with pytest.raises(ValueError, match=r"Identity returned \(1, 48, 64\) for \(1, 48, 64\)"):
        jrsr.load_model(torch.nn.Identity())(scan[0])
    with pytest.raises(ValueError, match=r"weights is card\.json, but Identity has its own"):
        jrsr.load_model(torch.nn.Identity(), weights="card.json")
    for name in ("cg-sense", "sinc", "jrsr"):
        made = jrsr.load_model(jrsr.build_model(name, preset="tiny"), accept_contradictions=True)
        assert made(scan[0]).image.shape == (96, 128)


# Files and pictures.


def test_saved_files_are_those_of_the_command(capfd, tmp_path, scan, plugins):
    import nibabel
    import pydicom

    image = jrsr.load_model("cg-sense+sinc", calibration=calibration())(scan[1])
    formats = ("--format", "mrd,nifti,dicom")
    assert command(capfd, "recon", scan.path, "-o", tmp_path / "all", *formats, *FAST).code == 0
    for ending in ("h5", "nii.gz", "png", "dcm"):
        image.save(tmp_path / f"one.{ending}")
    (mrd,) = ImageFile(tmp_path / "one.h5")
    wanted = list(ImageFile(tmp_path / "all/scan_jrsr.h5"))[1]
    assert bytes(mrd.getHead()) == bytes(wanted.getHead())
    np.testing.assert_array_equal(mrd.data, wanted.data)
    nifti = nibabel.load(tmp_path / "one.nii.gz")
    np.testing.assert_array_equal(np.asarray(nifti.dataobj)[..., 0], image.magnitude.numpy().T)
    np.testing.assert_allclose(nifti.affine, image.affine, atol=1e-4)
    (file,) = (tmp_path / "one.dcm").iterdir()
    ours, theirs = (
        pydicom.dcmread(file),
        pydicom.dcmread(tmp_path / f"all/scan_jrsr_dicom/{file.name}"),
    )
    for name in ("ImagePositionPatient", "PixelSpacing", "StudyInstanceUID", "InstanceNumber"):
        assert ours[name].value == theirs[name].value, name
    assert image._repr_png_() == (tmp_path / "one.png").read_bytes()


def test_an_image_of_arrays_can_be_saved(tmp_path, scan, plugins):
    image = jrsr.load_model("cg-sense+sinc")(jrsr.KSpaceSlice.from_array(scan[0].kspace))
    for ending in ("h5", "nii.gz", "png", "dcm"):
        image.save(tmp_path / f"one.{ending}")
    (mrd,) = ImageFile(tmp_path / "one.h5")
    np.testing.assert_array_equal(mrd.data[0, 0], image.magnitude.numpy())
    with pytest.raises(FileExistsError, match=r"one\.png exists, overwrite=True replaces it"):
        image.save(tmp_path / "one.png")
    image.save(tmp_path / "one.png", overwrite=True)
    with pytest.raises(ValueError, match=r"one\.tif: .* known: \.dcm, \.h5, \.nii\.gz, \.png"):
        image.save(tmp_path / "one.tif")


def test_a_missing_package_is_named(tmp_path, scan, monkeypatch):
    image = jrsr.load_model("cg-sense+sinc")(scan[0])
    plugins = importlib.import_module("jrsr_core.common.plugins")
    monkeypatch.setattr(plugins, "entry_points", lambda **_: [])
    with pytest.raises(ImportError, match=r"'png' of jrsr\.formats: pip install \"gadgetron-jrsr"):
        image.save(tmp_path / "one.png")
    assert image._repr_png_() is None


def test_without_a_display_the_error_says_what_to_do(scan, plugins, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    image = jrsr.load_model("cg-sense+sinc")(scan[0])
    with pytest.raises(RuntimeError, match=r"no display .*: image\.save\(\"image\.png\"\)"):
        image.show()


def test_with_a_display_the_picture_is_shown(scan, plugins, monkeypatch):
    shown = []
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr("PIL.ImageShow.show", lambda picture, title: shown.append(picture) or True)
    jrsr.load_model("cg-sense+sinc")(scan[0]).show()
    assert shown[0].width >= 128


@needs_checkout
def test_every_entry_point_is_a_function():
    groups = entry_points_of_checkout()
    assert set(groups["jrsr.formats"]) == {"h5", "nii.gz", "png", "dcm"}
    for entries in groups.values():
        for value in entries.values():
            module, _, name = value.partition(":")
            assert callable(getattr(importlib.import_module(module), name))


# numpy wherever a tensor goes in.


def test_functions_take_arrays(scan):
    slice_ = scan[0]
    acs, noise = slice_.acs.numpy(), noise_samples().numpy()
    for a, b in zip(
        jrsr.espirit_maps(acs, (96, 128), kernel_width=4),
        jrsr.espirit_maps(slice_.acs, (96, 128), kernel_width=4),
        strict=True,
    ):
        assert torch.equal(a, b)
    assert torch.equal(jrsr.whitening_matrix(noise), jrsr.whitening_matrix(noise_samples()))
    assert jrsr.find_acs(slice_.mask.numpy()) == jrsr.find_acs(slice_.mask)
    compressor = jrsr.CoilCompressor.gcc(acs, 2, 64)
    assert torch.equal(compressor(slice_.kspace.numpy()), compressor(slice_.kspace))
    with pytest.raises(ValueError, match=r"acs is \(48, 64\), expected complex \(coil, y, x\)"):
        jrsr.espirit_maps(np.zeros((48, 64), "c8"), (96, 128))


def operators():
    maps = torch.randn(4, 12, 10, dtype=torch.complex64)
    mask = (torch.rand(6, 5) > 0.4).float()
    sense = jrsr.SenseOperator(maps.numpy(), mask.numpy())
    return {
        "FourierOperator()": (jrsr.FourierOperator(), (12, 10), (12, 10)),
        "CoilOperator(maps (4, 12, 10) complex64 on cpu)": (
            jrsr.CoilOperator(maps.numpy()),
            (12, 10),
            (4, 12, 10),
        ),
        "SamplingOperator(mask (6, 5) float32 on cpu)": (
            jrsr.SamplingOperator(mask.numpy()),
            (4, 6, 5),
            (4, 6, 5),
        ),
        "KSpaceCropOperator(HR (12, 10), LR (6, 5))": (
            jrsr.KSpaceCropOperator((12, 10), (6, 5)),
            (12, 10),
            (6, 5),
        ),
        "SenseOperator(image (12, 10), maps (4, 12, 10) complex64 on cpu, mask (6, 5))": (
            sense,
            (12, 10),
            (4, 6, 5),
        ),
    }


def test_operators_take_arrays_and_have_short_reprs():
    for text, (operator, domain, range_) in operators().items():
        assert repr(operator) == text
        assert repr(operator.H) == f"{text}.H"
        x = torch.randn(domain, dtype=torch.complex64)
        y = torch.randn(range_, dtype=torch.complex64)
        assert torch.equal(operator(x.numpy()), operator(x))
        assert torch.equal(operator.adjoint(y.numpy()), operator.adjoint(y))
        assert torch.equal(operator.gram(x.numpy()), operator.gram(x))
        assert torch.equal(operator.H(y.numpy()), operator.adjoint(y))
    solution, _ = jrsr.conjugate_gradient(lambda v: 2 * v, x.numpy(), x0=np.zeros_like(x))
    torch.testing.assert_close(solution, x / 2)


def test_reprs_are_one_short_line(scan, capfd, tmp_path):
    model = jrsr.load_model(NETWORK, maps=True)
    image = model(scan[0])
    volume = jrsr.read_scan(simulated(capfd, tmp_path / "volume", *SCANS["volume"]))
    reprs = {
        "Scan(scan.h5, 3 slices 48 x 64, 4 coils)": repr(scan),
        "Reconstructor(jrsr-dc, on cpu, maps)": repr(model),
        "ReconImage((96, 128) complex64 on cpu, jrsr-dc": repr(image),
        "KSpaceSlice(kspace (4, 48, 64) complex64 on cpu, 1.": repr(scan[0]),
        "KSpaceVolume(hybrid (": repr(volume[0]),
        "CoilCompressor(single, matrices (1, 2, 4) complex64 on cpu)": repr(
            jrsr.CoilCompressor.scc(scan[0].acs, 2)
        ),
        "WeightsCard(jrsr-dc, compact, sha256 ": repr(model.cards[0]),
        "SliceGeometry(": repr(scan[0].geometry),
        "Encoding(": repr(scan.header.encodings[0]),
    }
    for start, text in reprs.items():
        assert text.startswith(start) and "\n" not in text and len(text) < 500, text


def test_metrics_take_images(scan):
    image = jrsr.load_model("cg-sense+sinc")(scan[0])
    truth = image.magnitude.numpy() + 1
    for metric in (jrsr.psnr, jrsr.ssim, jrsr.nmse):
        assert metric(image, truth) == metric(image.magnitude, torch.from_numpy(truth))
        with pytest.raises(ValueError, match=r"image is \(96, 128\), target is \(95, 128\)"):
            metric(image, truth[1:])


def test_the_package_imports_no_library():
    code = "import sys, jrsr_core; print(*{'torch', 'h5py', 'numpy'} & set(sys.modules))"
    run = run_process([sys.executable, "-c", code], cwd=ROOT)
    assert (run.stdout.split(), run.returncode) == ([], 0)
    assert Path(jrsr.__file__).with_name("py.typed").exists()


def test_a_file_is_read_again_while_its_first_handle_goes(tmp_path):
    """HDF5 2.0 crashes if the lines of a file are open twice and one handle is closed."""
    write_small_scan(tmp_path / "scan.h5")
    code = (
        "import sys, jrsr_core\nfor _ in range(3): scan = jrsr_core.read_scan(sys.argv[1]); scan[0]"
    )
    run = run_process([sys.executable, "-c", code, tmp_path / "scan.h5"], cwd=ROOT)
    assert (run.returncode, run.stderr) == (0, "")
