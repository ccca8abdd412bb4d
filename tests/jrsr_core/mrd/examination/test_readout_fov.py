"""Readouts with more samples than the image, over the same field of view."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from jrsr_core.mrd.header.scan_header import parse_header
from jrsr_core.mrd.lines.acquired import LineList
from jrsr_core.physics.fourier import fft2c
from tests.helpers.mrd_scans import assembled, close, copied, scan_of_kspace, small_scan
from tests.helpers.synthetic import coil_profiles


def stated(xml, **changes):
    header = parse_header(xml)
    return replace(header, encodings=(replace(header.encodings[0], **changes),))


def test_oversampling_in_the_matrix_alone_is_found():
    """The object lies in the middle half of 128 samples; both fields of view are stated equal."""
    _, _, xml, lines = small_scan()
    encoding = parse_header(xml).encodings[0]
    assert encoding.encoding_fov_mm[2] == 2 * encoding.recon_fov_mm[2]
    (expected,) = assembled(xml, lines)
    header = stated(xml, encoding_fov_mm=encoding.recon_fov_mm)
    (found,) = assembled(header, lines)
    close(found.kspace, expected.kspace)
    assert found.geometry == expected.geometry
    (note,) = found.notes
    assert note.startswith("128 samples are encoded along x and 64 wanted, both over 220 mm")
    assert "taken as oversampled, over 440 mm" in note


@pytest.mark.parametrize("signal", [1.0, 0.0])
def test_a_fine_readout_that_is_filled_or_empty_keeps_its_field_of_view(signal):
    ny, nx = 48, 128
    y, x = (torch.arange(n) / n - 0.5 for n in (ny, nx))
    image = ((x / 0.48) ** 2 + (y[:, None] / 0.4) ** 2 < 1).float()
    kspace = fft2c(coil_profiles(4, (ny, nx)) * image)[None]
    xml, lines = scan_of_kspace(kspace, torch.ones(ny, nx))
    lines = LineList(lines.heads, [signal * d for d in copied(lines).data])
    encoding = parse_header(xml).encodings[0]
    header = stated(
        xml,
        encoding_matrix=(1, ny, nx),
        encoding_fov_mm=encoding.recon_fov_mm,
        recon_matrix=(1, ny, nx // 2),
    )
    half = nx // 2
    lines = LineList(lines.heads, [_without_oversampling(d) for d in lines.data])
    lines.heads["number_of_samples"], lines.heads["center_sample"] = nx, half
    (found,) = assembled(header, lines)
    assert found.geometry.fov_mm == encoding.recon_fov_mm
    (note,) = [n for n in found.notes if "along x" in n]
    assert "encodedSpace/fieldOfView_mm/x has to be 440" in note


def _without_oversampling(line):
    """Every second sample of an oversampled readout covers half of its field of view."""
    return np.ascontiguousarray(line[:, ::2])
