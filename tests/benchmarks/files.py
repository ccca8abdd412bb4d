"""Rows of the speed table that are no arithmetic: reading a file, starting the command."""

import subprocess
import sys
import time

import numpy as np

HEADER = """<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><encoding>
<encodedSpace><matrixSize><x>512</x><y>256</y><z>1</z></matrixSize>
<fieldOfView_mm><x>400</x><y>200</y><z>5</z></fieldOfView_mm></encodedSpace>
<reconSpace><matrixSize><x>256</x><y>256</y><z>1</z></matrixSize>
<fieldOfView_mm><x>200</x><y>200</y><z>5</z></fieldOfView_mm></reconSpace>
<trajectory>cartesian</trajectory></encoding></ismrmrdHeader>"""


def reading(folder, best, repeat):
    """Return the row for reading 4096 lines of 16 coils and 512 samples."""
    import ismrmrd
    from ismrmrd.hdf5 import acquisition_header_dtype

    from jrsr_core.mrd.files.scan import ScanFile, write_scan
    from jrsr_core.mrd.lines.acquired import LineList

    n_lines, path = 4096, folder / "lines.h5"
    heads = np.zeros(n_lines, acquisition_header_dtype)
    heads["version"], heads["number_of_samples"], heads["active_channels"] = 1, 512, 16
    line = np.ones((16, 512), np.complex64)
    write_scan(path, HEADER, LineList(heads, [line] * n_lines))

    def ours():
        with ScanFile(path) as scan:
            for start in range(0, n_lines, 128):
                scan.samples(np.arange(start, start + 128))

    def loop():
        dataset = ismrmrd.Dataset(str(path), "dataset", create_if_needed=False)
        for i in range(n_lines // 16):
            dataset.read_acquisition(i)
        dataset.close()

    start = time.perf_counter()
    loop()
    other = 16 * (time.perf_counter() - start)
    note = "peer: ismrmrd one by one, 256 lines times 16"
    return "reading 4096 lines x 16 x 512", best(ours, repeat), other, None, 0.6, note


def start_up(best, repeat):
    """Return the row for `jrsr --help`."""

    def ours():
        subprocess.run([sys.executable, "-m", "gadget", "--help"], check=True, capture_output=True)

    return "jrsr --help", best(ours, repeat), None, None, 0.3, None
