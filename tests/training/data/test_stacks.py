"""Image stacks from NIfTI volumes: orientation, pixel size, subjects, splits, what is refused."""

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

from training.commands import app
from training.data.sources import SourceError, open_source
from training.data.stacks import StackRequest, find_volumes, make_stacks

nibabel = pytest.importorskip("nibabel")

MATRIX = (48, 40)


def head(n=(40, 60, 4), spot=(30, 50)):
    """A RAS volume: an ellipse, and a bright spot to the right and anterior of its centre."""
    x, y, _ = np.meshgrid(*(np.arange(k, dtype=float) for k in n), indexing="ij")
    inside = ((x - n[0] / 2) / 14) ** 2 + ((y - n[1] / 2) / 24) ** 2 < 1
    volume = 400.0 * inside
    volume[spot[0] - 1 : spot[0] + 2, spot[1] - 1 : spot[1] + 2] = 900.0
    return volume


def save(path, volume, mm=(1.8, 1.8, 4.0), axes="RAS"):
    """Write a RAS volume with its axes stored as `axes`."""
    affine = np.diag([*mm, 1.0])
    image = nibabel.Nifti1Image(volume.astype(np.uint16), affine)
    wanted = nibabel.orientations.axcodes2ornt(axes)
    image = image.as_reoriented(
        nibabel.orientations.ornt_transform(nibabel.io_orientation(affine), wanted)
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image, path)


def stack(folder, out, **options):
    request = StackRequest("mine", matrix=MATRIX, pixel_mm=1.8, **options)
    written = dict(make_stacks([folder], out, request))
    return {path: h5py.File(path, "r") for path in written}


