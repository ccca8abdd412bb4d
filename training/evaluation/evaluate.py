"""Judge every system on every test slice of a protocol: one CSV row per slice, resumable.

The slice is scanned by the protocol, then reconstructed by the same `Reconstructor` as at the
scanner. All metrics compare the magnitude with the HR slice, MAX is its maximum; nothing is cropped
or rescaled. SqueezeNet distance and LPIPS need the weights of their networks as local files;
without them their columns are empty.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import Tensor

from jrsr_core.calibration.calibrate import CalibratedSlice, calibrate
from jrsr_core.calibration.settings import CalibrationSettings
from jrsr_core.data import ReconImage
from jrsr_core.metrics.image import nmse, psnr, ssim
from jrsr_core.metrics.resolution import effective_resolution, resolution_mm
from jrsr_core.models.interfaces import ModelOutput
from jrsr_core.reconstruction.load import load_model
from jrsr_core.reconstruction.quality import contradicted_detail
from training.data.testset import (
    ScannedSlice,
    SliceAddress,
    as_kspace_slice,
    find_slices,
    naming,
    scan_slice,
)
from training.errors import UsageError, as_usage

from .commit import current_commit
from .earlier_rows import add_row, check_distances, check_slices, check_systems, open_rows
from .other_images import OtherImages, read_folders
from .rows import FULLY_SAMPLED, UNDERSAMPLED, UPPER_REFERENCE, Place, place_of
from .systems import Judged, System, digest_of

Distance = Callable[[Tensor, Tensor], Tensor]
Key = tuple[str, str, Place]
"""System, protocol and slice of a row."""


@torch.inference_mode()
def calibrated_scan(test: ScannedSlice) -> CalibratedSlice:
    """Return the undersampled scan of a test slice, calibrated the same way for all systems."""
    return calibrate(as_kspace_slice(test.scan), CalibrationSettings())


@torch.inference_mode()
def contradicted(image: ReconImage, measured: CalibratedSlice) -> float:
    """Return the share of fine detail that the undersampled scan contradicts; see `quality`."""
    scale = measured.scale
    output = ModelOutput(image.image[None] / scale, image.low_resolution[None] / scale)
    return contradicted_detail(output, measured)


def evaluate_slice(
    label: str,
    system: Judged,
    test: ScannedSlice,
    distances: dict[str, Distance] | None = None,
    measured: CalibratedSlice | None = None,
) -> dict:
    """Return the row of one system on one slice; `measured` is the calibrated scan of the slice."""
    image = system(test)
    measured = measured or calibrated_scan(test)
    magnitude, truth, report = image.magnitude, test.scan.truth, image.report
    share, pixel = float(effective_resolution(magnitude, truth)), test.address.pixel_mm
    far = {k: float(d(magnitude[None], truth[None])) for k, d in (distances or {}).items()}
    row = {
        "model": label,
        "scan": FULLY_SAMPLED if system.fully_sampled else UNDERSAMPLED,
        "file": test.address.file,
        "subject": test.address.subject,
        "slice": test.address.index,
        "slice_sha256": test.address.sha256,
        "psnr": f"{float(psnr(magnitude, truth)):.4f}",
        "ssim": f"{float(ssim(magnitude, truth)):.5f}",
        "nmse": f"{float(nmse(magnitude, truth)):.6f}",
        "resolution": f"{share:.4f}",
        "resolution_mm": "" if pixel is None else f"{resolution_mm(share, pixel):.4f}",
        **{k: f"{v:.6f}" for k, v in far.items()},
        "weights_sha256": digest_of(system),
    }
    if isinstance(system, OtherImages):
        return row
    return row | {
        "kspace_residual": f"{report.kspace_residual:.5f}",
        "contradicted_detail": f"{contradicted(image, measured):.5f}",
        "fixed_point_residual": f"{report.fixed_point_residual:.6f}",
        "iterations": report.iterations,
        **{f"seconds_{k}": f"{v:.4f}" for k, v in report.seconds.items()},
    }


def names_by_label(models: Iterable[str]) -> dict[str, str]:
    """Return systems by label: ``SYSTEM``, or ``LABEL=SYSTEM`` to give it a name in tables.

    Raises
    ------
    UsageError
        A label twice.
    """
    names: dict[str, str] = {}
    for text in models:
        label, equals, name = text.partition("=")
        if label in names:
            raise UsageError(f"model {label} is listed twice")
        names[label] = name if equals else label
    return names


def load_systems(models: list[str]) -> dict[str, System]:
    """Return the systems of texts as `names_by_label` takes them, by label.

    A system is a name or a card that `weights.find` reads, or the upper reference
    "fully-sampled-lr+sinc": a linear reconstruction of the LR scan without undersampling.

    Raises
    ------
    ValueError
        A label twice, an unknown system, or one without weights.
    """
    systems = {}
    for label, name in names_by_label(models).items():
        is_reference = name == UPPER_REFERENCE
        # A system is judged as it is, however far its images are from the measurement.
        with as_usage():
            recon = load_model(
                "zero-filled+sinc" if is_reference else name, accept_contradictions=True
            )
        systems[label] = System(recon, is_reference)
    return systems


class Evaluation:
    """The rows that are still missing; iterating makes, writes and yields them.

    Parameters
    ----------
    models
        See `load_systems`.
    data
        File or folder, see `testset.find_slices`.
    out
        CSV file; rows that it already has are kept and not made again.
    distances
        Functions for the columns "squeezenet_distance" and "lpips".
    images
        Folders of images made elsewhere, see `other_images`.
    """

    def __init__(
        self,
        models: list[str],
        protocol: str,
        data: Path,
        out: Path,
        n_slices: int | None = None,
        distances: dict[str, Distance] | None = None,
        *,
        images: Sequence[str] = (),
    ) -> None:
        self.protocol, self.out, self.distances = protocol, out, distances
        folders = read_folders(list(images))
        self.systems: dict[str, Judged] = dict(load_systems(models))
        if twice := self.systems.keys() & folders.keys():
            raise UsageError(f"model {min(twice)} is listed twice")
        self.systems |= folders
        slices = find_slices(data, n_slices)
        rows = open_rows(out)
        check_systems(out, rows, self.systems)
        check_slices(out, rows, slices)
        done: set[Key] = {(row["model"], row["protocol"], place_of(row)) for row in rows}
        self.todo: list[tuple[SliceAddress, list[str]]] = []
        check_distances(out, rows, self.systems, protocol, slices, self.distances or {})
        for address in slices:
            place = (protocol, address.place)
            missing = [label for label in self.systems if (label, *place) not in done]
            if missing:
                self.todo.append((address, missing))

    def __len__(self) -> int:
        return sum(len(labels) for _, labels in self.todo)

    def __iter__(self) -> Iterator[dict]:
        commit, warm = current_commit(), set()
        for address, labels in self.todo:
            test = scan_slice(address, self.protocol)
            with naming(address):
                measured = calibrated_scan(test)
            for label in labels:
                system = self.systems[label]
                # Images made elsewhere name folder and slice themselves.
                with nullcontext() if isinstance(system, OtherImages) else naming(address):
                    if label not in warm:
                        # The first call allocates and plans; its time would not be typical.
                        system(test)
                        warm.add(label)
                    row = evaluate_slice(label, system, test, self.distances, measured)
                row |= {"protocol": self.protocol, "commit": commit}
                add_row(self.out, row)
                yield row
