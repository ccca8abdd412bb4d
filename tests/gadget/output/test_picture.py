"""Which images of a scan a picture shows."""

from gadget.output.picture import pick_tiles


def test_tiles_are_spread_over_long_scans():
    assert pick_tiles(3) == {0, 1, 2}
    picked = sorted(pick_tiles(1000))
    assert len(picked) == 64 and picked[0] == 0 and picked[-1] == 999
