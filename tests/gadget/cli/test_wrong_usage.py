"""Typical wrong usages of every command: one line that names what is wrong, exit code 2."""

import pytest

from tests.helpers.commands import FAST, assert_one_line, jrsr, write_small_scan
from tests.helpers.other_images import an_image, classic

WRONG = {
    # arguments: words of the message
    "frobnicate": "No such command 'frobnicate'",
    "recom scan.h5": "Did you mean 'recon'?",
    "recon": "Missing argument 'inputs'",
    "recon scan.h5 --modle jrsr": "No such option: --modle (Possible options: --model)",
    "recon scan.h5 --model jrsr-paper": "nearest of 28: jrsr-dc, jrsr, ",
    "recon scan.h5 -o -": "images cannot be written to stdout",
    "recon scan.h5 -o out.jpg": "out.jpg: unknown extension '.jpg', known: .h5, ",
    "recon scan.h5 -o out.dcm --format nifti": "out.dcm is the name of a file in format enhanced",
    "recon scan.h5 two.h5 -o one.h5": "one.h5 is a file name, several scans need a folder",
    "recon none.h5": "none.h5: no such file or folder",
    "recon empty": "empty: no ISMRMRD scans in this folder",
    "recon scan.h5 --set crop": "--set 'crop' is not of the form key=value",
    "recon scan.h5 --set crop=2": "crop is '2', expected a number from 0 to 0.99",
    "recon scan.h5 --device gpu": "device is 'gpu', expected auto, cpu, cuda or cuda:n",
    "recon scan.h5 -o scan.h5 --overwrite": "scan.h5 would be replaced by its own output",
    "recon scan.h5 -o two.h5 --set noise_file=two.h5 --overwrite": "two.h5 would be replaced by",
    "recon scan.h5 -o link.h5 --overwrite": "scan.h5 would be replaced by its own output",
    "recon scan.h5 --log binary": "log file binary exists and is not text",
    "recon scan.h5 --log two.h5": "--log two.h5 has the extension .h5 of output in format mrd",
    "recon scan.h5 -o new --report --log new/scan_jrsr.html": "extension .html of output in format",
    "recon scan.h5 -o x.html --log x.html": "--log x.html and -o x.html are one file",
    "recon scan.h5 -o new --log ./new": "--log new and -o new are one file",
    "send scan.h5 -o scan.h5 --overwrite": "scan.h5 would be replaced by its own output",
    "send scan.h5 -o two.h5 --chain two.h5 --overwrite": "two.h5 would be replaced by its own",
    "stream -i scan.h5 -o scan.h5 --overwrite": "scan.h5 would be replaced by its own output",
    "convert two.h5 -o link.dcm --dicom-template a.dcm --overwrite": "a.dcm would be replaced by",
    "simulate -o s.h5 --truth s.h5": "s.h5 is named for the scan and for its truth",
    "simulate -o two.h5 --image two.h5:0 --overwrite": "two.h5 would be replaced by its own",
    "recon scan.h5 --log nowhere/log.txt": "folder nowhere does not exist",
    "recon scan.h5 --patient-id P": "no format is dicom or enhanced",
    "check none.h5": "none.h5: no such file or folder",
    "convert none.h5": "none.h5: no such file",
    "convert scan.h5 --format report": "images cannot become 'report'",
    "demo -o scan.h5": "scan.h5 is a file, expected a folder",
    "simulate": "Missing option '-o' / '--output'",
    "simulate -o s.h5 --protocol brain5x": "did you mean 'brain-5x'?",
    "simulate -o s.png": "s.png: simulate writes mrd files",
    "simulate -o s.h5 --truth t.nii.gz": "t.nii.gz: simulate writes mrd files",
    "import scan.h5 -o s.nii.gz": "s.nii.gz: import writes mrd files",
    "send scan.h5 -o x.h5 --chain none.xml": "chain none.xml: no such file",
    "send scan.h5 -o x.h5 --port abc": "Invalid value for '--port'",
    "serve --host 203.0.113.1": "this machine does not have the address",
    "serve --allow 10.0.0.0/99": "'10.0.0.0/99' does not appear to be",
    "models resnet": "unknown model 'resnet'",
    "settings cropp": "unknown setting 'cropp', did you mean 'crop'?",
    "chains scan.h5": "scan.h5 is a file, expected a folder",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("wrong")
    for name in ("scan.h5", "two.h5"):
        write_small_scan(path / name)
    (path / "empty").mkdir()
    (path / "binary").write_bytes(b"\0")
    (path / "link.h5").symlink_to("scan.h5")
    classic(path, [an_image(1)])
    (path / "classic" / "series001_00001.dcm").rename(path / "a.dcm")
    (path / "classic").rmdir()
    (path / "link.dcm").hardlink_to(path / "a.dcm")
    return path


@pytest.mark.parametrize("arguments", WRONG)
def test_one_line_and_exit_code_2(arguments, folder, capfd, monkeypatch):
    monkeypatch.chdir(folder)
    before = sorted(folder.rglob("*"))
    outcome = jrsr(capfd, *arguments.split())
    assert_one_line(outcome, 2, WRONG[arguments])
    assert len(outcome.err) < 250 and "Errno" not in outcome.err
    assert sorted(folder.rglob("*")) == before


def test_the_log_keeps_the_error(folder, tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(folder)
    log = tmp_path / "log.txt"
    outcome = jrsr(capfd, "recon", "scan.h5", "--model", "resnet", "--log", log)
    assert outcome.code == 2
    first, *rest = log.read_text().splitlines()
    assert " ERROR unknown model 'resnet', nearest of 28" in first
    assert any("Traceback" in line for line in rest)
    monkeypatch.setattr("gadget.offline.recon.to_results", interrupted)
    assert jrsr(capfd, "recon", "scan.h5", *FAST, "--log", log, "-o", tmp_path / "x.h5").code == 130
    assert log.read_text().splitlines()[-1].endswith(" ERROR interrupted")


def interrupted(*arguments):
    raise KeyboardInterrupt
