"""Figures like the paper's 4 to 10: every system's image, error map and a magnified part.

One tile per system, `N_COLUMNS` in a row, the ground truth last. In the corner of every image PSNR
and, where its weights are given, LPIPS or the feature distance. All on one grey scale; errors
times `ERROR_GAIN`.
"""

from pathlib import Path

import numpy as np
from torch import Tensor
from torch.nn.functional import avg_pool2d

from jrsr_core.drawing import captioned, encode_png, enlarged, framed, in_corner, mosaic, to_grey
from jrsr_core.metrics import psnr
from training.data.testset import find_slices, scan_slice

from .evaluate import Distance, load_systems

ERROR_GAIN = 5
N_COLUMNS = 3
MAGNIFICATION = 4

Part = tuple[int, int, int]


def most_detailed(truth: Tensor) -> Part:
    """Return the square (y, x, size) of a quarter of the image with the largest variance."""
    size = min(truth.shape) // MAGNIFICATION
    mean = avg_pool2d(truth[None, None], size, 1)
    variance = (avg_pool2d(truth.square()[None, None], size, 1) - mean.square())[0, 0]
    y, x = divmod(int(variance.argmax()), variance.shape[1])
    return y, x, size


def parse_part(text: str, shape: tuple[int, int]) -> Part:
    """Read "y,x,size" of a square inside an image.

    Raises
    ------
    ValueError
        Not three whole numbers, or a square that leaves the image.
    """
    try:
        y, x, size = (int(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"zoom is {text!r}, expected y,x,size") from None
    if min(y, x) < 0 or size < 2 or y + size > shape[0] or x + size > shape[1]:
        raise ValueError(f"zoom {text} leaves the image of {shape[0]} x {shape[1]}")
    return y, x, size


def score_text(image: Tensor, truth: Tensor, distances: dict[str, Distance]) -> str:
    """Return PSNR and, where there are any, the distances, as in the paper's figures."""
    far = [f"{float(d(image[None], truth[None])):.4f}" for d in distances.values()]
    return "/".join([f"{float(psnr(image, truth)):.2f}", *far])


def _panel(name: str, image: Tensor, truth: Tensor, part: Part, score: str) -> np.ndarray:
    """Image, magnified part and error map side by side under the name."""
    top, (y, x, size) = float(truth.max()), part
    grey = to_grey(image.numpy(), top)
    zoom = enlarged(grey[y : y + size, x : x + size], grey.shape)
    error = to_grey(ERROR_GAIN * (image - truth).abs().numpy(), top)
    shown = framed(in_corner(grey, score) if score else grey, *part)
    return captioned(np.concatenate((shown, zoom, error), 1), (name,))


def draw_figure(
    models: list[str],
    protocol: str,
    data: Path,
    index: int,
    *,
    zoom: str | None = None,
    distances: dict[str, Distance] | None = None,
) -> bytes:
    """Reconstruct slice `index` of `data` with every system and return the figure as PNG.

    Parameters
    ----------
    models, data
        As in `evaluate`; the index counts the slices with signal.
    zoom
        Part to magnify, "y,x,size"; the most detailed one where None.

    Raises
    ------
    ValueError
        An index or a part outside; otherwise as `evaluate`.
    """
    slices = find_slices(data)
    if not 0 <= index < len(slices):
        raise ValueError(f"slice {index} asked for, {data} has {len(slices)} with signal")
    test = scan_slice(slices[index], protocol)
    truth = test.scan.truth
    shape = (truth.shape[0], truth.shape[1])
    part = most_detailed(truth) if zoom is None else parse_part(zoom, shape)
    panels = []
    for label, system in load_systems(models).items():
        image = system(test).magnitude
        score = score_text(image, truth, distances or {})
        panels.append(_panel(Path(label).stem, image, truth, part, score))
    panels.append(_panel("ground truth", truth, truth, part, ""))
    return encode_png(mosaic(panels, n_columns=min(N_COLUMNS, len(panels)), gap=6))
