"""The lines that calibrate a slice: those of one frame, or of frames that are interleaved."""

import numpy as np
import pytest
import torch

from jrsr_core.calibration.settings import CalibrationSettings
from jrsr_core.mrd.header.scan_header import parse_header
from jrsr_core.mrd.lines.acquired import CALIBRATION_AND_IMAGING, flag_bits
from jrsr_core.reconstruction.load import load_model
from tests.helpers.mrd_scans import (
    assembled,
    close,
    copied,
    joined,
    select,
    small_scan,
    with_encoding,
)


def interleaved_frames(lines, acceleration, flag=CALIBRATION_AND_IMAGING, axis="repetition"):
    parts = []
    for frame in range(acceleration):
        part = select(lines, np.arange(frame, 48, acceleration))
        part.heads["idx"][axis] = frame
        part.heads["flags"] |= np.uint64(flag_bits(flag))
        parts.append(part)
    return joined(*parts)


@pytest.mark.parametrize("mode", ["interleaved", "other"])
@pytest.mark.parametrize("axis", ["repetition", "phase"])
def test_interleaved_calibration_is_the_average_of_the_frames(mode, axis):
    kspace, _, xml, lines = small_scan()
    frames = interleaved_frames(lines, 4, axis=axis)
    slices = assembled(with_encoding(xml, calibration_mode=mode), frames)
    assert len(slices) == 4
    for number, s in enumerate(slices):
        assert s.mask[:, 0].nonzero().flatten().tolist() == list(range(number, 48, 4))
        assert s.acs.shape[1] == 40 and s.acs is slices[0].acs
    close(slices[0].acs, kspace[0][:, 4:44])


def test_contrasts_are_never_mixed_in_the_calibration():
    """Their phases differ, and an average would cancel: the best contrast calibrates all."""
    kspace, _, xml, lines = small_scan(acceleration=2, n_acs=16)
    inverted = copied(lines)
    inverted.heads["idx"]["contrast"] = 1
    for i, samples in enumerate(inverted.data):
        inverted.data[i] = -samples
    slices = assembled(parse_header(xml), joined(lines, inverted))
    close(slices[0].acs, kspace[0][:, 16:33])
    assert slices[1].acs is slices[0].acs and slices[0].is_acs_shared


def test_maps_are_estimated_once_for_all_frames(monkeypatch):
    _, _, xml, lines = small_scan(acceleration=2, n_acs=16)
    second = copied(lines)
    second.heads["idx"]["contrast"] = 1
    calls = []
    import jrsr_core.reconstruction.slices as pipeline

    estimate = pipeline.calibrate_coils
    monkeypatch.setattr(pipeline, "calibrate_coils", lambda *a: calls.append(1) or estimate(*a))
    recon = load_model("cg-sense+sinc", calibration=CalibrationSettings(kernel_width=4))
    first, again = (recon(s) for s in assembled(parse_header(xml), joined(lines, second)))
    assert len(calls) == 1
    assert torch.equal(first.image, again.image)
