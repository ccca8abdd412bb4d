"""Diffusion weightings of the scan header in DICOM and beside NIfTI, against dcm2niix."""

from pathlib import Path

import nibabel
import numpy as np
import pytest

from gadget.output.nifti.writer import NiftiWriter
from gadget.output.options import OutputOptions
from tests.helpers.other_images import SAGITTAL, an_image, classic, enhanced
from tests.helpers.processes import needs, run_process, tool

WEIGHTINGS = [
    (0, (0, 0, 0)),
    (1000, (1, 0, 0)),
    (1000, (0, 0.6, 0.8)),
    (500, (0.48, 0.6, -0.64)),
]
TILTED = ((0.8, 0.36, 0.48), (-0.6, 0.48, 0.64), (0, -0.8, 0.6))
LEFT_HANDED = ((1, 0, 0), (0, 1, 0), (0, 0, -1))


def header(weightings=WEIGHTINGS, dimension="set") -> str:
    found = "".join(
        f"<diffusion><gradientDirection><rl>{g[0]}</rl><ap>{g[1]}</ap><fh>{g[2]}</fh>"
        f"</gradientDirection><bvalue>{b}</bvalue></diffusion>"
        for b, g in weightings
    )
    named = f"<diffusionDimension>{dimension}</diffusionDimension>" if dimension else ""
    return (
        "<ismrmrdHeader><acquisitionSystemInformation><systemVendor>SIEMENS</systemVendor>"
        f"</acquisitionSystemInformation><sequenceParameters>{named}{found}</sequenceParameters>"
        "</ismrmrdHeader>"
    )


def images(n: int = len(WEIGHTINGS), counter: str = "set", **fields) -> list:
    fields["image_index"] = 0
    return [
        an_image(100.0 + 10 * i + s, place=6.0 * s, slice=s, **{counter: i}, **fields)
        for i in range(n)
        for s in range(2)
    ]


def write_nifti(path: Path, made: list, xml: str) -> None:
    with NiftiWriter(path, xml, OutputOptions(overwrite=True)) as writer:
        for image in made:
            writer.write(image)


