"""The header parser: what it reads, what it forgives, what it refuses."""

import pytest

from jrsr_core.mrd.errors import BadScan
from jrsr_core.mrd.header.scan_header import DEFAULT_NOISE_BANDWIDTH, parse_header

SPACE = (
    "<matrixSize><x>{x}</x><y>96</y><z>1</z></matrixSize>"
    "<fieldOfView_mm><x>{fov}</x><y>200.5</y><z>4</z></fieldOfView_mm>"
)
ENCODING = (
    f"<encodedSpace>{SPACE.format(x=256, fov=440)}</encodedSpace>"
    f"<reconSpace>{SPACE.format(x=128, fov=220)}</reconSpace>"
)


def header(encoding: str = ENCODING, rest: str = "", namespace: bool = True) -> str:
    space = ' xmlns="http://www.ismrm.org/ISMRMRD"' if namespace else ""
    return f"<ismrmrdHeader{space}>{rest}<encoding>{encoding}</encoding></ismrmrdHeader>"


@pytest.mark.parametrize("namespace", [True, False])
def test_sizes_are_ordered_like_array_axes(namespace):
    encoding = parse_header(header(namespace=namespace)).encodings[0]
    assert encoding.encoding_matrix == (1, 96, 256)
    assert encoding.recon_matrix == (1, 96, 128)
    assert encoding.encoding_fov_mm == (4.0, 200.5, 440.0)
    assert encoding.readout_oversampling == 2


def test_missing_sections_have_defaults():
    parsed = parse_header(header())
    encoding = parsed.encodings[0]
    assert (encoding.center_line, encoding.line_limits) == (None, None)
    assert encoding.acceleration == (1, 1)
    assert (encoding.trajectory, encoding.calibration_mode) == ("cartesian", "none")
    assert parsed.noise_bandwidth == DEFAULT_NOISE_BANDWIDTH
    assert parsed.n_coils is None


def test_everything_present_is_read():
    limits = (
        "<encodingLimits><kspace_encoding_step_1><minimum>3</minimum><maximum>90</maximum>"
        "<center>47</center></kspace_encoding_step_1></encodingLimits>"
        "<trajectory>CARTESIAN</trajectory><parallelImaging><accelerationFactor>"
        "<kspace_encoding_step_1>3</kspace_encoding_step_1></accelerationFactor>"
        "<calibrationMode>Embedded</calibrationMode>"
        "<multiband><multiband_factor>3</multiband_factor></multiband></parallelImaging>"
    )
    rest = (
        "<measurementInformation><protocolName>T2 Müller</protocolName></measurementInformation>"
        "<acquisitionSystemInformation><systemFieldStrength_T>2.89</systemFieldStrength_T>"
        "<relativeReceiverNoiseBandwidth>0.79</relativeReceiverNoiseBandwidth>"
        "<receiverChannels>16</receiverChannels></acquisitionSystemInformation>"
        "<sequenceParameters><TR>500</TR><TE>10</TE><TE>20</TE></sequenceParameters>"
    )
    parsed = parse_header(header(ENCODING + limits, rest).encode())
    encoding = parsed.encodings[0]
    assert (encoding.center_line, encoding.line_limits) == (47, (3, 90))
    assert (encoding.acceleration, encoding.multiband_factor) == ((3, 1), 3)
    assert (encoding.trajectory, encoding.calibration_mode) == ("cartesian", "embedded")
    assert parsed.protocol_name == "T2 Müller"
    assert (parsed.n_coils, parsed.noise_bandwidth, parsed.te_ms) == (16, 0.79, (10.0, 20.0))


def test_unknown_elements_and_a_trailing_nul_do_no_harm():
    xml = header(rest="<vendorThing a='1'><x/></vendorThing><vendorThing/>")
    assert parse_header(xml + "\0").encodings == parse_header(header()).encodings


@pytest.mark.parametrize("echoes", ["<TE></TE>", "<TE>10</TE><TE>long</TE>"])
def test_an_echo_time_that_is_none_stops_no_scan(echoes):
    xml = header(rest=f"<sequenceParameters><TR>500</TR>{echoes}</sequenceParameters>")
    parsed = parse_header(xml)
    # They go by the number of the contrast: with a gap none can be told.
    assert (parsed.te_ms, parsed.tr_ms) == ((), (500.0,))


def test_declared_encoding_of_another_name():
    xml = '<?xml version="1.0" encoding="UTF-8"?>' + header()
    assert parse_header(xml).encodings == parse_header(header()).encodings


