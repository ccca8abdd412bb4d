"""What an array does not say is asked for; what does not fit is one line; nothing is invented."""

import re

import h5py
import ismrmrd
import numpy as np
import pytest
import scipy.io

from gadget.offline.importing import memory
from jrsr_core.mrd.files.scan import ScanFile
from tests.helpers.commands import FAST, assert_one_line, jrsr, write_small_scan
from tests.helpers.foreign_scans import write_cfl, write_fastmri, write_mat_7_3
from tests.helpers.synthetic import coil_profiles, phantom

K = np.random.default_rng(0).normal(size=(2, 3, 12, 16, 2)).astype(np.float32)
K = (K[..., 0] + 1j * K[..., 1]).astype(np.complex64)
SIZE = ("--fov", "160,120,4", "--oversampling", "1")
NPY = ("--axes", "slice,coil,y,x", *SIZE)


@pytest.fixture
def run(tmp_path, capfd):
    """Import `k.npy`, or another file of the folder, and return the outcome."""
    np.save(tmp_path / "k.npy", K)

    def call(*options, name="k.npy"):
        return jrsr(capfd, "import", tmp_path / name, "-o", tmp_path / "made.h5", *options)

    return call


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), ("a NumPy array", "--axes, --fov, --oversampling")),
        (("--axes", "slice,coil,y,x"), ("add --fov, --oversampling",)),
        (("--axes", "slice,coil,y", *SIZE), ("3 axes", "4 (2 x 3 x 12 x 16)")),
        (("--axes", "slice,coil,y,coil", *SIZE), ("named twice",)),
        (("--axes", "slice,coils,y,x", *SIZE), ("no axis 'coils'", "coil")),
        (("--axes", "slice,coil,z,x", *SIZE), ("y missing",)),
        (("--axes", "slice,coil,y,average", *SIZE), ("x missing",)),
        ((*NPY, "--fov", "160,120"), ("--fov is '160,120'", "3 numbers")),
        ((*NPY, "--fov", "160,120,0"), ("--fov", "above 0")),
        ((*NPY, "--position", "1,2,nan"), ("--position is '1,2,nan'",)),
        ((*NPY, "--orientation", "oblique"), ("axial, coronal, sagittal",)),
        ((*NPY, "--orientation", "1,0,0,1,0,0"), ("perpendicular",)),
        ((*NPY, "--variable", "k"), ("--variable", "a NumPy array")),
        ((*NPY, "--measurement", "2"), ("--measurement", "a NumPy array")),
    ],
)
def test_wrong_statements(run, tmp_path, options, words):
    assert_one_line(run(*options), 2, *words)
    assert {p.name for p in tmp_path.iterdir()} == {"k.npy"}


def test_what_was_taken_is_printed(run):
    outcome = run(*NPY)
    assert outcome.code == 0 and outcome.err == ""
    lines = outcome.out.splitlines()
    assert "24 lines of 3 coils, 16 samples" in lines[0]
    for line, option in zip(lines[1:], ("orientation", "position", "spacing"), strict=True):
        assert "not known" in line and f"(--{option})" in line
    outcome = run(
        *NPY, "--orientation", "axial", "--position", "0,0,0", "--spacing", "5", "--overwrite"
    )
    assert len(outcome.out.splitlines()) == 1


def test_every_statement_is_written(run, tmp_path):
    where = ("--orientation", "sagittal", "--position", "10,20,30", "--spacing", "6")
    assert run(*NPY, *where, "--field", "3", "--oversampling", "2").code == 0
    with ScanFile(tmp_path / "made.h5") as scan:
        (encoding,) = scan.header.encodings
        assert encoding.encoding_matrix == (1, 12, 16) and encoding.recon_matrix == (1, 12, 8)
        assert encoding.encoding_fov_mm == (4, 120, 320) and encoding.recon_fov_mm == (4, 120, 160)
        assert scan.header.field_strength_t == 3 and scan.header.n_coils == 3
        heads = scan.heads
        # Sagittal: rows run to posterior, columns to the feet, slices to the right.
        assert heads["read_dir"][0].tolist() == [0, 1, 0]
        assert heads["phase_dir"][0].tolist() == [0, 0, -1]
        assert heads["slice_dir"][0].tolist() == [-1, 0, 0]
        places = {tuple(p) for p in heads["position"].tolist()}
        assert places == {(13, 20, 30), (7, 20, 30)}
        assert (heads["center_sample"] == 8).all()
        np.testing.assert_array_equal(
            scan.samples(np.arange(24)).reshape(2, 12, 3, 16), K.swapaxes(1, 2)
        )
    # The reader of the ISMRMRD package reads header and lines too.
    with ismrmrd.Dataset(str(tmp_path / "made.h5"), create_if_needed=False) as dataset:
        document = ismrmrd.xsd.CreateFromDocument(dataset.read_xml_header())
        assert document.experimentalConditions.H1resonanceFrequency_Hz == 127732436
        assert dataset.read_acquisition(3).data.shape == (3, 16)