@pytest.mark.parametrize("axes", ["RAS", "LPS", "ASR", "SLP"])
def test_slices_are_axial_with_the_front_at_the_top(tmp_path, axes):
    save(tmp_path / "in/patient01/study1_T1W.nii.gz", head(), axes=axes)
    (file,) = stack(tmp_path / "in", tmp_path / "out").values()
    slices = file["slices"][:]
    assert slices.shape == (4, *MATRIX)
    row, column = np.unravel_index(int(slices[1].argmax()), MATRIX)
    # From the centre (30, 20): 20 voxels to the front, 10 to the right, which is left in the image.
    assert abs(row - (MATRIX[0] // 2 - 20)) <= 2
    assert abs(column - (MATRIX[1] // 2 - 10)) <= 2
    assert file["slices"][:].max() == 255
    assert list(file["thickness_mm"][:]) == [4.0] * 4


def test_a_smaller_pixel_is_cropped_in_kspace(tmp_path):
    # A band-limited object: the k-space of the fine volume is that of the coarse one, padded.
    coarse = np.pad(np.hanning(20)[:, None] * np.hanning(30), ((10, 10), (15, 15)))
    centred = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(coarse)))
    padded = np.fft.ifftshift(np.pad(centred, ((20, 20), (30, 30))))
    fine = 4 * np.fft.fftshift(np.fft.ifft2(padded)).real.clip(0)
    wide = np.abs(centred[[0, 1, -1]]).max() / np.abs(centred).max()
    assert wide < 1e-3
    for name, plane, mm in (("fine", fine, 0.9), ("coarse", coarse, 1.8)):
        save(
            tmp_path / f"{name}/patient01/x_T1w.nii",
            6e4 * plane[::-1, ::-1, None],
            mm=(mm, mm, 4.0),
        )
    made = [
        next(iter(stack(tmp_path / name, tmp_path / f"out_{name}").values()))["slices"][0]
        for name in ("fine", "coarse")
    ]
    assert np.abs(made[0].astype(int) - made[1].astype(int)).max() <= 2


def test_pixels_of_both_axes_become_the_wanted_one(tmp_path):
    # 60 x 0.9 mm across and 80 x 1.8 mm from front to back: 30 and 80 pixels of 1.8 mm.
    x, y = np.mgrid[:60, :80]
    volume = 6e4 * (np.exp(-(((x - 30) / 8) ** 2) - ((y - 40) / 8) ** 2) > 0.5)[..., None]
    save(tmp_path / "in/patient01/x_T1w.nii", volume, mm=(0.9, 1.8, 4.0))
    (file,) = stack(tmp_path / "in", tmp_path / "out").values()
    seen = file["slices"][0] > 127
    rows, columns = seen.any(1).sum(), seen.any(0).sum()
    assert rows == pytest.approx(13, abs=1) and columns == pytest.approx(13 / 2, abs=1)


def test_contrast_subject_and_split_are_read_from_the_names(tmp_path):
    for subject, name in (
        ("patient01", "study1_T1W"),
        ("patient01", "study2_FLAIR"),
        ("patient02", "study1_T2W"),
        ("sub-03/anat", "sub-03_T1w"),
    ):
        save(tmp_path / f"in/{subject}/{name}.nii.gz", head())
    save(tmp_path / "in/patient01/gt.nii.gz", head())
    out = stack(tmp_path / "in", tmp_path / "out", val=["patient02"], test=["sub-0*"], slices=2)
    assert sorted(out) == [str(tmp_path / f"out/{s}/mine.h5") for s in ("test", "train", "val")]
    train, val = (out[str(tmp_path / f"out/{s}/mine.h5")] for s in ("train", "val"))
    assert set(train["subject"].asstr()[:]) == {"mine-patient01"}
    assert list(train["contrast"].asstr()[:]) == ["T1W", "T1W", "FLAIR", "FLAIR"]
    assert list(train["slice"][:]) == [0, 3, 0, 3]
    assert set(val["subject"].asstr()[:]) == {"mine-patient02"}
    source = open_source(tmp_path / "out/val/mine.h5")
    assert (source.kind, source.splits[0], len(source)) == ("images", "val", 2)


def test_subjects_are_drawn_without_patterns(tmp_path):
    for i in range(4):
        save(tmp_path / f"in/patient{i}/x_T1w.nii", head())
    subjects = [
        set(f["subject"].asstr()[:]) for f in stack(tmp_path / "in", tmp_path / "o").values()
    ]
    assert sorted(map(len, subjects)) == [1, 1, 2]
    assert len(set.union(*subjects)) == 4


def test_refusals_name_the_folder_the_pattern_and_the_file(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="empty: 0 NIfTI files in it"):
        find_volumes([tmp_path / "empty"])
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder"):
        find_volumes([tmp_path / "nowhere"])
    save(tmp_path / "in/patient01/x_T1w.nii", head())
    with pytest.raises(SourceError, match=r"val: no subject fits 'sub-9'.*patient01"):
        stack(tmp_path / "in", tmp_path / "out", val=["sub-9"])
    with pytest.raises(SourceError, match="fits patterns of val and of test"):
        stack(tmp_path / "in", tmp_path / "out", val=["p*"], test=["patient01"])
    save(tmp_path / "black/patient01/x_T1w.nii", 0 * head())
    with pytest.raises(SourceError, match=r"x_T1w\.nii: no slice with an object"):
        stack(tmp_path / "black", tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.h5"))
    plain = nibabel.Nifti1Image(head().astype(np.uint16), None)
    (tmp_path / "bare/patient01").mkdir(parents=True)
    nibabel.save(plain, tmp_path / "bare/patient01/x_T1w.nii")
    with pytest.raises(SourceError, match="states no orientation"):
        stack(tmp_path / "bare", tmp_path / "out")


def test_the_command_prints_the_stacks_and_replaces_nothing(tmp_path):
    save(tmp_path / "in/patient01/x_T1w.nii", head())
    arguments = ["images", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--name", "mine"]
    made = CliRunner().invoke(app, [*arguments, "--matrix", "48x40", "--pixel", "1.8"])
    assert made.output.strip().endswith("out/train/mine.h5: 4 slices")
    again = CliRunner().invoke(app, arguments)
    assert isinstance(again.exception, OSError)
    wrong = CliRunner().invoke(app, [*arguments, "--matrix", "48"])
    assert "matrix is '48'" in str(wrong.exception)
