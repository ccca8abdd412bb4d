"""Small scans with contradictory headers or broken channels: the object, or a clear word.

All show one object, known in patient coordinates. Slices at one place are compared.
"""

import h5py
import numpy as np
import pytest

from tests.helpers.commands import jrsr
from tests.helpers.paths import SHARED

CASES = SHARED / "cases"
pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not (CASES / "pf131.h5").exists(), reason="no ../shared/cases"),
]

CENTRE = "the header gives line 18 as centre, the energy peaks at line 12, which is used"
FLAT = "the encoded matrix has 2 along z, all lines are of one partition"
EXPECTED = {
    "pf131": ("ab50", 0.999, CENTRE),
    "discard": ("ab50", 0.999, ""),
    "pulseqz2": ("ab50", 0.999, FLAT),
    "nancoil": ("nannoise", 0.99, "channels with NaN or infinite samples are not used: 4"),
    "latin1": ("ab50", 0.999, ""),
    "nannoise": ("nancoil", 0.99, "1 of 4 noise lines have NaN or infinite samples"),
}


def images(capfd, name, folder):
    """Outcome of `jrsr recon`, and the first image of every place with its attributes."""
    out = folder / f"{name}.h5"
    outcome = jrsr(capfd, "recon", CASES / f"{name}.h5", "-o", out)
    with h5py.File(out) as file:
        group = file["dataset/image_1"]
        heads, pixels = group["header"][()], group["data"][()]
        meta = [a.decode() if isinstance(a, bytes) else str(a) for a in group["attributes"][()]]
    first = {}
    for head, image, text in zip(heads, pixels, meta, strict=True):
        place = tuple(np.round(head["position"], 1).tolist())
        first.setdefault(place, (np.squeeze(image), text))
    return outcome, first


@pytest.mark.parametrize("name", EXPECTED)
def test_the_object_is_there(name, tmp_path, capfd):
    sibling, least, note = EXPECTED[name]
    outcome, ours = images(capfd, name, tmp_path)
    _, theirs = images(capfd, sibling, tmp_path)
    assert outcome.code == 0 and note in outcome.err
    shared = ours.keys() & theirs.keys()
    assert shared
    for place in shared:
        correlation = np.corrcoef(ours[place][0].ravel(), theirs[place][0].ravel())[0, 1]
        assert correlation > least, (place, correlation)
        assert note in ours[place][1]


def test_a_copied_channel_changes_nothing(tmp_path, capfd):
    """Channel 4 is a copy: the image is that of the other five, and so are its residuals."""
    outcome, ours = images(capfd, "dup_s0", tmp_path)
    ((image, text),) = ours.values()
    note = "channels whose noise is that of others (copies) are not used: 4"
    assert outcome.code == 0 and note in outcome.err and note in text
    assert "exceeds the field of view" not in outcome.err
    assert "k-space residual" not in outcome.err and np.isfinite(image).all()


def test_a_repetition_that_was_broken_off_is_a_fallback_image(tmp_path, capfd):
    reason = "27 of 48 lines were measured: the scan broke off in this image"
    out = tmp_path / "out.h5"
    outcome = jrsr(capfd, "recon", CASES / "ab50.h5", "-o", out)
    assert outcome.code == 3 and f"image 4: {reason}" in outcome.err
    with h5py.File(out) as file:
        texts = file["dataset/image_1/attributes"][()]
    assert [reason in str(text) for text in texts] == [False, False, False, True]
    checked = jrsr(capfd, "check", CASES / "ab50.h5")
    assert f"1 fallback image: {reason}" in " ".join(checked.out.split())