def test_lines_of_zeros_were_not_measured(run, tmp_path):
    masked = K.copy()
    masked[0, :, ::3] = 0
    masked[1, :, :4] = 0
    np.save(tmp_path / "k.npy", masked)
    assert run(*NPY).code == 0
    with ScanFile(tmp_path / "made.h5") as scan:
        idx = scan.heads["idx"]
        lines = [set(idx["kspace_encode_step_1"][idx["slice"] == s].tolist()) for s in (0, 1)]
        assert lines == [set(range(12)) - {0, 3, 6, 9}, set(range(4, 12))]
        assert scan.header.encodings[0].center_line == 6


@pytest.mark.parametrize(("before", "after"), [(5, 0), (0, 3), (2, 4)])
def test_ends_of_the_readout_that_are_zero_were_not_measured(run, tmp_path, before, after):
    """An asymmetric echo, stored with zeros in its place: as the scanner would flag it."""
    masked = K.copy()
    masked[..., :before] = 0
    masked[..., 16 - after :] = 0
    masked[0, 0, 3] = 0  # A coil without signal in one line changes nothing.
    np.save(tmp_path / "k.npy", masked)
    outcome = run(*NPY)
    assert outcome.code == 0
    assert f"x: {before} of 16 samples before and {after} of 16 after are zero" in outcome.out
    with ScanFile(tmp_path / "made.h5") as scan:
        assert set(scan.heads["discard_pre"]) == {before}
        assert set(scan.heads["discard_post"]) == {after}
        assert set(scan.heads["center_sample"]) == {8}


def test_an_array_whose_centre_is_elsewhere_is_named(run, tmp_path):
    ky, kx = np.mgrid[-24:24, -20:20]
    clean = (100 * np.exp(-(ky**2 + kx**2) / 60) * np.ones((3, 4, 1, 1))).astype(np.complex64)
    clean += np.random.default_rng(1).normal(size=clean.shape).astype(np.float32)
    np.save(tmp_path / "sound.npy", clean)
    np.save(tmp_path / "k.npy", np.fft.ifftshift(clean, axes=(2, 3)))
    assert "energy" not in run(*NPY, name="sound.npy").out
    found = [line.strip() for line in run(*NPY, "--overwrite").out.splitlines() if "energy" in line]
    assert found == [
        f"the energy of k-space peaks at {axis} = 0, expected n // 2 = {center}: "
        "numpy.fft.fftshift along this axis?"
        for axis, center in (("y", 24), ("x", 20))
    ]


def test_an_image_in_place_of_k_space_is_named(run, tmp_path):
    images = np.asarray(phantom((48, 40))[0] * coil_profiles(3, (48, 40)))
    np.save(tmp_path / "k.npy", np.stack(4 * [images]).astype(np.complex64).swapaxes(0, 1))
    (found,) = [line for line in run(*NPY).out.splitlines() if "energy" in line]
    assert found.strip().startswith("the array looks like an image") and "y and x" in found


def test_averages_are_averaged(run, tmp_path, capfd):
    """Two averages of opposite noise are the image without it."""
    from jrsr_core.mrd.files.images import ImageFile

    ky, kx = np.mgrid[-24:24, -24:24]
    clean = (100 * np.exp(-(ky**2 + kx**2) / 60) * np.ones((4, 1, 1))).astype(np.complex64)
    noise = np.random.default_rng(1).normal(size=clean.shape).astype(np.float32)
    size = ("--fov", "200,200,5", "--oversampling", "1")
    np.save(tmp_path / "both.npy", np.stack([clean + noise, clean - noise]))
    np.save(tmp_path / "one.npy", clean)
    images = []
    for name, axes in (("both", "average,coil,y,x"), ("one", "coil,y,x")):
        outcome = run("--axes", axes, *size, "--overwrite", name=f"{name}.npy")
        assert outcome.code == 0, outcome
        assert jrsr(capfd, "recon", tmp_path / "made.h5", "--overwrite", *FAST).code in (0, 3)
        images.append(next(iter(ImageFile(tmp_path / "made_jrsr.h5"))).data)
    np.testing.assert_allclose(images[0], images[1], rtol=1e-3, atol=1e-3 * images[1].max())


