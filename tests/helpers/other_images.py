"""ISMRMRD images as others write them, and what becomes of them in DICOM."""

from collections.abc import Iterable
from pathlib import Path

import ismrmrd
import numpy as np
import pydicom

from gadget.output.dicom.writer import DicomWriter, EnhancedWriter
from gadget.output.options import OutputOptions

AXIAL = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
SAGITTAL = ((0, 1, 0), (0, 0, -1), (-1, 0, 0))


def an_image(
    value: object = 1.0,
    *,
    shape: tuple[int, ...] = (6, 8),
    kind: type = np.float32,
    place: float = 0.0,
    axes: tuple = AXIAL,
    meta: dict | None = None,
    **fields: object,
) -> ismrmrd.Image:
    """An image of this value, `place` mm along its slice direction; `fields` are of its header."""
    image = ismrmrd.Image.from_array(np.full(shape, value, kind), transpose=False)
    image.image_type = ismrmrd.IMTYPE_MAGNITUDE
    image.field_of_view = (160, 120, 5 * image.data.shape[1])
    image.read_dir, image.phase_dir, image.slice_dir = axes
    image.position = tuple(place * np.array(axes[2]))
    image.image_index, image.image_series_index = 1, 1
    for name, field in fields.items():
        setattr(image, name, field)
    image.meta = ismrmrd.Meta(meta or {})
    return image


def write_file(path: Path, *images: ismrmrd.Image, group: str = "dataset") -> None:
    """Append images to a group of a file without a scan header, as Gadgetron's client does."""
    with ismrmrd.Dataset(str(path), group) as dataset:
        for image in images:
            dataset.append_image(f"image_{image.image_series_index}", image)


def classic(
    folder: Path, images: Iterable[ismrmrd.Image], xml: str = "<ismrmrdHeader/>"
) -> list[pydicom.Dataset]:
    """Return the images as classic ones, in the order of their files."""
    return _written(DicomWriter(folder / "classic", xml, OutputOptions(overwrite=True)), images)


def enhanced(
    folder: Path, images: Iterable[ismrmrd.Image], xml: str = "<ismrmrdHeader/>"
) -> list[pydicom.Dataset]:
    """Return the series as enhanced images."""
    return _written(EnhancedWriter(folder / "enhanced", xml, OutputOptions(overwrite=True)), images)


def read_folder(folder: Path) -> list[pydicom.Dataset]:
    return [pydicom.dcmread(path) for path in sorted(folder.iterdir())]


def real_world(ds: pydicom.Dataset) -> pydicom.Dataset:
    """The item that maps the integers of a classic or an Enhanced image to its values."""
    group = ds if "RealWorldValueMappingSequence" in ds else ds.SharedFunctionalGroupsSequence[0]
    (item,) = group.RealWorldValueMappingSequence
    assert item.RealWorldValueIntercept == 0
    assert "RescaleSlope" not in ds, "viewers show the integers"
    return item


def scale(ds: pydicom.Dataset) -> float:
    """Value of one stored unit."""
    return float(real_world(ds).RealWorldValueSlope)


def values(ds: pydicom.Dataset) -> np.ndarray:
    """Pixels in the units of the image."""
    return ds.pixel_array * scale(ds)


def window(ds: pydicom.Dataset) -> tuple[float, float]:
    """Smallest and largest value that the display window distinguishes from black and white."""
    group = ds if "WindowCenter" in ds else ds.SharedFunctionalGroupsSequence[0]
    shown = group if group is ds else group.FrameVOILUTSequence[0]
    assert shown.VOILUTFunction == "LINEAR"
    center, width = float(shown.WindowCenter), float(shown.WindowWidth)
    texts = (str(shown.WindowCenter), str(shown.WindowWidth))
    assert texts == (f"{center:.0f}", f"{width:.0f}") and width >= 1
    # PS3.3 C.11.2.1.2.1.
    low, high = center - 0.5 - (width - 1) / 2, center - 0.5 + (width - 1) / 2
    return low * scale(ds), high * scale(ds)


def _written(writer: DicomWriter, images: Iterable[ismrmrd.Image]) -> list[pydicom.Dataset]:
    with writer:
        for image in images:
            writer.write(image)
    return read_folder(writer.path)
