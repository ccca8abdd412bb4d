"""Every command of the pages runs, in the order of its page, or is listed with the reason why not.

A page is run in a folder of its own, on a scan and on images that are smaller than those it speaks
of: `SMALLER` says what is changed for that. Commands run in this process.
"""

import os
import re
import shutil

import h5py
import numpy as np
import pytest
import torch

from gadget.cli import main as cli
from jrsr_core.simulation.phantoms import brain_phantom
from tests.helpers.pages import Command, commands, pages
from tests.helpers.paths import ROOT
from tests.helpers.peer import resident
from training import cli as training_cli

NOT_RUN = (
    (r"--network |--images ", "needs the files of its page; tests/test_page_python.py runs it"),
    (r"my-net_compact", "needs an installed network; jrsr_core/models/test_declared_models.py"),
    (r"^python3 -m venv", ".ci/run does, from a fresh clone"),
    (r"^(python -m )?pip install|^python -m pip install", "installs; .ci/run does"),
    (r"^\.venv/bin/python -m pytest|^\.ci/", "the tests themselves"),
    (r"^(docker|zip) ", "needs Docker; the label is checked by tests/test_docker.py"),
    (r"^(git clone|aws) ", "downloads"),
    (r"^conda ", "needs conda"),
    (r"doctor$", "opens a server and takes seconds; tests/gadget/test_doctor.py"),
    (r"^jrsr chains (/path/to/|\$CONDA_PREFIX)", "names a folder of the reader"),
    (r"^gadgetron_ismrmrd_client ", "needs Gadgetron; tests/gadget/test_xml_chains.py"),
    (r"\| jrsr stream", "needs tools of other packages; tests/gadget/stream"),
    (r"^jrsr import (meas_|multicoil)", "needs a scan of others; tests/gadget/offline/importing"),
    (r"^ray ", "starts a Ray cluster; tests/gadget/compute/ray"),
    (r"^jrsr serve", "runs until it is stopped; tests/gadget/server/test_serve.py"),
    (r"--cluster ", "needs Ray; tests/gadget/compute/ray"),
    (r"^jrsr convert images\.h5", "the images are those of a client that does not run here"),
    (r"^jrsr-train evaluate (?!.*--models)", "takes minutes; tests/training/evaluation"),
    (r"--paper ", "prints rows of that command; tests/training/evaluation"),
    (r"paper_losses\.sh|vgg16", "needs weights of VGG-16; tests/training/losses"),
    (r"device=cuda", "needs a GPU; tests/training/test_slot.py rehearses it"),
)
"""Pattern of a command, and why it is not run."""

SMALLER = (
    (r"^(jrsr simulate (?!.*--matrix).*)$", r"\1 --matrix 144x144"),
    (r"--scans \d+", "--scans 2"),
    (r"^(jrsr-train fit .*)$", r"\1 steps=1 device=cpu log.tensorboard=false"),
    (r"^(jrsr-train evaluate .*)$", r"\1 --slices 1"),
    (r"^(jrsr-train figure .*)$", r"\1 --dpi 72"),
    (r"^(jrsr-train images .*)$", r"\1 --matrix 160x144 --pixel 1.8"),
)
"""What is changed in a command so that it takes little time."""


def reason(command: Command) -> str:
    """Why a command is not run, empty if it is."""
    return next((why for pattern, why in NOT_RUN if re.search(pattern, command.text)), "")


def smaller(command: Command) -> Command:
    text = command.text
    for pattern, replacement in SMALLER:
        text = re.sub(pattern, replacement, text)
    return Command(command.page, text)


def images(path, n):
    """Write an image stack of `n` subjects."""
    phantom = (255 * brain_phantom((144, 160))).to(torch.uint8).numpy().T
    with h5py.File(path, "w") as file:
        file["slices"] = np.stack([phantom] * n)
        file.create_dataset("subject", data=[f"{path.stem}-{i}" for i in range(n)])


