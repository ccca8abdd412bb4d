"""`jrsr chains`: the chain files, from a checkout and from an installed wheel."""

import shutil
import sys
import tarfile
import zipfile

import pytest

from gadget.chains import chain_files, write_chains
from tests.helpers.commands import assert_one_line, jrsr
from tests.helpers.paths import ROOT
from tests.helpers.processes import run_process

CHAINS = {path.name: path.read_bytes() for path in (ROOT / "xml_chains").glob("*.xml")}


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_chains_are_written_as_they_are(tmp_path, capfd):
    folder = tmp_path / "new" / "config"
    outcome = jrsr(capfd, "chains", folder)
    assert outcome.code == 0 and contents(folder) == CHAINS
    assert outcome.out.split() == [str(folder / name) for name in sorted(CHAINS)]


def test_none_is_written_if_one_exists(tmp_path, capfd):
    (tmp_path / "jrsr_raw.xml").write_text("edited")
    outcome = jrsr(capfd, "chains", tmp_path)
    assert_one_line(outcome, 2, "jrsr_raw.xml exists, --overwrite replaces it")
    assert contents(tmp_path) == {"jrsr_raw.xml": b"edited"}
    assert jrsr(capfd, "chains", tmp_path, "--overwrite").code == 0
    assert contents(tmp_path) == CHAINS


def test_without_a_folder_they_are_listed(capfd):
    outcome = jrsr(capfd, "chains")
    lines = outcome.out.splitlines()
    assert [line.partition(":")[0] for line in lines] == sorted(CHAINS)
    assert all(len(line.partition(": ")[2]) > 40 for line in lines)


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "x").touch()
    with pytest.raises(ValueError, match="x is a file, expected a folder"):
        write_chains(tmp_path / "x")


def test_missing_chains_are_said(monkeypatch):
    monkeypatch.setattr("gadget.chains.PACKAGE", "no_such_package_of_chains")
    with pytest.raises(FileNotFoundError, match="chain files are not installed"):
        chain_files()


def test_wheel_and_sdist_contain_them(tmp_path):
    pytest.importorskip("hatchling")
    # The packages that matter here alone: the weights would take long.
    project = tmp_path / "project"
    shutil.copytree(ROOT / "xml_chains", project / "xml_chains")
    for name in ("gadget/__init__.py", "jrsr_core/LICENSE", "README.md", "pyproject.toml"):
        (project / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, project / name)
    script = "from hatchling import build as b; b.build_wheel('..'); b.build_sdist('..')"
    command = [sys.executable, "-c", script]
    done = run_process(command, cwd=project)
    assert done.returncode == 0, done.stderr
    (wheel,), (sdist,) = tmp_path.glob("*.whl"), tmp_path.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as file:
        found = {name: file.read(name) for name in file.namelist() if name.endswith(".xml")}
    assert found == {f"xml_chains/{name}": data for name, data in CHAINS.items()}
    with tarfile.open(sdist) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    assert {f"xml_chains/{name}" for name in CHAINS} <= names
