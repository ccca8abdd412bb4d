"""How NIfTI files of JRSR are marked: fallback images, missing slices, files beside them."""

import gzip
import struct

import ismrmrd
import pytest

from gadget.output.formats import is_finished, missing_files
from gadget.output.nifti.marks import made_by
from gadget.output.nifti.writer import NiftiWriter
from gadget.output.options import OutputOptions
from tests.gadget.output.test_diffusion import header, images, write_nifti
from tests.helpers.other_images import an_image

HASH = "0123456789abcdef"
NETWORK = {"JRSR_model": "jrsr-dc", "JRSR_weights_sha256": HASH}
FALLBACK = {"JRSR_model": "cg-sense+sinc", "JRSR_fallback": "acs is 2 x 2"}
PLAIN = "<ismrmrdHeader/>"


def field(path, layout: str, start: int):
    """A field of the header from this byte, where the NIfTI-1 standard places it."""
    return struct.unpack_from(layout, gzip.decompress(path.read_bytes()), start)[0]


def descrip(path) -> str:
    return field(path, "80s", 148).rstrip(b"\0").decode()


def slices(metas) -> list:
    return [
        an_image(1.0 + i, place=6.0 * i, slice=i, image_index=i + 1, meta=meta)
        for i, meta in enumerate(metas)
    ]


@pytest.mark.parametrize(
    ("metas", "expected"),
    [
        ([NETWORK] * 3, "JRSR jrsr-dc 0123456789ab"),
        ([FALLBACK, NETWORK, NETWORK], "JRSR jrsr-dc 0123456789ab, 1 of 3 FALLBACK"),
        ([FALLBACK] * 2, "JRSR cg-sense+sinc, 2 of 2 FALLBACK"),
        ([{}], "JRSR"),
        ([{"JRSR_model": "modèle"}], "JRSR mod?le"),
        (
            [FALLBACK, NETWORK | {"JRSR_model": 90 * "x"}],
            f"JRSR {44 * 'x'} 0123456789ab, 1 of 2 FALLBACK",
        ),
    ],
)
def test_the_description_names_model_and_fallback_images(tmp_path, metas, expected):
    write_nifti(tmp_path / "a.nii.gz", slices(metas), PLAIN)
    assert descrip(tmp_path / "a.nii.gz") == expected and len(expected) <= 79


PHASE = {"image_type": ismrmrd.IMTYPE_PHASE}


@pytest.mark.parametrize(
    ("meta", "fields", "expected"),
    [
        (NETWORK, {}, ""),
        (NETWORK | {"JRSR_map": "hallucination"}, {}, "hallucination"),
        (NETWORK, PHASE, "phase"),
        ({"JRSR_map": "sixteen_letters_"}, {}, "sixteen_letters"),
    ],
)
def test_the_header_names_maps_and_phases(tmp_path, meta, fields, expected):
    path = tmp_path / "a.nii.gz"
    write_nifti(path, [an_image(meta=meta, **fields)], PLAIN)
    assert field(path, "16s", 328).rstrip(b"\0").decode() == expected


def test_the_header_tells_the_readout_from_the_phase_encode(tmp_path):
    write_nifti(tmp_path / "a.nii.gz", slices([{}] * 2), PLAIN)
    assert field(tmp_path / "a.nii.gz", "B", 39) == 1 | 2 << 2 | 3 << 4


def test_volumes_that_lack_slices_are_marked(tmp_path):
    repeated = [
        an_image(place=6.0 * s, slice=s, repetition=r, image_index=1 + s + 2 * r, meta=NETWORK)
        for r, s in ((0, 0), (0, 1), (1, 0))
    ]
    write_nifti(tmp_path / "a.nii.gz", repeated, PLAIN)
    assert descrip(tmp_path / "a.nii.gz") == "JRSR jrsr-dc 0123456789ab"
    (further,) = tmp_path.glob("a_series*")
    assert descrip(further) == "JRSR jrsr-dc 0123456789ab, INCOMPLETE"


@pytest.mark.parametrize("endings", [(".nii", ".nii.gz"), (".nii.gz", ".nii")])
def test_weightings_of_the_image_of_the_other_ending_stay(tmp_path, capfd, endings):
    """head.nii and head.nii.gz have one head.bval."""
    one, other = (tmp_path / f"head{ending}" for ending in endings)
    write_nifti(one, images(), header())
    write_nifti(other, images(), header())
    weightings = (tmp_path / "head.bval").read_text()
    assert not capfd.readouterr().err
    write_nifti(one, images(), PLAIN)
    assert (tmp_path / "head.bval").read_text() == weightings
    assert (tmp_path / "head.bvec").exists()
    assert capfd.readouterr().err == (
        f"jrsr: {one.name}: warning: the diffusion weightings of another image have its name "
        "(head.bval, head.bvec): rename the image, or these files\n"
    )
    write_nifti(other, images(), PLAIN)
    assert not [*tmp_path.glob("head.bv*")]
    assert not capfd.readouterr().err


def test_weightings_of_another_program_beside_an_image_are_named(tmp_path, capfd):
    (tmp_path / "a.bval").write_text("0 1000")
    with NiftiWriter(tmp_path / "a.nii.gz", PLAIN, OutputOptions()) as writer:
        writer.write(an_image())
    words = "a.nii.gz: warning: the diffusion weightings of another image have its name (a.bval)"
    assert words in capfd.readouterr().err
    assert (tmp_path / "a.bval").read_text() == "0 1000"


@pytest.mark.parametrize("missing", ["a.bval", "a.bvec", "a_series2.bvec"])
def test_weightings_that_were_deleted_are_known(tmp_path, missing):
    path, file = tmp_path / "a.nii.gz", tmp_path / missing
    write_nifti(path, [*images(), *images(image_series_index=2)], header())
    assert is_finished("nifti", path) and not missing_files("nifti", path)
    file.unlink()
    assert is_finished("nifti", path) and missing_files("nifti", path) == [file]
    write_nifti(path, images(), PLAIN)
    assert not missing_files("nifti", path), "an image without weightings needs none"


def test_planes_of_a_fallback_volume_are_counted(tmp_path):
    volume = an_image(shape=(40, 6, 8), meta=FALLBACK)
    write_nifti(tmp_path / "a.nii.gz", [volume], PLAIN)
    assert descrip(tmp_path / "a.nii.gz") == "JRSR cg-sense+sinc, 40 of 40 FALLBACK planes"


@pytest.mark.parametrize(
    ("metas", "expected"),
    [
        ([NETWORK] * 3, (False, ("jrsr-dc", HASH[:12]))),
        ([FALLBACK, NETWORK], (True, ("jrsr-dc", HASH[:12]))),
        ([FALLBACK] * 11, (True, None)),
        ([{"JRSR_model": "cg-sense+sinc"}], (False, ("cg-sense+sinc", ""))),
        ([NETWORK | {"JRSR_model": 90 * "x"}], (False, None)),
        ([{}], (False, None)),
    ],
)
def test_the_description_is_read_again(tmp_path, metas, expected):
    """A fallback image is not by the model of the run, and a cut name is none."""
    write_nifti(tmp_path / "a.nii.gz", slices(metas), PLAIN)
    assert made_by(tmp_path / "a.nii.gz") == expected
