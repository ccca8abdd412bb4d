"""A scan written in another format and imported gives the images of the scan itself."""

import numpy as np
import pytest
import scipy.io

from jrsr_core.mrd.files.images import ImageFile
from jrsr_core.mrd.files.scan import ScanFile
from jrsr_core.mrd.simulator.header import slice_axes
from tests.helpers.commands import FAST, jrsr
from tests.helpers.foreign_scans import (
    SCAN,
    simulated_array,
    write_cfl,
    write_fastmri,
    write_mat_7_3,
)

FORMATS = ("npy", "mat", "mat73", "cfl", "fastmri")


def numbers(values):
    return ",".join(f"{v:.9g}" for v in values)


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """The scan, its k-space, and what only the user can say about it."""
    folder = tmp_path_factory.mktemp("formats")
    path, kspace = simulated_array(folder)
    with ScanFile(path) as scan:
        encoding = scan.header.encodings[0]
        places = np.unique(scan.heads["position"], axis=0).astype(float)
    z, y, x = encoding.recon_fov_mm
    read, phase, _ = slice_axes(SCAN["tilt"], 0.0)
    place = ["--orientation", numbers((*read, *phase)), "--position", numbers(places.mean(0))]
    place += ["--spacing", f"{z:.9g}"]
    size = ["--fov", numbers((x, y, z)), "--oversampling", "2"]
    return folder, path, kspace, place, size


def write(kind, folder, kspace, path):
    """Write the k-space in a format; return the file and the options that name its axes."""
    if kind == "npy":
        np.save(folder / "k.npy", kspace.transpose(2, 0, 3, 1))
        return folder / "k.npy", ["--axes", "y,slice,x,coil"]
    if kind == "mat":
        scipy.io.savemat(folder / "k.mat", {"k": kspace, "note": "text", "n": 3.0})
        return folder / "k.mat", ["--axes", "slice,coil,y,x"]
    if kind == "mat73":
        write_mat_7_3(folder / "k73.mat", "k", kspace.transpose(3, 2, 1, 0))
        return folder / "k73.mat", ["--axes", "x,y,coil,slice"]
    if kind == "cfl":
        write_cfl(folder / "k", kspace)
        return folder / "k", []
    write_fastmri(folder / "fast.h5", kspace, path)
    return folder / "fast.h5", []


def pixels(path):
    return np.stack([image.data.squeeze() for image in ImageFile(path)])


@pytest.mark.parametrize("kind", FORMATS)
def test_same_images_from_every_format(case, capfd, kind):
    folder, path, kspace, place, size = case
    source, axes = write(kind, folder, kspace, path)
    made = folder / f"{kind}.h5"
    stated = place if kind == "fastmri" else place + size
    outcome = jrsr(capfd, "import", source, "-o", made, *axes, *stated)
    assert outcome.code == 0, outcome
    assert len(outcome.out.splitlines()) == 1 and "6 coils" in outcome.out
    for scan in (path, made):
        assert jrsr(capfd, "recon", scan, "--overwrite", *FAST).code == 0
    np.testing.assert_array_equal(
        pixels(folder / "scan_jrsr.h5"), pixels(folder / f"{kind}_jrsr.h5")
    )
    with ScanFile(path) as own, ScanFile(made) as imported:
        a, b = own.header.encodings[0], imported.header.encodings[0]
        assert (a.encoding_matrix, a.recon_matrix) == (b.encoding_matrix, b.recon_matrix)
        np.testing.assert_allclose(a.encoding_fov_mm, b.encoding_fov_mm, rtol=1e-6)
        np.testing.assert_allclose(a.recon_fov_mm, b.recon_fov_mm, rtol=1e-6)
        for name in ("position", "read_dir", "phase_dir", "slice_dir"):
            np.testing.assert_allclose(own.heads[name], imported.heads[name], atol=1e-4)
        for name in ("kspace_encode_step_1", "slice"):
            assert (own.heads["idx"][name] == imported.heads["idx"][name]).all()
