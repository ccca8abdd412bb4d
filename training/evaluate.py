"""Every system on every test slice of a protocol: one CSV row per slice, resumable.

The slice is scanned by the protocol, then reconstructed by the same `Reconstructor` as at the
scanner. All metrics on the magnitude against the HR slice, MAX its maximum; nothing is cropped or
rescaled. Feature distance and LPIPS need the weights of their networks, given as local files;
without them their columns stay empty.
"""

import csv
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from torch import Tensor

from jrsr_core.metrics import nmse, psnr, ssim
from jrsr_core.pipeline import Reconstructor, load_reconstructor

from .testset import SliceAddress, TestSlice, as_kspace_slice, find_slices, scan_slice

COLUMNS = (
    "model",
    "protocol",
    "file",
    "subject",
    "slice",
    "psnr",
    "ssim",
    "nmse",
    "feature_distance",
    "lpips",
    "kspace_residual",
    "fixed_point_residual",
    "iterations",
    "seconds_calibration",
    "seconds_rec",
    "seconds_sr",
    "seconds_consistency",
    "seconds_total",
    "weights_sha256",
    "commit",
)
SUMMARISED = ("psnr", "ssim", "nmse", "feature_distance", "lpips", "kspace_residual")
BOUND = "fully-sampled-lr+sinc"

Distance = Callable[[Tensor, Tensor], Tensor]
Key = tuple[str, str, str, int]


def current_commit() -> str:
    """Short hash of the checkout, with "+" if it has changes; empty outside a checkout."""
    try:
        run = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--exclude=*"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return run.stdout.strip()


def short_hash(recon: Reconstructor) -> str:
    """Twelve digits of the hash of the weights, of each part."""
    return "+".join(part[:12] for part in recon.weights_sha256.split("+"))


def reconstruct(label: str, recon: Reconstructor, test: TestSlice):
    """Return the image of one system; the bound gets the scan without undersampling."""
    return recon(as_kspace_slice(test.scan, fully_sampled=label == BOUND))


def evaluate_slice(
    label: str, recon: Reconstructor, test: TestSlice, distances: dict[str, Distance] | None = None
) -> dict:
    """Return the row of one system on one slice."""
    image = reconstruct(label, recon, test)
    magnitude, truth, report = image.magnitude, test.scan.truth, image.report
    far = {k: float(d(magnitude[None], truth[None])) for k, d in (distances or {}).items()}
    return {
        "model": label,
        "file": test.address.file,
        "subject": test.address.subject,
        "slice": test.address.index,
        "psnr": f"{float(psnr(magnitude, truth)):.4f}",
        "ssim": f"{float(ssim(magnitude, truth)):.5f}",
        "nmse": f"{float(nmse(magnitude, truth)):.6f}",
        **{k: f"{v:.6f}" for k, v in far.items()},
        "kspace_residual": f"{report.kspace_residual:.5f}",
        "fixed_point_residual": f"{report.fixed_point_residual:.6f}",
        "iterations": report.iterations,
        "weights_sha256": short_hash(recon),
        **{f"seconds_{k}": f"{v:.4f}" for k, v in report.seconds.items()},
    }


def load_systems(models: list[str]) -> dict[str, Reconstructor]:
    """Return the systems by label: ``SYSTEM``, or ``LABEL=SYSTEM`` to give it a name in tables.

    A system is what `weights.systems` reads, or the bound "fully-sampled-lr+sinc": a linear
    reconstruction of the LR scan without undersampling.

    Raises
    ------
    ValueError
        A label twice, an unknown system, or one without weights.
    """
    recons = {}
    for text in models:
        label, equals, system = text.partition("=")
        if label in recons:
            raise ValueError(f"model {label} is listed twice")
        system = system if equals else label
        recons[label] = load_reconstructor("zero-filled+sinc" if system == BOUND else system)
    return recons


def read_rows(path: Path) -> list[dict]:
    """Return the rows of a CSV of `evaluate`; columns that came later are empty in an older one.

    Raises
    ------
    ValueError
        Not such a CSV.
    """
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        for column in ("model", "protocol", "slice", "psnr"):
            if column not in (reader.fieldnames or ()):
                raise ValueError(f"{path}: no column {column!r}, this is no CSV of evaluate")
        return [dict.fromkeys(COLUMNS, "") | row for row in reader]