def volumes(folder):
    """Write the NIfTI files whose names the page on data states, small."""
    nibabel = pytest.importorskip("nibabel")
    phantom = brain_phantom((160, 144)).numpy()
    image = nibabel.Nifti1Image((900 * phantom.T[..., None]).astype(np.uint16), np.eye(4))
    image.header.set_zooms((1.8, 1.8, 3.0))
    image.set_sform(np.diag([1.8, 1.8, 3.0, 1.0]), 1)
    names = [f"open_ms_data/longitudinal/raw/patient{n}/study1_T1W" for n in ("01", "04", "12")]
    names += [f"ds002748/sub-{n}/anat/sub-{n}_T1w" for n in (1, 57, 60, 63, 70)]
    for name in names:
        path = folder / f"{name}.nii"
        path.parent.mkdir(parents=True, exist_ok=True)
        nibabel.save(image, path)


def arrays(folder):
    """Write the arrays that the page on importing names, small."""
    from scipy.io import savemat

    kspace = np.fft.fftshift(np.fft.fft2(brain_phantom((48, 64)).numpy())).astype(np.complex64)
    coils = np.stack([kspace, 1j * kspace, kspace * (1 + 1j), -kspace])  # coil, y, x
    np.save(folder / "kspace.npy", coils[None])
    np.save(folder / "volume.npy", np.stack([coils] * 12, 1))
    savemat(folder / "kspace.mat", {"k": coils.transpose(2, 1, 0)})
    bart = coils.transpose(2, 1, 0)[:, :, None]  # x, y, z, coil
    (folder / "kspace.hdr").write_text("# Dimensions\n" + " ".join(map(str, bart.shape)) + "\n")
    bart.ravel(order="F").tofile(folder / "kspace.cfl")


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A folder with the inputs that the pages name."""
    folder = tmp_path_factory.mktemp("desk")
    assert cli.run(["simulate", "-o", str(folder / "scan.h5"), "--matrix", "144x144"]) == 0
    image = ["-o", str(folder / "scanner.dcm"), "--model", "cg-sense+sinc"]
    assert cli.run(["recon", str(folder / "scan.h5"), *image]) == 0
    for name in ("scans/a.h5", "day1/b.h5", "day2/c.h5"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(folder / "scan.h5", folder / name)
    for name, n in (("train", 4), ("val", 1), ("test", 4)):
        images(folder / f"brain_{name}.h5", n)
    volumes(folder)
    arrays(folder)
    for name in ("training", "docker", "xml_chains"):
        (folder / name).symlink_to(ROOT / name)
    return folder


@pytest.fixture(scope="module")
def server():
    with resident() as server:
        yield server


def run(command: Command, port: int, monkeypatch) -> int:
    """Run a command and return its exit code."""
    name, *arguments = command.words
    if name == "python":
        assert arguments[:2] == ["-c", arguments[1]], command
        exec(compile(arguments[1], command.page, "exec"), {})
        return 0
    if name == "jrsr-train":
        monkeypatch.setattr("sys.argv", [name, *arguments])
        try:
            training_cli.main()
        except SystemExit as stop:
            return int(stop.code or 0)
        return 0
    assert name == "jrsr", f"{command.text}: neither run nor listed in NOT_RUN"
    if arguments[0] in ("send", "health"):
        if "--port" in arguments:
            del arguments[arguments.index("--port") :][:2]
        arguments += ["--port", str(port)]
    return cli.run(arguments)


@pytest.mark.parametrize("page", [p for p in pages() if commands(p)], ids=str)
def test_commands_of_a_page(page, desk, server, tmp_path, monkeypatch, capfd):
    folder = tmp_path / "page"
    shutil.copytree(desk, folder, symlinks=True)
    monkeypatch.chdir(folder)
    for given in commands(page):
        if reason(given) or given.text == "jrsr simulate -o scan.h5":
            continue
        command = smaller(given)
        code = run(command, server.port, monkeypatch)
        assert code == 0, f"{command.text}: exit code {code}\n{capfd.readouterr().err}"


def test_every_reason_is_needed():
    texts = [c.text for page in pages() for c in commands(page)]
    unused = [p for p, _ in NOT_RUN if not any(re.search(p, text) for text in texts)]
    assert unused == []
    files = [w.strip(";") for _, why in NOT_RUN for w in why.split() if w.startswith("tests/")]
    assert [f for f in files if not (ROOT / f).exists()] == []
    assert not [c for page in pages() for c in commands(page) if os.linesep in c.text]
