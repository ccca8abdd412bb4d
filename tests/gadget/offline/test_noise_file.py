"""`noise_file` of a scan whose receivers are listed in another order, or are others."""

import re

import pytest
import torch

from gadget.scan.stages import make_assembler
from gadget.settings import Settings
from jrsr_core.mrd.errors import UnsupportedScan
from jrsr_core.mrd.files.scan import write_scan
from jrsr_core.mrd.header.scan_header import parse_header
from jrsr_core.mrd.planning.plan import plan_scan
from tests.helpers.mrd_scans import copied, noise_samples, small_scan

NAMES = ("Head 1", "Head 2", "Neck", "Spine")


def labelled(xml, names, first=0):
    """The header with coil labels that count from `first`, listed backwards."""
    labels = "".join(
        f"<coilLabel><coilNumber>{first + i}</coilNumber><coilName>{name}</coilName></coilLabel>"
        for i, name in reversed([*enumerate(names)])
    )
    return re.sub(r"(<receiverChannels>\d+</receiverChannels>)", rf"\1{labels}", xml)


def whitening(tmp_path, order, noise_names, scan_names, first=0):
    """Whitening of a scan by a file whose channel i is channel `order[i]` of the scan."""
    _, _, xml, lines = small_scan(noise=noise_samples())
    xml = re.sub("<coilLabel>.*?</coilLabel>", "", xml)
    noise = copied(lines)
    noise.data[:] = [samples[order] for samples in noise.data]
    path = tmp_path / "noise.h5"
    write_scan(path, labelled(xml, noise_names, first) if noise_names else xml, noise)
    header = parse_header(labelled(xml, scan_names) if scan_names else xml)
    settings = Settings(model="cg-sense+sinc", noise_file=str(path))
    return make_assembler(lines, plan_scan(header, lines.heads), settings).whitening


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("order", [[3, 2, 1, 0], [1, 2, 0, 3]])
def test_the_order_of_the_coils_does_not_matter(order, first, tmp_path):
    expected = whitening(tmp_path, [0, 1, 2, 3], (), ())
    names = [NAMES[i] for i in order]
    found = whitening(tmp_path, order, names, NAMES, first)
    torch.testing.assert_close(found.matrix, expected.matrix)
    assert found.noise_std == pytest.approx(expected.noise_std)


def test_other_coils_are_refused_by_name(tmp_path):
    others = ("Head 2", "Body 1", "Head 1", "Body 2")
    with pytest.raises(UnsupportedScan, match="noise has coil 'Body 1', scan has 'Neck' instead"):
        whitening(tmp_path, [0, 1, 2, 3], others, NAMES)


@pytest.mark.parametrize(
    ("noise_names", "scan_names"),
    [((), NAMES), (NAMES[::-1], ()), (NAMES[:3], NAMES), (("Head",) * 4, NAMES)],
)
def test_without_a_name_for_every_channel_they_keep_their_order(noise_names, scan_names, tmp_path):
    expected = whitening(tmp_path, [0, 1, 2, 3], (), ())
    found = whitening(tmp_path, [0, 1, 2, 3], noise_names, scan_names)
    assert torch.equal(found.matrix, expected.matrix)
