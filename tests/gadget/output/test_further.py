"""Further files of a scan: those of an earlier run of JRSR go, those of others stay."""

import nibabel
import numpy as np
import pytest
from pydicom import dcmread

from gadget.output.dicom.writer import EnhancedWriter
from gadget.output.nifti.writer import NiftiWriter
from gadget.output.options import OutputOptions
from tests.helpers.commands import jrsr
from tests.helpers.other_images import an_image, write_file

HEADER = "<ismrmrdHeader/>"
WRITERS = {".nii.gz": NiftiWriter, ".nii": NiftiWriter, ".dcm": EnhancedWriter}
TWO = [an_image(1), an_image(2, image_series_index=2)]


def write(path, images, ending):
    with WRITERS[ending](path, HEADER, OutputOptions(overwrite=True)) as writer:
        for image in images:
            writer.write(image)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("ending", WRITERS)
@pytest.mark.parametrize("stem", ["x", "scan[1]"])
def test_further_files_of_the_earlier_run_are_deleted(tmp_path, stem, ending):
    path = tmp_path / f"{stem}{ending}"
    write(path, TWO, ending)
    assert len(names(tmp_path)) == 2
    write(tmp_path / f"other{ending}", TWO, ending)
    write(path, TWO[:1], ending)
    assert path.name in names(tmp_path) and len(names(tmp_path)) == 3
    assert sum(name.startswith("other") for name in names(tmp_path)) == 2


@pytest.mark.parametrize("ending", WRITERS)
def test_files_of_others_and_of_other_scans_stay(tmp_path, ending):
    number = "001" if ending == ".dcm" else "7"
    others = [f"x_series_lesion_mask{ending}", f"x_series{number}{ending}", f"x1_series2{ending}"]
    for name in others:
        (tmp_path / name).write_bytes(b"of another program")
    write(tmp_path / f"x{ending}", TWO[:1], ending)
    assert names(tmp_path) == sorted([*others, f"x{ending}"])


def test_a_volume_of_another_program_stays(tmp_path):
    mask = nibabel.Nifti1Image(np.ones((4, 4, 2), np.uint8), np.eye(4))
    nibabel.save(mask, tmp_path / "x_series3.nii.gz")
    write(tmp_path / "x.nii.gz", TWO[:1], ".nii.gz")
    assert names(tmp_path) == ["x.nii.gz", "x_series3.nii.gz"]


@pytest.mark.parametrize("ending", [".nii.gz", ".dcm"])
def test_a_further_file_that_exists_is_named_before_the_work(tmp_path, capfd, ending):
    write_file(tmp_path / "i.h5", *TWO)
    assert jrsr(capfd, "convert", tmp_path / "i.h5", "-o", tmp_path / f"x{ending}").code == 0
    (tmp_path / f"x{ending}").unlink()
    again = jrsr(capfd, "convert", tmp_path / "i.h5", "-o", tmp_path / f"x{ending}")
    assert again.code == 2 and "exists, --overwrite replaces it" in again.err
    assert not (tmp_path / f"x{ending}").exists()


def test_capital_extensions_are_kept(tmp_path):
    write(tmp_path / "x.DCM", TWO, ".dcm")
    write(tmp_path / "x.DCM", TWO[:1], ".dcm")
    assert names(tmp_path) == ["x.DCM"]
    assert dcmread(tmp_path / "x.DCM").NumberOfFrames == 1
