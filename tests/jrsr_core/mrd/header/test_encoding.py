"""Numbers that follow from an encoding space."""

from dataclasses import replace

import pytest

from jrsr_core.mrd.header.encoding import Encoding


def encoding(n_encoded: int, n: int, fov_x: float = 200.0) -> Encoding:
    encoded_fov = (5.0, 200.0, fov_x * n_encoded / n)
    return Encoding((1, 8, n_encoded), (1, 8, n), encoded_fov, (5.0, 200.0, fov_x))


def test_readout_size_follows_the_field_of_view():
    assert encoding(256, 128).readout_size == 128
    assert encoding(63, 63).readout_size == 63


@pytest.mark.parametrize(("n_encoded", "n"), [(256, 128), (63, 63), (96, 64)])
def test_pixels_survive_the_removal_of_oversampling(n_encoded, n):
    space = encoding(n_encoded, n)
    z, y, x = space.acquired_fov_mm
    assert (z, y) == space.encoding_fov_mm[:2]
    assert x / space.readout_size == pytest.approx(space.encoding_fov_mm[2] / n_encoded)


def test_a_changed_encoding_has_numbers_of_its_own():
    space = encoding(64, 32)
    assert (space.readout_size, space.grid.center_line) == (32, 4)
    changed = replace(space, encoding_matrix=(1, 8, 48), center_line=3)
    assert (changed.readout_size, changed.grid.center_line) == (24, 3)
    assert space == encoding(64, 32) and hash(space) == hash(encoding(64, 32))


def test_low_resolution_grid_of_a_readout_at_high_resolution():
    coarse, fine = encoding(8, 8), encoding(16, 16)
    assert (coarse.lr_readout_size, coarse.lr_scale) == (None, 1.0)
    assert (fine.lr_readout_size, fine.lr_scale) == (8, 0.5**0.5)
    assert replace(fine, encoding_matrix=(2, 8, 16)).lr_readout_size is None
