"""What made the images of a finished output, as its own headers state it."""

import shutil

import pytest

from gadget.compute.maker import Maker
from gadget.output.dicom.writer import DicomWriter, EnhancedWriter
from gadget.output.nifti.writer import NiftiWriter
from gadget.output.options import DEFAULTS
from gadget.output.provenance import Provenance, provenance
from gadget.output.report.marks import fallback_mark
from tests.helpers.other_images import an_image

HASH = "0123456789ab"
NETWORK = {"JRSR_model": "jrsr-dc", "JRSR_weights_sha256": HASH, "JRSR_acquired_matrix": [6, 8]}
FALLBACK = {"JRSR_model": "cg-sense+sinc", "JRSR_fallback": "acs is 2 x 2"}
FOREIGN = {"Their_text": "FALLBACK"}
WRITERS = {
    "dicom": (DicomWriter, "out_dicom"),
    "enhanced": (EnhancedWriter, "out.dcm"),
    "nifti": (NiftiWriter, "out.nii.gz"),
}


def write(folder, name, metas, **fields):
    writer_of, file = WRITERS[name]
    with writer_of(folder / file, "<ismrmrdHeader/>", DEFAULTS) as writer:
        for i, meta in enumerate(metas):
            image = an_image(1.0 + i, place=5.0 * i, image_index=i + 1, meta=meta, **fields)
            writer.write(image)
    return folder / file


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize(
    ("metas", "has_fallback", "makers"),
    [
        ([NETWORK] * 3, False, {Maker("jrsr-dc", HASH)}),
        ([FALLBACK, NETWORK], True, {Maker("jrsr-dc", HASH)}),
        ([FALLBACK] * 2, True, set()),
        ([NETWORK | {"JRSR_weights_sha256": ""}], False, {Maker("jrsr-dc")}),
        ([FOREIGN], False, set()),
    ],
)
def test_what_a_writer_states_is_read_again(tmp_path, name, metas, has_fallback, makers):
    path = write(tmp_path, name, metas)
    assert provenance(name, path) == Provenance(has_fallback, frozenset(makers))


@pytest.mark.parametrize(("name", "ending"), [("enhanced", ".dcm"), ("nifti", ".nii.gz")])
@pytest.mark.parametrize(
    ("mark", "counts"), [("_series002", True), ("_series2_old", False), ("_seriesX", False)]
)
def test_only_files_that_the_writer_names_so_belong_to_an_output(
    tmp_path, name, ending, mark, counts
):
    """The copy that somebody made of a further file is no part of a finished output."""
    path = write(tmp_path, name, [NETWORK])
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(write(other, name, [FALLBACK]), tmp_path / f"out{mark}{ending}")
    assert provenance(name, path).has_fallback_images == counts


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f'<div class="status bad">{fallback_mark(2, 30)}</div>', True),
        (f"<li>a note on {fallback_mark(2, 30)}</li>", False),
        ("No warnings", False),
    ],
)
def test_a_report_counts_fallback_images(tmp_path, text, expected):
    (tmp_path / "out.html").write_text(text)
    assert provenance("report", tmp_path / "out.html") == Provenance(expected)
