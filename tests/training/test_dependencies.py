"""Training imports the readers of file formats only where it reads these formats."""

import os
import sys

import pytest

from tests.helpers.processes import run_process

from .conftest import tiny, write_images

BLOCKED = ("ismrmrd", "sigpy", "gadgetron", "pydicom", "nibabel")
FIT_AND_EXPORT = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in sys.argv[1].split(","):
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocker())
import torch
torch.set_num_threads(1)
from pathlib import Path
from training.config import RunConfig
from training.data.sources import SourceError, open_source
from training.evaluation.evaluate import Evaluation
from training.evaluation.export import export
from training.runs import fit
config = RunConfig.model_validate_json(sys.argv[2])
fit(config)
card = export(Path(config.out), Path(config.out) / "weights")
print(card)
rows = Evaluation([f"new={card}"], "brain-5x", Path(sys.argv[3]), Path(config.out) / "rows.csv", 1)
print([row["model"] for row in rows])
for name in sys.argv[4:]:
    try:
        open_source(Path(name))
    except SourceError as error:
        print(error)
"""


@pytest.mark.parametrize("by", ["steps", "minutes"])
def test_training_needs_no_reader_of_other_formats(tmp_path, by):
    images = tmp_path / "images"
    images.mkdir()
    write_images(images / "x_train.h5", 2, "ab")
    write_images(images / "x_val.h5", 1, "c")
    test = write_images(tmp_path / "x_test.h5", 1, "d")
    changes = {"steps": 5, "log__validate_every": 5, "scans__vary": True}
    if by == "minutes":
        changes = {"minutes": 0.4, "scans__vary": True}
    config = tiny(images, tmp_path / "run", **changes)
    (tmp_path / "t1.nii").touch()
    (tmp_path / "dicom").mkdir()
    (tmp_path / "dicom" / "1.dcm").write_bytes(bytes(128) + b"DICM")
    call = [sys.executable, "-c", FIT_AND_EXPORT, ",".join(BLOCKED), config.model_dump_json()]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = run_process(
        [*call, str(test), str(tmp_path / "t1.nii"), str(tmp_path / "dicom")],
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    card, rows, nifti, dicom = done.stdout.splitlines()
    assert rows == "['new']"
    assert card.endswith("jrsr_tiny.json")
    assert nifti == "t1.nii: reading NIfTI needs the package nibabel"
    assert dicom == "1.dcm: reading DICOM needs the package pydicom"


@pytest.mark.parametrize(
    "module", ["jrsr_core", "training.commands", "training.runs", "training.config"]
)
def test_imports_need_no_reader(module):
    code = f"import sys\nimport {module}\nprint(*(set(sys.modules) & set({BLOCKED})))"
    done = run_process([sys.executable, "-c", code])
    assert (done.stdout.strip(), done.returncode) == ("", 0), done.stderr
