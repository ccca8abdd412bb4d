"""`jrsr doctor`: a good set-up, and broken ones, each with a line that says what to do."""

import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from gadget.chains import chain_files
from jrsr_core.mrd.simulator.request import ScanRequest
from tests.helpers.commands import FAST, jrsr
from tests.helpers.paths import ROOT
from tests.helpers.peer import closed_port
from tests.helpers.processes import run_process

CHECKS = (
    *("jrsr", "Python", "numpy", "ismrmrd", "torch", "gadgetron", "chains", "storage"),
    *("device", "model", "self test"),
)


@pytest.fixture(autouse=True)
def no_gadgetron(monkeypatch):
    for name in ("GADGETRON_HOME", "GADGETRON_STORAGE_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("shutil.which", lambda name: None)


def marks(outcome):
    return {line[8:18].strip(): line[:7].strip() for line in outcome.out.splitlines()}


def line_of(outcome, name):
    (line,) = [line for line in outcome.out.splitlines() if line[8:].startswith(f"{name} ")]
    return line


def test_a_good_set_up(capfd):
    outcome = jrsr(capfd, "doctor", *FAST)
    assert outcome.code == 0, outcome
    assert marks(outcome) == {name: "note" if name == "storage" else "ok" for name in CHECKS}
    assert " lines -> 1 image over a socket in " in line_of(outcome, "self test")


def test_a_fallback_image_of_the_self_test_is_named(capfd, monkeypatch):
    scan = ScanRequest(mask="regular", acceleration=2.0, acs=2, matrix="64x64", n_coils=4)
    monkeypatch.setattr("gadget.server.self_test.SCAN", scan)
    outcome = jrsr(capfd, "doctor", *FAST)
    assert " lines -> a fallback image over a socket in " in line_of(outcome, "self test")


def test_as_json(capfd):
    outcome = jrsr(capfd, "doctor", *FAST, "--json", "--device", "cuda:7")
    report = json.loads(outcome.out)
    failed = [check["name"] for check in report["checks"] if check["mark"] == "FAILED"]
    assert outcome.code == 1 and not report["works"]
    assert failed == ["device", "model"]


def test_a_library_that_does_not_load(tmp_path):
    (tmp_path / "torch").mkdir()
    text = 'raise ImportError("libcudart.so.12: cannot open shared object file")'
    (tmp_path / "torch" / "__init__.py").write_text(text)
    done = run_process(
        [sys.executable, "-m", "gadget", "doctor"],
        env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
    )
    assert done.returncode == 1 and done.stderr == ""
    assert "is installed but does not load: ImportError: libcudart.so.12" in done.stdout
    assert "FAILED  model      not tested without torch" in done.stdout


def test_a_library_that_is_missing(capfd, monkeypatch):
    monkeypatch.setattr("gadget.doctor.MODULES", ("numpy", "ismrmrd", "no-such-library"))
    outcome = jrsr(capfd, "doctor", *FAST)
    assert outcome.code == 1
    line = line_of(outcome, "no-such-library")
    assert line.startswith("FAILED")
    assert line.endswith(f"{sys.executable} -m pip install no-such-library")


def test_chains_that_gadgetron_does_not_find(capfd, tmp_path, monkeypatch):
    monkeypatch.setenv("GADGETRON_HOME", str(tmp_path))
    folder = tmp_path / "share" / "gadgetron" / "config"
    outcome = jrsr(capfd, "doctor", *FAST)
    assert outcome.code == 1
    assert f"none of them in {folder}: jrsr chains {folder}" in line_of(outcome, "chains")
    assert jrsr(capfd, "chains", folder).code == 0
    outcome = jrsr(capfd, "doctor", *FAST)
    n = len(chain_files())
    assert outcome.code == 0 and f"{n} of {n} in {folder}" in line_of(outcome, "chains")


@pytest.mark.parametrize(("model", "words"), [("resnet", "unknown model"), ("no.json", "no.json")])
def test_a_model_that_does_not_load(model, words, capfd):
    outcome = jrsr(capfd, "doctor", "--model", model)
    assert outcome.code == 1 and words in line_of(outcome, "model")
    assert "self test" not in outcome.out


class TestStorageServer:
    def test_nothing_listens(self, capfd):
        with closed_port() as port:
            outcome = jrsr(capfd, "doctor", *FAST, "--storage", f"http://127.0.0.1:{port}")
        words = f"http://127.0.0.1:{port} does not answer (no server listens there): start"
        assert outcome.code == 1 and words in line_of(outcome, "storage")

    @pytest.mark.parametrize(("status", "code"), [(200, 0), (500, 1)])
    def test_it_answers(self, status, code, capfd, monkeypatch):
        asked = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                asked.append(self.path)
                self.send_response(status)
                self.end_headers()

            def log_message(self, *_):
                pass

        with HTTPServer(("127.0.0.1", 0), Handler) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            monkeypatch.setenv("GADGETRON_STORAGE_ADDRESS", f"127.0.0.1:{server.server_port}")
            outcome = jrsr(capfd, "doctor", *FAST)
            server.shutdown()
            thread.join()
        assert (outcome.code, asked) == (code, ["/healthcheck"])
        assert line_of(outcome, "storage").startswith("ok" if code == 0 else "FAILED")