def test_every_image_has_its_weighting(tmp_path):
    made = sorted(classic(tmp_path, images(), header()), key=lambda ds: ds.InstanceNumber)
    whole = enhanced(tmp_path, images(), header())
    (frames,) = (ds.PerFrameFunctionalGroupsSequence for ds in whole)
    assert whole[0].AcquisitionContrast == "DIFFUSION"
    assert len(made) == len(frames) == 8
    for i, (ds, frame) in enumerate(zip(made, frames, strict=True)):
        b_value, direction = WEIGHTINGS[i // 2]
        (group,) = frame.MRDiffusionSequence
        assert ds.DiffusionBValue == group.DiffusionBValue == b_value
        if b_value:
            (gradient,) = group.DiffusionGradientDirectionSequence
            assert group.DiffusionDirectionality == "DIRECTIONAL"
            assert ds.DiffusionGradientOrientation == pytest.approx(direction)
            assert gradient.DiffusionGradientOrientation == pytest.approx(direction)
        else:
            assert group.DiffusionDirectionality == "NONE"
            assert "DiffusionGradientOrientation" not in ds
            assert "DiffusionGradientDirectionSequence" not in group


@needs("dciodvfy")
@pytest.mark.parametrize("layout", [classic, enhanced])
def test_dicom3tools_find_no_error(tmp_path, layout):
    layout(tmp_path, images(), header())
    for path in (tmp_path / layout.__name__).iterdir():
        run = run_process(["dciodvfy", path])
        assert "Error" not in run.stderr and "MRImage" in run.stderr, run.stderr


UNKNOWN = {
    "no dimension": header(dimension=""),
    "averages": header(dimension="average"),
    "segments": header(dimension="segment"),
    "user": header(dimension="user_0"),
    "a negative b-value": header([(-1, (0, 0, 0)), *WEIGHTINGS[1:]]),
    "no number": header([("x", (0, 0, 0)), *WEIGHTINGS[1:]]),
    "no unit vector": header([(0, (0, 0, 0)), (1000, (3, 0, 0)), *WEIGHTINGS[2:]]),
    "not finite": header([(0, (0, 0, 0)), ("inf", (1, 0, 0)), *WEIGHTINGS[2:]]),
}


@pytest.mark.parametrize("why", UNKNOWN)
def test_a_weighting_that_is_unknown_is_not_invented(tmp_path, why):
    for ds in classic(tmp_path, images(), UNKNOWN[why]):
        assert "DiffusionBValue" not in ds
    for ds in enhanced(tmp_path, images(), UNKNOWN[why]):
        assert ds.AcquisitionContrast == "UNKNOWN"
        for frame in ds.PerFrameFunctionalGroupsSequence:
            assert "MRDiffusionSequence" not in frame
    write_nifti(tmp_path / "a.nii.gz", images(), UNKNOWN[why])
    assert not [*tmp_path.glob("*.bv*")]


def test_images_beyond_the_list_have_none(tmp_path):
    """A file of frames of which some have a weighting would not be valid."""
    made = sorted(classic(tmp_path, images(5), header()), key=lambda ds: ds.InstanceNumber)
    assert ["DiffusionBValue" in ds for ds in made] == [True] * 8 + [False] * 2
    (whole,) = enhanced(tmp_path, images(5), header())
    assert not any("MRDiffusionSequence" in f for f in whole.PerFrameFunctionalGroupsSequence)
    write_nifti(tmp_path / "a.nii.gz", images(5), header())
    assert not [*tmp_path.glob("*.bv*")]


def directions_in_space(nifti: Path) -> tuple[np.ndarray, np.ndarray]:
    """b-values and directions (R, A, S), as FSL reads them."""
    stem = nifti.name.partition(".")[0]
    b_values, vectors = (np.loadtxt(nifti.with_name(f"{stem}{e}")) for e in (".bval", ".bvec"))
    axes = nibabel.load(nifti).affine[:3, :3]
    axes = axes / np.linalg.norm(axes, axis=0)
    if np.linalg.det(axes) > 0:
        vectors[0] *= -1
    return b_values, axes @ vectors


@needs("dcm2niix")
@pytest.mark.parametrize("counter", ["set", "repetition", "contrast"])
@pytest.mark.parametrize("axes", [None, SAGITTAL, TILTED, LEFT_HANDED])
def test_the_files_beside_nifti_agree_with_dcm2niix(tmp_path, axes, counter):
    fields = {} if axes is None else {"axes": axes}
    made, xml = images(counter=counter, **fields), header(dimension=counter)
    write_nifti(tmp_path / "ours.nii.gz", made, xml)
    b_values, directions = directions_in_space(tmp_path / "ours.nii.gz")
    assert b_values.tolist() == [b for b, _ in WEIGHTINGS]
    wanted = np.array([g for _, g in WEIGHTINGS]).T * [[-1], [-1], [1]]
    np.testing.assert_allclose(directions, wanted, atol=1e-5)
    if counter == "contrast":
        return  # dcm2niix writes every echo to a file of its own.
    classic(tmp_path, made, xml)
    (tmp_path / "theirs").mkdir()
    target = ["-f", "x", "-o", tmp_path / "theirs", tmp_path / "classic"]
    run_process([tool("dcm2niix"), *target], check=True)
    their_values, their_directions = directions_in_space(tmp_path / "theirs" / "x.nii")
    assert their_values.tolist() == b_values.tolist()
    np.testing.assert_allclose(their_directions, directions, atol=1e-4)


@pytest.mark.parametrize("ending", [".nii.gz", ".nii"])
def test_the_files_belong_to_their_image(tmp_path, ending):
    """Those of an earlier image of JRSR would describe the new one wrongly."""
    path = tmp_path / f"a{ending}"
    both = [*images(), *images(image_series_index=2)]
    names = [f"a{end}" for end in (".bval", ".bvec", ending)]
    further = [name.replace("a", "a_series2", 1) for name in names]
    write_nifti(path, both, header())
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*names, *further])
    write_nifti(path, images(), header())
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(names)
    write_nifti(path, images(), "<ismrmrdHeader/>")
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("name", ["a.bval", "a.bvec", "a_series2.bval"])
def test_files_of_others_are_not_replaced(tmp_path, name):
    (tmp_path / name).write_text("0")
    with pytest.raises(FileExistsError, match=name):
        NiftiWriter(tmp_path / "a.nii.gz", header())
    NiftiWriter(tmp_path / "a.nii.gz", "<ismrmrdHeader/>")
    assert (tmp_path / name).read_text() == "0"


def test_files_of_others_beside_an_image_of_ours_stay(tmp_path):
    """Weightings written by hand beside a scan whose header has none."""
    path, plain = tmp_path / "a.nii.gz", "<ismrmrdHeader/>"
    write_nifti(path, images(), plain)
    (tmp_path / "a.bval").write_text("0 1000")
    write_nifti(path, images(), plain)
    assert (tmp_path / "a.bval").read_text() == "0 1000"
