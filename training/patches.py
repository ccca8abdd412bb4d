"""Patch-wise training of `jrsr`: the fixed point on whole images, gradients on patches.

With the Jacobian-free gradient the loss sees the reconstruction only through

    x_rec = P Gamma(s),   s = x* - eta A^H (A x* - b)

at the detached fixed point x*. s is computed on the whole image without a graph (but for eta);
Gamma and the SR module are convolutions, so their gradient on a patch of s is that of the loss on
this patch, but for the border, where a patch is padded with zeros: `patch_margin` LR pixels of it
stay out of the loss. With the patch as large as the image the gradient is that of whole images.

Not for models that work on the whole image inside the loss (HR data consistency, attention).
"""

from dataclasses import replace

import torch
from torch import Generator, Tensor, nn

from jrsr_core.arrays import to_channels
from jrsr_core.models.fixed_point import solve_fixed_point
from jrsr_core.models.interfaces import ModelOutput
from jrsr_core.models.jrsr import Jrsr

from .config import RunConfig
from .scans import TrainingScan


def check_patches(model: nn.Module, config: RunConfig) -> None:
    """Refuse patches for a model that they would change.

    Raises
    ------
    ValueError
        The model is not `jrsr`, or a loss needs the whole image.
    """
    if not config.patch:
        return
    if type(model) is not Jrsr:
        raise ValueError(f"patch is for jrsr; {config.model} works on the whole image in the loss")
    if config.gamma_back or config.loop == "adversarial":
        raise ValueError("patch is for pixel, reconstruction and perceptual losses")


def _window(n: int, size: int, generator: Generator) -> slice:
    size = min(size, n)
    start = int(torch.randint(0, n - size + 1, (), generator=generator))
    return slice(start, start + size)


def _inner(window: slice, n: int, margin: int) -> slice:
    """Part of a window away from its borders, as indices within it; image borders are no cuts."""
    low = margin if window.start > 0 else 0
    high = margin if window.stop < n else 0
    return slice(low, window.stop - window.start - high)


def _doubled(window: slice) -> slice:
    return slice(2 * window.start, 2 * window.stop)


def _unshifted(hr: Tensor, lr_shape: tuple[int, int]) -> Tensor:
    """Bring LR pixel j to HR pixels 2j and 2j + 1 for odd sizes as well."""
    return torch.roll(hr, [-(n % 2) for n in lr_shape], (-2, -1))


def _at(x: Tensor, rows: slice, columns: slice) -> Tensor:
    return x[..., rows, columns]


def patch_output(
    model: Jrsr,
    scan: TrainingScan,
    config: RunConfig,
    generator: Generator,
    *,
    x0: Tensor | None = None,
) -> tuple[ModelOutput, TrainingScan, Tensor]:
    """Return output and truth on one window of the batch, and the whole fixed points.

    The window is the same for all scans of the batch.
    """
    sense = scan.sense.at_low_resolution()
    rec = model.rec
    zero_filled = sense.adjoint(scan.kspace)
    with torch.no_grad():
        start = zero_filled if x0 is None else x0
        points, report = solve_fixed_point(
            lambda x: rec.step(x, zero_filled, sense, None), start, rec.training_settings
        )
        gradient = sense.gram(points) - zero_filled
    torch.clear_autocast_cache()
    s = points - rec.eta * gradient
    ny, nx = s.shape[-2:]
    window = (_window(ny, config.patch, generator), _window(nx, config.patch, generator))
    x_rec = _at(sense.support(), *window) * rec.prox(_at(s, *window))
    image = model.sr(_at(zero_filled.abs(), *window)[:, None], to_channels(x_rec))[:, 0]
    inner = [_inner(w, n, config.patch_margin) for w, n in zip(window, (ny, nx), strict=True)]
    truth_at = [
        slice(w.start + i.start, w.start + i.stop) for w, i in zip(window, inner, strict=True)
    ]
    # An odd size moves the HR grid by one pixel; both are moved back before they are cut.
    sizes = (image.shape[-2] // 2, image.shape[-1] // 2)
    output = ModelOutput(
        _at(_unshifted(image, sizes), *(_doubled(i) for i in inner)),
        _at(x_rec, *inner),
        report.iterations,
        report.residual.flatten(),
    )
    truth = replace(
        scan,
        target=_at(_unshifted(scan.target, (ny, nx)), *(_doubled(t) for t in truth_at)),
        lr_target=_at(scan.lr_target, *truth_at),
    )
    return output, truth, points
