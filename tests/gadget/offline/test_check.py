"""`jrsr check` states what `jrsr recon` does with noise lines, and with too few coils."""

import json
import re

import h5py
import numpy as np
import pytest

from jrsr_core.mrd.files.scan import write_scan
from jrsr_core.mrd.lines.acquired import NOISE, has_flag
from tests.helpers.commands import FAST, jrsr, write_small_scan
from tests.helpers.mrd_scans import copied, noise_samples, select, small_scan

SIGNAL = (
    "noise lines hold signal (their power is not even in time or frequency): the coils are not "
    "whitened, the noise level is estimated"
)
BANDWIDTH = "relativeReceiverNoiseBandwidth is 79.3, expected 0.1 to 2: 0.793 is used"
WHITENED = "from the noise lines"
ESTIMATED = "no noise lines, noise level estimated"


def rows_of(capfd, path, *arguments):
    """Rows of the table of `check`, by name."""
    checked = jrsr(capfd, "check", path, *FAST, *arguments, "--json")
    assert checked.code == 0, checked
    return dict(json.loads(checked.out)[0]["rows"])


def with_echoes(lines):
    """The lines with noise lines that hold an echo."""
    lines = copied(lines)
    for i in np.flatnonzero(has_flag(lines.heads, NOISE)):
        lines.data[i] = np.zeros_like(lines.data[i])
        lines.data[i][:, lines.data[i].shape[1] // 2] = 1
    return lines


def with_bandwidth(xml, value):
    name = "relativeReceiverNoiseBandwidth"
    xml = re.sub(f"<{name}>.*?</{name}>", "", xml)
    return re.sub("(</receiverChannels>)", rf"\1<{name}>{value}</{name}>", xml)


def write_kind(folder, kind, xml, lines):
    """Write the noise as lines of the scan, as another group, or as another file.

    Returns the scan, the arguments that read it, and what `check` calls the noise.
    """
    scan, is_noise = folder / "scan.h5", has_flag(lines.heads, NOISE)
    if kind == "own":
        write_scan(scan, xml, lines)
        return scan, (), WHITENED
    parts = {"noise": np.flatnonzero(is_noise), "dataset": np.flatnonzero(~is_noise)}
    for name, indices in parts.items():
        write_scan(folder / f"{name}.h5", xml, select(lines, indices))
    if kind == "file":
        noise = folder / "noise.h5"
        return folder / "dataset.h5", ("--set", f"noise_file={noise}"), f"{WHITENED} of {noise}"
    with h5py.File(scan, "w") as target:
        for name in parts:
            with h5py.File(folder / f"{name}.h5") as part:
                part.copy("dataset", target, name)
    return scan, (), f"{WHITENED} of noise"


@pytest.mark.parametrize("change", ["nothing", "echoes", "bandwidth"])
@pytest.mark.parametrize("kind", ["own", "group", "file"])
def test_the_whitening_is_that_of_the_reconstruction(kind, change, tmp_path, capfd):
    _, _, xml, lines = small_scan(noise=noise_samples())
    lines = with_echoes(lines) if change == "echoes" else lines
    xml = with_bandwidth(xml, 79.3) if change == "bandwidth" else xml
    scan, arguments, source = write_kind(tmp_path, kind, xml, lines)
    expected = {"nothing": source, "echoes": SIGNAL, "bandwidth": f"{source}; {BANDWIDTH}"}
    assert rows_of(capfd, scan, *arguments)["whitening"] == expected[change]
    made = jrsr(capfd, "recon", scan, *FAST, *arguments)
    assert made.code == 0, made
    assert (SIGNAL in made.err, BANDWIDTH in made.err) == (
        change == "echoes",
        change == "bandwidth",
    )


@pytest.mark.parametrize("is_whitened", [True, False])
def test_an_impossible_bandwidth_matters_to_noise_lines_only(is_whitened, tmp_path, capfd):
    noise = None if is_whitened else noise_samples()
    _, _, xml, lines = small_scan(noise=noise)
    write_scan(tmp_path / "s.h5", with_bandwidth(xml, 79.3), lines)
    setting = () if is_whitened else ("--set", "prewhiten=false")
    rows = rows_of(capfd, tmp_path / "s.h5", *setting)
    assert rows["whitening"] == (ESTIMATED if is_whitened else "off")
    assert "Bandwidth" not in jrsr(capfd, "recon", tmp_path / "s.h5", *FAST, *setting).err


@pytest.mark.parametrize(
    ("n_coils", "code", "words"),
    [(3, 2, "noise has 3 channels, scan has 4"), (None, 2, "noise.h5: no such file")],
)
def test_a_noise_file_that_cannot_be_used_stops_both(n_coils, code, words, tmp_path, capfd):
    _, _, xml, lines = small_scan()
    write_scan(tmp_path / "s.h5", xml, lines)
    noise = tmp_path / "noise.h5"
    if n_coils:
        _, _, xml, lines = small_scan(n_coils=n_coils, noise=noise_samples(n_coils))
        write_scan(noise, xml, lines)
    for command in ("check", "recon"):
        outcome = jrsr(capfd, command, tmp_path / "s.h5", *FAST, "--set", f"noise_file={noise}")
        assert outcome.code == code and words in outcome.err, outcome


@pytest.mark.parametrize(
    ("n_coils", "n_virtual", "n_broken"), [(4, 1, 0), (2, 8, 1), (2, 8, 0), (4, 2, 2)]
)
def test_the_coils_that_count_are_those_of_the_model(n_coils, n_virtual, n_broken, tmp_path, capfd):
    """Acceleration 2 is more than one coil can tell apart, and less than two can."""
    _, _, xml, lines = small_scan(n_coils=n_coils, acceleration=4)
    for data in lines.data:
        data[:n_broken] = np.nan
    write_scan(tmp_path / "s.h5", xml, lines)
    setting = ("--set", f"n_virtual_coils={n_virtual}")
    n_used = min(n_coils - n_broken, n_virtual)
    rows = rows_of(capfd, tmp_path / "s.h5", *setting)
    figure, _, warning = rows["acceleration"].partition("; ")
    assert figure == "2.00" and bool(warning) == (n_used == 1)
    assert f"{n_used} virtual coil" in rows["would do"]
    made = jrsr(capfd, "recon", tmp_path / "s.h5", *FAST, *setting)
    assert ("cannot be separated" in made.err) == (n_used == 1) and warning in made.err


def test_partial_fourier_of_one_coil_is_acceleration_that_needs_no_coils(tmp_path, capfd):
    def without_an_end(xml, lines):
        return xml, select(lines, np.flatnonzero(lines.heads["idx"]["kspace_encode_step_1"] >= 18))

    write_small_scan(tmp_path / "s.h5", without_an_end, n_coils=1)
    assert rows_of(capfd, tmp_path / "s.h5")["acceleration"] == (
        "1.60 (1.00 without what one end of k-space lacks)"
    )
    made = jrsr(capfd, "recon", tmp_path / "s.h5", *FAST)
    assert made.code == 0 and "aliasing" not in made.err, made
