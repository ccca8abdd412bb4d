"""Networks that an installed package declares as entry points."""

import os
import sys

import ismrmrd
import pytest

import jrsr_core as jrsr
from jrsr_core.common import plugins
from jrsr_core.models.names import own_networks
from jrsr_core.weights.save import save_weights
from tests.helpers.commands import write_small_scan
from tests.helpers.networks import SCALED
from tests.helpers.paths import ROOT
from tests.helpers.processes import run_process

pytestmark = pytest.mark.usefixtures("own_networks")


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a distribution with these entries, group -> name -> value; returns its folder."""

    def made(**entries):
        (tmp_path / "nets.py").write_text(SCALED)
        folder = tmp_path / "nets-1.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: nets\nVersion: 1\n")
        lines = [f"[jrsr.{group}_models]\n{entry}" for group, entry in entries.items()]
        (folder / "entry_points.txt").write_text("\n".join(lines) + "\n")
        monkeypatch.syspath_prepend(tmp_path)
        plugins.declared_models.cache_clear()
        return tmp_path

    yield made
    sys.modules.pop("nets", None)
    plugins.declared_models.cache_clear()


def test_a_declared_network_is_known_by_name_and_imported_when_it_is_built(install):
    install(upsample="scaled = nets:Scaled")
    assert own_networks() == {"scaled": "upsample"}
    assert jrsr.build_model("modl+scaled+dc", preset="tiny").n_maps == 1
    assert type(jrsr.build_model("scaled")).__name__ == "Scaled"


def test_its_card_is_used_by_the_commands(install, tmp_path):
    folder = install(upsample="scaled = nets:Scaled")
    card = save_weights(jrsr.build_model("cg-sense+scaled"), tmp_path, "cg-sense+scaled", "tiny")
    write_small_scan(tmp_path / "scan.h5")
    command = ("-m", "gadget", "recon", tmp_path / "scan.h5", "-o", tmp_path / "out.h5")
    paths = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}
    run = run_process([sys.executable, *command, "--model", f"{card}+dc"], env=paths)
    assert run.returncode == 0, run.stderr
    with ismrmrd.File(tmp_path / "out.h5", mode="r") as file:
        (group,) = file["dataset"].keys() - {"xml"}
        meta = file["dataset"][group].images[0].meta
    assert meta["JRSR_model"] == "cg-sense+scaled+dc"


@pytest.mark.parametrize(
    "entry, message",
    [
        ("other = nets:Scaled", "other of jrsr.recon_models.*'upsample': use jrsr.upsample_models"),
        ("broken = nets:Nothing", "broken of jrsr.recon_models: AttributeError: .*Nothing"),
        ("broken = nowhere:Net", "broken of jrsr.recon_models: ImportError: nowhere:Net of"),
        ("Upper = nets:Scaled", "Upper of jrsr.recon_models: ValueError: name is 'Upper'"),
    ],
)
def test_a_wrong_declaration_is_named_each_time_it_is_asked_for(install, entry, message):
    install(recon=entry)
    name = entry.split()[0]
    for _ in range(2):
        with pytest.raises(ValueError, match=message):
            jrsr.build_model(name)


def test_a_model_of_this_package_is_not_replaced(install):
    install(recon="modl = nets:Scaled")
    assert own_networks() == {}
    assert type(jrsr.build_model("modl", preset="tiny")).__name__ == "Modl"