def _key(row: dict) -> Key:
    return row["model"], row["protocol"], row["file"], int(row["slice"])


def _open_rows(out: Path, recons: dict[str, Reconstructor]) -> set[Key]:
    """Start the file, or return what it holds already; a row cut short by a crash is dropped."""
    out.parent.mkdir(parents=True, exist_ok=True)
    content = out.read_bytes() if out.exists() else b""
    whole = content[: content.rfind(b"\n") + 1]
    if not whole:
        out.write_text(",".join(COLUMNS) + "\r\n", newline="")
        return set()
    header = tuple(whole.decode().splitlines()[0].split(","))
    if header != COLUMNS:
        odd = ", ".join(sorted(set(header) ^ set(COLUMNS))) or "the order"
        raise ValueError(f"{out}: columns are not those of this version ({odd}); choose another")
    if whole != content:
        out.write_bytes(whole)
    rows = read_rows(out)
    for row in rows:
        recon = recons.get(row["model"])
        if recon is not None and row["weights_sha256"] != short_hash(recon):
            raise ValueError(
                f"{out}: rows of {row['model']} have weights {row['weights_sha256'] or 'none'}, "
                f"the system has {short_hash(recon) or 'none'}; choose another file"
            )
    return {_key(row) for row in rows}


class Evaluation:
    """The rows that are still to be made; iterating makes, writes and yields them.

    Parameters
    ----------
    models
        See `load_systems`.
    data
        File or folder, see `testset.find_slices`.
    out
        CSV file; rows it has already are kept and not made again.
    distances
        Of the columns "feature_distance" and "lpips".
    """

    def __init__(
        self,
        models: list[str],
        protocol: str,
        data: Path,
        out: Path,
        n_slices: int | None = None,
        distances: dict[str, Distance] | None = None,
    ) -> None:
        self.protocol, self.out, self.distances = protocol, out, distances
        self.recons = load_systems(models)
        slices = find_slices(data, n_slices)
        done = _open_rows(out, self.recons)
        self.todo: list[tuple[SliceAddress, list[str]]] = []
        for address in slices:
            place = (protocol, address.file, address.index)
            missing = [label for label in self.recons if (label, *place) not in done]
            if missing:
                self.todo.append((address, missing))

    def __len__(self) -> int:
        return sum(len(labels) for _, labels in self.todo)

    def __iter__(self) -> Iterator[dict]:
        commit, warm = current_commit(), set()
        with self.out.open("a", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            for address, labels in self.todo:
                test = scan_slice(address, self.protocol)
                for label in labels:
                    if label not in warm:
                        # The first call allocates and plans; its time is not that of a slice.
                        reconstruct(label, self.recons[label], test)
                        warm.add(label)
                    row = evaluate_slice(label, self.recons[label], test, self.distances)
                    row |= {"protocol": self.protocol, "commit": commit}
                    writer.writerow(row)
                    file.flush()
                    yield row


def evaluate(
    models: list[str], protocol: str, data: Path, out: Path, n_slices: int | None = None
) -> Iterator[dict]:
    """Append the missing rows to the CSV file `out`, yielding each as it is written."""
    yield from Evaluation(models, protocol, data, out, n_slices)


def summarise(path: Path) -> list[dict]:
    """Mean and standard deviation (n - 1) over slices of every model and protocol of a CSV.

    A metric that is missing in a row is None for the whole system.
    """
    rows = read_rows(path)
    keys = list(dict.fromkeys((r["model"], r["protocol"]) for r in rows))
    table = []
    for model, protocol in keys:
        mine = [r for r in rows if (r["model"], r["protocol"]) == (model, protocol)]
        entry = {"model": model, "protocol": protocol, "slices": len(mine)}
        entry |= {c: _mean_and_sd([r[c] for r in mine]) for c in (*SUMMARISED, "seconds_total")}
        table.append(entry)
    return table


def _mean_and_sd(texts: list[str]) -> tuple[float, float] | None:
    if not all(texts):
        return None
    values = np.array([float(t) for t in texts])
    return float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else 0.0