def test_two_dimensional_pattern(run, tmp_path):
    """A pattern of two phase encodes taken for a readout is an error that says so."""
    pattern = np.random.default_rng(0).random((12, 16)) < 0.12
    pattern[6, 8] = True
    np.save(tmp_path / "k.npy", K * pattern)
    assert_one_line(run(*NPY), 2, "are zero along x", "y and z")
    np.save(tmp_path / "k.npy", (K * pattern)[0])
    outcome = run("--axes", "coil,z,y", "--fov", "4,160,120", "--oversampling", "1")
    assert outcome.code == 0, outcome
    with ScanFile(tmp_path / "made.h5") as scan:
        (encoding,) = scan.header.encodings
        assert encoding.is_3d and encoding.encoding_matrix == (12, 16, 1)
        assert encoding.recon_fov_mm == (120, 160, 4) and len(scan.heads) == pattern.sum()
        z, y = (scan.heads["idx"][f"kspace_encode_step_{i}"] for i in (2, 1))
        np.testing.assert_array_equal(np.stack([z, y], 1), np.argwhere(pattern))
        samples = scan.samples(np.arange(len(scan.heads)))[:, :, 0]
    np.testing.assert_array_equal(samples, K[0][:, pattern].T)


@pytest.mark.parametrize(
    ("array", "word"),
    [
        (K.real, "float32"),
        (np.zeros_like(K), "zeros alone"),
        (np.array([1, "a"], object), "NumPy cannot read it"),
    ],
)
def test_arrays_that_are_no_k_space(run, tmp_path, array, word):
    np.save(tmp_path / "k.npy", array, allow_pickle=True)
    outcome = run(*NPY)
    assert_one_line(outcome, outcome.code, "k.npy: ", word)
    assert outcome.code in (1, 2) and not (tmp_path / "made.h5").exists()


def test_more_than_the_memory(run, tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "physical_memory", lambda: 64**2)
    assert_one_line(run(*NPY), 2, "k.npy: the import needs about", "may be used")


def test_matlab_variables(run, tmp_path):
    scipy.io.savemat(tmp_path / "k.mat", {"k": K, "other": K, "text": "a"})
    assert_one_line(run(*NPY, name="k.mat"), 2, "--variable", "k (2 x 3 x 12 x 16), other")
    assert_one_line(run(*NPY, "--variable", "q", name="k.mat"), 2, "no array 'q'")
    assert run(*NPY, "--variable", "other", name="k.mat").code == 0
    write_mat_7_3(tmp_path / "k73.mat", "k", K)
    again = run(*NPY, "--variable", "k", "--overwrite", name="k73.mat")
    assert again.code == 0, again


@pytest.mark.parametrize("kind", ["7", "7.3"])
def test_axes_of_one_element_that_matlab_drops(run, tmp_path, kind):
    """90x101x5 is 90x101x5x1: the only array is meant, whatever numbers and texts are beside it."""
    kspace = K[0].transpose(2, 1, 0)
    if kind == "7":
        beside = {"n": 3.0, "note": "text", "empty": np.zeros((0, 3))}
        scipy.io.savemat(tmp_path / "k.mat", {"k": kspace} | beside)
    else:
        write_mat_7_3(tmp_path / "k.mat", "k", kspace)
        with h5py.File(tmp_path / "k.mat", "a") as file:
            file["n"] = np.ones((1, 1))
            file["note"] = np.frombuffer(b"t\0e\0x\0t\0", "<u2")[:, None]
            file["note"].attrs["MATLAB_class"] = np.bytes_("char")
    for axes in ("x,y,coil,slice", "x,y,coil,slice,repetition", "x,y,coil"):
        outcome = run("--axes", axes, *SIZE, "--overwrite", name="k.mat")
        assert outcome.code == 0, outcome
        with ScanFile(tmp_path / "made.h5") as scan:
            samples = scan.samples(np.arange(len(scan.heads)))
        np.testing.assert_array_equal(samples, K[0].swapaxes(0, 1))
    words = ("--axes names 4 axes", "the array has 3 (16 x 12 x 3)")
    for axes in ("coil,slice,y,x", "slice,x,coil,y"):
        assert_one_line(run("--axes", axes, *SIZE, "--overwrite", name="k.mat"), 2, *words)
    words = ("--axes names 2 axes", "the array has 3 (16 x 12 x 3)")
    assert_one_line(run("--axes", "x,y", *SIZE, "--overwrite", name="k.mat"), 2, *words)


def test_a_matlab_file_without_an_array(run, tmp_path):
    scipy.io.savemat(tmp_path / "k.mat", {"n": 3.0, "note": "text"})
    words = ("no array of numbers in the file", "found: n (1 x 1)")
    assert_one_line(run(*NPY, name="k.mat"), 2, *words)
    assert_one_line(run(*NPY, "--variable", "n", name="k.mat"), 2, "the array has 2 (1 x 1)")


