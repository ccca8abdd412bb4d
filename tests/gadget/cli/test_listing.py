"""What scripts read: --json of check, models and settings; the table of models; --dry-run."""

import json
import sys

import pytest

from gadget.settings import Settings
from jrsr_core.models.names import MODEL_NAMES, has_weights
from jrsr_core.weights.sets import list_shipped
from tests.helpers.commands import FAST, assert_one_line, jrsr, write_small_scan
from tests.helpers.mrd_scans import joined, select
from tests.helpers.processes import run_process


def without_acs_in_slice_1(xml, lines):
    slices = lines.heads["idx"]["slice"]
    first, second = ((slices == n).nonzero()[0] for n in (0, 1))
    return xml, joined(select(lines, first), select(lines, second[::2]))


class TestSettings:
    def test_one_setting(self, capfd):
        outcome = jrsr(capfd, "settings", "crop")
        first, *text = outcome.out.splitlines()
        assert outcome.code == 0 and first == "crop=0.9  (a number from 0 to 0.99)"
        assert " ".join(" ".join(text).split()) == Settings.model_fields["crop"].description
        both = jrsr(capfd, "settings", "threshold", "crop").out
        assert both.endswith(outcome.out) and both.startswith("threshold=")

    def test_one_setting_as_json(self, capfd):
        schema = json.loads(jrsr(capfd, "settings", "crop", "--json").out)
        assert list(schema["properties"]) == ["crop"]
        assert schema["properties"]["crop"]["maximum"] == 0.99
        whole = json.loads(jrsr(capfd, "settings", "--json").out)
        assert whole == json.loads(json.dumps(Settings.json_schema()))

    def test_an_unknown_setting(self, capfd):
        assert_one_line(jrsr(capfd, "settings", "cropp"), 2, "unknown setting 'cropp'", "'crop'?")


class TestModels:
    def test_the_table_has_every_model_once(self, capfd):
        outcome = jrsr(capfd, "models")
        head, *rows = outcome.out.splitlines()
        assert head.split()[:3] == ["model", "weights", "size"]
        assert all(len(row) <= 100 for row in rows)
        names = [row.split()[0] for row in rows]
        assert sorted(names) == sorted({*MODEL_NAMES, *list_shipped()})
        assert [row for row in rows if "(default)" in row] == rows[:1]
        assert rows[0].startswith("jrsr-dc (default)  ") and "installed" in rows[0]
        card = list_shipped()["t2net@wall-16x"]
        (row,) = [row for row in rows if row.startswith("t2net@wall-16x ")]
        figures = card.own_metrics["wall-16x"]
        numbers = f"{figures['psnr']:.2f}", f"{figures['ssim']:.3f}", f"{figures['lpips']:.3f}"
        assert row.split()[-5:] == [*numbers, "wall-16x", str(card.training["samples_seen"])]
        for name, row in zip(names, rows, strict=True):
            assert ("needs none" in row) == (not has_weights(name.partition("@")[0]))

    def test_as_json(self, capfd):
        entries = {e["model"]: e for e in json.loads(jrsr(capfd, "models", "--json").out)}
        for name, card in list_shipped().items():
            assert entries[name]["weights"] == "installed"
            assert entries[name]["sha256"] == card.sha256
        assert [name for name, e in entries.items() if e["default"]] == ["jrsr-dc"]
        assert entries["cg-sense+sinc"]["weights"] == "needs none"

    def test_installed_is_what_recon_takes(self, capfd, tmp_path):
        entries = json.loads(jrsr(capfd, "models", "--json").out)
        write_small_scan(tmp_path / "scan.h5")
        for entry in entries:
            command = ("recon", tmp_path / "scan.h5", "--dry-run", "--model", entry["model"])
            is_there = jrsr(capfd, *command).code == 0
            assert is_there == (entry["weights"] != "not shipped"), entry

    def test_one_model(self, capfd):
        card = list_shipped()["jrsr-dc"]
        assert f"sha256 {card.sha256[:16]}" in jrsr(capfd, "models", "jrsr-dc").out
        (found,) = json.loads(jrsr(capfd, "models", "jrsr-dc", "--json").out)
        assert found["sha256"] == card.sha256 and found["training"] == card.training
        assert "needs none" in jrsr(capfd, "models", "cg-sense+sinc").out
        outcome = jrsr(capfd, "models", "resnet")
        assert_one_line(outcome, 2, "unknown model 'resnet', nearest of", "jrsr models lists all")
        assert len(outcome.err) < 160


