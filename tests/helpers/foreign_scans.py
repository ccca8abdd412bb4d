"""One simulated scan in the formats that `jrsr import` reads, each laid out by hand."""

from pathlib import Path

import h5py
import numpy as np

from jrsr_core.mrd.files.scan import ScanFile
from jrsr_core.mrd.simulator.request import ScanRequest
from jrsr_core.mrd.simulator.simulate import write_simulation

SCAN = {"matrix": "96x128", "n_coils": 6, "acs": 12, "slices": 2, "noise_scan": False, "tilt": 20.0}


def simulated_array(folder: Path, **options: object) -> tuple[Path, np.ndarray]:
    """Return a scan on disk and its k-space ``(slice, coil, y, x)``, zeros where not measured."""
    path = folder / "scan.h5"
    write_simulation(ScanRequest(**(SCAN | options)), path)
    return path, as_array(path)


def as_array(path: Path) -> np.ndarray:
    """Return the k-space of a 2-D scan ``(slice, coil, y, x)``; the last line of a place counts."""
    with ScanFile(path) as scan:
        heads = scan.heads
        _, ny, nx = scan.header.encodings[0].encoding_matrix
        shape = (int(heads["idx"]["slice"].max()) + 1, int(heads["active_channels"][0]), ny, nx)
        kspace = np.zeros(shape, np.complex64)
        for head, line in zip(heads, scan.samples(np.arange(len(heads))), strict=True):
            kspace[head["idx"]["slice"], :, head["idx"]["kspace_encode_step_1"]] = line
    return kspace


def write_cfl(base: Path, kspace: np.ndarray) -> None:
    """Write ``(slice, coil, y, x)`` as BART: sizes in the header, the first axis fastest."""
    n_slices, n_coils, ny, nx = kspace.shape
    sizes = [nx, ny, 1, n_coils, *[1] * 9, n_slices, 1, 1]
    base.with_suffix(".hdr").write_text("# Dimensions\n" + " ".join(map(str, sizes)) + " \n")
    base.with_suffix(".cfl").write_bytes(np.ascontiguousarray(kspace, "<c8").tobytes())


def write_fastmri(path: Path, kspace: np.ndarray, scan: Path) -> None:
    """Write ``(slice, coil, y, x)`` as fastMRI: readout before phase encode, the scan's header."""
    with h5py.File(scan) as source, h5py.File(path, "w") as file:
        file["kspace"] = kspace.transpose(0, 1, 3, 2)
        file["ismrmrd_header"] = source["dataset/xml"][0]
        file["reconstruction_rss"] = np.zeros((kspace.shape[0], 8, 8), np.float32)
        file.attrs.update({"acquisition": "AXT2", "patient_id": "0123", "max": 1.0, "norm": 1.0})


def write_mat_7_3(path: Path, name: str, array: np.ndarray) -> None:
    """Write an array as MATLAB 7.3: 512 bytes in front, axes reversed, pairs (real, imag)."""
    stored = np.ascontiguousarray(array.T)
    pairs = stored.view([("real", stored.real.dtype), ("imag", stored.real.dtype)])
    with h5py.File(path, "w", userblock_size=512) as file:
        file[name] = pairs.reshape(stored.shape)
        file[name].attrs["MATLAB_class"] = np.bytes_("single")
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(128, b" "))