@pytest.mark.parametrize("names", [("real", "imag"), ("r", "i"), ("imag", "real")])
@pytest.mark.parametrize("kind", ["<f4", ">f4", "<f8", "<i2"])
def test_pairs_of_real_and_imaginary_part(run, tmp_path, names, kind):
    values = np.round(100 * K)
    pairs = np.empty(K.shape, [(name, kind) for name in names])
    pairs[max(names)], pairs[min(names)] = values.real, values.imag
    np.save(tmp_path / "k.npy", pairs)
    assert run(*NPY).code == 0
    with ScanFile(tmp_path / "made.h5") as scan:
        samples = scan.samples(np.arange(24)).reshape(2, 12, 3, 16)
    np.testing.assert_array_equal(samples, values.swapaxes(1, 2))


def test_pairs_of_something_else(run, tmp_path):
    np.save(tmp_path / "k.npy", np.zeros(K.shape, [("x", "<f4"), ("y", "<f4")]))
    assert_one_line(run(*NPY), 2, "k.npy: values are [('x', '<f4'), ('y', '<f4')]")


def test_broken_files(run, tmp_path):
    (tmp_path / "a.mat").write_bytes(b"MATLAB 5.0 MAT-file" + b"\xff" * 400)
    assert_one_line(run(*NPY, name="a.mat"), 1, "a.mat: SciPy cannot read it")
    for head in (b"\xff\xff{", b"\x03\x00{(\n", b"\x04\x00[1]\n"):
        (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01\x00" + head)
        assert_one_line(run(*NPY, name="a.npy"), 1, "a.npy: NumPy cannot read it")
    write_cfl(tmp_path / "a", K)
    (tmp_path / "a.cfl").write_bytes(b"\0" * 8)
    assert_one_line(run(*SIZE, name="a.cfl"), 1, "a.cfl has 8 bytes", "says 9216")
    (tmp_path / "a.hdr").write_text("# Dimensions\n1 -2\n")
    assert_one_line(run(*SIZE, name="a.cfl"), 1, "a.hdr states the sizes")
    (tmp_path / "a.hdr").write_text("dimensions")
    assert_one_line(run(*SIZE, name="a.hdr"), 1, "a.hdr has no line '# Dimensions'")
    (tmp_path / "a.hdr").unlink()
    assert_one_line(run(*SIZE, name="a.cfl"), 2, "a.hdr: no such file")
    (tmp_path / "text").write_text("text")
    assert_one_line(run(*SIZE, name="text"), 1, "text: no raw data of a known format")
    scipy.io.savemat(tmp_path / "old.mat", {"k": K[0, 0]}, format="4")
    assert_one_line(run(*SIZE, name="old.mat"), 1, "known format", ".mat of version 5 and newer")
    assert_one_line(run(name="nothing"), 2, "nothing: no such file")
    assert_one_line(run(name="."), 2, "is a folder")


def test_fastmri_files_that_do_not_say_it(run, tmp_path):
    write_small_scan(tmp_path / "scan.h5")
    assert_one_line(
        run(name="scan.h5"), 2, "scan.h5: an ISMRMRD file already, which needs no import"
    )
    write_fastmri(tmp_path / "a.h5", K, tmp_path / "scan.h5")
    assert_one_line(run("--fov", "1,1,1", name="a.h5"), 2, "--fov: not for a fastMRI file")
    with h5py.File(tmp_path / "a.h5", "a") as file:
        del file["ismrmrd_header"]
    assert_one_line(run(name="a.h5"), 1, "a.h5: no ismrmrd_header")


def test_fastmri_keeps_the_header_of_the_scanner(run, tmp_path):
    """TE and protocol stay, strange elements go; the sizes are those of k-space if they differ."""

    def change(xml, lines):
        xml = re.sub("<TE>[^<]*</TE>", "<TE>37.5</TE>", xml)
        name = re.sub("<protocolName>[^<]*<", "<protocolName>Schädel &amp; Hals<", xml)
        return name.replace("</ismrmrdHeader>", "<vendor>x</vendor></ismrmrdHeader>"), lines

    write_small_scan(tmp_path / "scan.h5", change)
    with ScanFile(tmp_path / "scan.h5") as scan:
        nx = scan.header.encodings[0].encoding_matrix[2]
        before = scan.header
    kspace = np.ones((2, 3, 12, nx), np.complex64)
    write_fastmri(tmp_path / "a.h5", kspace, tmp_path / "scan.h5")
    outcome = run("--orientation", "axial", "--position", "0,0,0", "--spacing", "3", name="a.h5")
    assert outcome.code == 0, outcome
    with ScanFile(tmp_path / "made.h5") as made:
        assert made.header.te_ms == (37.5,) and made.header.protocol_name == "Schädel & Hals"
        assert made.header.encodings[0].encoding_matrix == (1, 12, nx)
        assert (
            made.header.encodings[0].encoding_fov_mm[1:] == before.encodings[0].encoding_fov_mm[1:]
        )
    assert "k-space is right" in outcome.out