@pytest.mark.parametrize(
    ("xml", "words"),
    [
        ("", "not readable as XML"),
        ("<ismrmrdHeader><encoding>", "not readable as XML"),
        ("<html/>", "<html>"),
        ("<ismrmrdHeader/>", "encoding is missing"),
        (header(ENCODING.replace("<y>96</y>", "")), "encodedSpace/matrixSize/y is missing"),
        (header(ENCODING.replace("<y>96</y>", "<y>0</y>")), "matrixSize/y is 0"),
        (header(ENCODING.replace("440", "wide")), "fieldOfView_mm/x is 'wide'"),
        (header(ENCODING.replace("440", "nan")), "fieldOfView_mm/x is 'nan'"),
        (header(ENCODING.replace("440", "-1")), "fieldOfView_mm/x is -1"),
        (header(ENCODING.replace("440", "1,000,0")), "fieldOfView_mm/x is '1,000,0'"),
        (header(ENCODING.replace("<z>4</z>", "<z>0</z>")), "fieldOfView_mm/z is 0"),
        (
            header(ENCODING.replace("440", "0.44").replace("200.5", "0.2005")),
            "0.44 x 0.2005 mm: is it in metres. Write it in mm, as 440 x 200.5",
        ),
    ],
)
def test_errors_name_the_element_on_one_line(xml, words):
    with pytest.raises(BadScan, match=words) as caught:
        parse_header(xml)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", ["-1", "1e+09", "1e-09", "79.3"])
def test_a_noise_bandwidth_that_cannot_be_is_not_known(value):
    """It stops no scan: most have no noise lines."""
    note = f"relativeReceiverNoiseBandwidth is {value}, expected 0.1 to 2: 0.793 is used"
    assert bandwidth_of(value) == (DEFAULT_NOISE_BANDWIDTH, note)


def test_a_noise_bandwidth_of_0_is_not_known():
    assert bandwidth_of("0") == (DEFAULT_NOISE_BANDWIDTH, "")


@pytest.mark.parametrize("value", ["0.1", "1", "2"])
def test_a_noise_bandwidth_in_range_is_used(value):
    assert bandwidth_of(value) == (float(value), "")


def bandwidth_of(value):
    name = "relativeReceiverNoiseBandwidth"
    rest = f"<acquisitionSystemInformation><{name}>{value}</{name}></acquisitionSystemInformation>"
    parsed = parse_header(header(rest=rest))
    return parsed.noise_bandwidth, parsed.noise_bandwidth_note


def test_a_decimal_comma_is_a_decimal_point():
    system = "<systemFieldStrength_T>2,89362</systemFieldStrength_T>"
    rest = f"<acquisitionSystemInformation>{system}</acquisitionSystemInformation>"
    assert parse_header(header(rest=rest)).field_strength_t == 2.89362


@pytest.mark.parametrize("space", ["encodedSpace", "reconSpace"])
@pytest.mark.parametrize("text", ["<z>0</z>", ""])
def test_one_thickness_stands_for_both(space, text):
    before, name, after = ENCODING.partition(f"<{space}>")
    head, end, tail = after.partition(f"</{space}>")
    changed = head.replace("<fieldOfView_mm>", "<fieldOfView_mm>").replace("<z>4</z>", text)
    encoding = parse_header(header(before + name + changed + end + tail)).encodings[0]
    assert (encoding.encoding_fov_mm[0], encoding.recon_fov_mm[0]) == (4.0, 4.0)


def coil_labels(*labels: tuple[object, str]) -> str:
    system = "".join(
        f"<coilLabel><coilNumber>{number}</coilNumber><coilName>{name}</coilName></coilLabel>"
        for number, name in labels
    )
    return f"<acquisitionSystemInformation>{system}</acquisitionSystemInformation>"


def test_coil_names_are_in_the_order_of_their_numbers():
    for labels in (((0, "a"), (1, "b"), (2, "c")), ((7, "c"), (1, "a"), (2, "b"))):
        assert parse_header(header(rest=coil_labels(*labels))).coil_names == ("a", "b", "c")


@pytest.mark.parametrize(
    "labels",
    [
        (),
        ((0, "a"), (1, "a")),
        ((0, "a"), (0, "b")),
        ((0, "a"), (1, "")),
        ((0, "a"), ("", "b")),
        ((0, "a"), ("one", "b")),
    ],
)
def test_ambiguous_coil_labels_are_none(labels):
    assert parse_header(header(rest=coil_labels(*labels))).coil_names == ()
