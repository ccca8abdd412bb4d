"""A slice of air is an image of noise; one without any sample says so: file, server, and Python."""

import h5py
import numpy as np
import pytest

import jrsr_core
from jrsr_core.mrd.files.scan import write_scan
from jrsr_core.mrd.lines.acquired import NOISE, has_flag
from tests.helpers import layouts
from tests.helpers.commands import FAST, jrsr
from tests.helpers.peer import Peer, resident
from tests.helpers.served_scans import assert_images, serve

AIR, EMPTY = 1, 2
REASON = "every sample of kspace is zero: nothing was measured, check the scan and its conversion"


@pytest.fixture(params=["embedded", "separate"])
def scan(request, tmp_path):
    """Three slices: an object, noise of the level of the noise lines, and zeros."""
    scan = serve(tmp_path, slices=3, calibration=request.param)
    is_noise, number = has_flag(scan.lines.heads, NOISE), scan.lines.heads["idx"]["slice"]
    level = np.concatenate([scan.lines.data[i].ravel() for i in np.flatnonzero(is_noise)]).std()
    generator = np.random.default_rng(0)
    for i in np.flatnonzero(~is_noise & (number == AIR)):
        parts = generator.normal(scale=level / 2**0.5, size=(2, *scan.lines.data[i].shape))
        scan.lines.data[i] = (parts[0] + 1j * parts[1]).astype(np.complex64)
    for i in np.flatnonzero(~is_noise & (number == EMPTY)):
        scan.lines.data[i] = np.zeros_like(scan.lines.data[i])
    scan.path.unlink()
    write_scan(scan.path, scan.header.xml, scan.lines)
    return scan


def test_file_and_server_alike(scan, capfd):
    outcome = jrsr(capfd, "recon", scan.path, *FAST)
    assert (outcome.code, outcome.err) == (3, f"jrsr: scan.h5: image 3: {REASON}\n")
    with h5py.File(scan.folder / "scan_jrsr.h5") as file:
        pixels = np.squeeze(file["dataset/image_1/data"][()])
    assert 0 < pixels[AIR].mean() < 0.05 * pixels[0].max() and not pixels[EMPTY].any()
    with resident() as server:
        peer = Peer.to(server.port)
        opening = layouts.config(layouts.properties()) + layouts.header(scan.header.xml)
        peer.send_meanwhile(opening, *scan.lines_alone)
        answer = peer.finish()
    assert_images(answer.images, scan.expected())
    assert [image.attribute("JRSR_fallback") for image in answer.images] == ["", "", REASON]


def test_python(scan):
    model = jrsr_core.load_model("cg-sense+sinc")
    with jrsr_core.read_scan(scan.path) as slices:
        air = model(slices[AIR])
        assert not air.report.fallback and air.report.warnings == () and air.magnitude.max() > 0
        with pytest.raises(ValueError, match=REASON):
            model(slices[EMPTY])