class TestCheck:
    def test_several_files_as_json(self, capfd, tmp_path):
        good, bad = tmp_path / "good.h5", tmp_path / "bad.h5"
        write_small_scan(good, without_acs_in_slice_1, n_slices=2)
        bad.write_text("text")
        outcome = jrsr(capfd, "check", good, bad, *FAST, "--json")
        first, second = json.loads(outcome.out)
        assert outcome.code == 1 and outcome.err == ""
        assert (first["file"], first["supported"], first["exit_code"]) == (str(good), True, 0)
        assert second == {
            "file": str(bad),
            "exit_code": 1,
            "supported": False,
            "reason": "not an HDF5 file",
        }
        (space,) = first["encodings"]
        assert space["images"] == 2 and space["images_without_acs"] == 1
        assert (space["lr_matrix"], space["hr_matrix"]) == ([48, 64], [96, 128])
        assert first["coils"] == 4 and ["coils", "4"] in first["rows"]

    def test_the_texts_are_those_of_the_table(self, capfd, tmp_path):
        write_small_scan(tmp_path / "scan.h5")
        (entry,) = json.loads(jrsr(capfd, "check", tmp_path / "scan.h5", "--json").out)
        shown = " ".join(jrsr(capfd, "check", tmp_path / "scan.h5").out.split())
        for name, value in entry["rows"]:
            assert " ".join(f"{name} {value}".split()) in shown


class TestDryRun:
    def test_it_says_what_recon_does_and_writes_nothing(self, capfd, tmp_path):
        write_small_scan(tmp_path / "a.h5", without_acs_in_slice_1, n_slices=2)
        write_small_scan(tmp_path / "b.h5")
        command = ("recon", tmp_path, "-o", tmp_path / "out", "--format", "mrd,png", *FAST)
        before = sorted(tmp_path.iterdir())
        outcome = jrsr(capfd, *command, "--dry-run")
        assert sorted(tmp_path.iterdir()) == before
        done = jrsr(capfd, *command)
        assert outcome.code == done.code == 3
        first, second, last = outcome.out.splitlines()
        files = f"{tmp_path}/out/a_jrsr.h5, {tmp_path}/out/a_jrsr.png"
        words = "2 images 96 x 128 by cg-sense+sinc, 1 of them fallback images"
        assert first == f"a.h5: {words} -> {files}"
        assert second.startswith("b.h5: 1 image 96 x 128 by cg-sense+sinc -> ")
        assert last == "dry run: nothing was written"
        assert {f"{p}" for p in (tmp_path / "out").glob("a_*")} == set(files.split(", "))

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (("-o", "there.h5"), "there.h5 exists, --overwrite replaces it"),
            (("--model", "jrsr-cd"), "did you mean 'jrsr-dc'?"),
            (("-o", "nowhere/x.h5"), "folder nowhere does not exist"),
        ],
    )
    def test_wrong_usage_is_found(self, arguments, words, capfd, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        write_small_scan(tmp_path / "scan.h5")
        (tmp_path / "there.h5").touch()
        outcome = jrsr(capfd, "recon", "scan.h5", "--dry-run", *arguments)
        assert_one_line(outcome, 2, words)

    def test_a_broken_file(self, capfd, tmp_path):
        (tmp_path / "bad.h5").write_text("text")
        outcome = jrsr(capfd, "recon", tmp_path / "bad.h5", "--dry-run")
        assert outcome.code == 1 and outcome.err == "jrsr: bad.h5: not an HDF5 file\n"


def test_lists_import_no_torch():
    for command in ("models", "settings"):
        script = (
            "import sys; from gadget.cli.main import run; "
            f"code = run([{command!r}, '-q']); print(code, 'torch' in sys.modules)"
        )
        done = run_process([sys.executable, "-c", script])
        assert done.stdout.split() == ["0", "False"], done
