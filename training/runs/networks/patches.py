"""Patch-wise training of `jrsr` and `t2net`: gradients on a patch instead of the whole image.

`jrsr`: the fixed point is sought on whole images, only its gradient is that of a patch. With the
Jacobian-free gradient the loss depends on the reconstruction only through

    x_rec = P Gamma(s),   s = x* - eta A^H (A x* - b)

at the detached fixed point x*. s is computed on the whole image without a graph (except for eta);
Gamma and the SR module are convolutions, so their gradient on a patch of s is that of the loss on
this patch, except at its border, where convolutions pad with zeros: `patch.margin` LR pixels of it
are left out of the loss. With the patch as large as the image the gradient is that of whole images.

`t2net`: a window of the image takes the place of the image. Its transformer then seeks the most
similar patch within the window instead of the whole image, which costs the square of the window.

Not for models that need all of k-space inside the loss (unrolled networks, HR data consistency).
"""

from dataclasses import replace

import torch
from torch import Generator, Tensor, nn

from jrsr_core.models.fixed_point import solve_fixed_point
from jrsr_core.models.interfaces import ModelOutput
from jrsr_core.models.jrsr import Jrsr
from jrsr_core.models.layers import mean_and_std
from jrsr_core.models.t2net import T2Net
from jrsr_core.tensors import to_channels
from training.config import RunConfig
from training.config.groups import Patch
from training.data.scans import TrainingScan
from training.errors import UsageError

Window = tuple[slice, slice]


def check_patches(model: nn.Module, config: RunConfig) -> None:
    """Refuse patches for a model whose gradient they would change.

    Raises
    ------
    UsageError
        The model, or a loss, needs the whole image.
    """
    if not config.patch.size:
        return
    if type(model) not in (Jrsr, T2Net):
        raise UsageError(
            f"patch.size is for jrsr and t2net; {config.model} needs the whole image in the loss"
        )
    kind = config.loss.discriminator
    with_lr_image = kind.network == "medsrgan" or kind.flat_threshold > 0
    if config.loss.back or (config.loop == "adversarial" and with_lr_image):
        raise UsageError(
            "patch.size is for losses that compare HR images alone: not loss.back, "
            "loss.discriminator.network medsrgan and loss.discriminator.flat_threshold"
        )


def _window(n: int, size: int, rng: Generator) -> slice:
    size = min(size, n)
    start = int(torch.randint(0, n - size + 1, (), generator=rng))
    return slice(start, start + size)


def _inner(window: slice, n: int, margin: int) -> slice:
    """Return the part of a window away from its cuts, within it; the image border is no cut."""
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


def _jrsr_on(
    model: Jrsr, scan: TrainingScan, window: Window, x0: Tensor | None
) -> tuple[ModelOutput, Tensor]:
    """Return the output of a window, and the fixed points of the whole images."""
    sense, rec = scan.sense.at_low_resolution(), model.rec
    zero_filled = sense.adjoint(scan.kspace)
    with torch.no_grad():
        start = zero_filled if x0 is None else x0
        points, report = solve_fixed_point(
            lambda x: rec.step(x, zero_filled, sense, None), start, rec.training_settings
        )
        gram = sense.gram(points)
    torch.clear_autocast_cache()
    s = points - rec.eta * (gram - zero_filled)
    if rec.is_implicit:
        # The data term couples all pixels and costs little; D around the window has no graph.
        with torch.no_grad():
            prior = rec.prox.denoised(s)
        prior[(..., *window)] = rec.prox.denoised(_at(s, *window))
        x = rec.data_solve(sense.support() * prior, zero_filled, sense, points, gram)
        x_rec = _at(x, *window)
    else:
        x_rec = _at(sense.support(), *window) * rec.prox(_at(s, *window))
    image = model.sr(_at(zero_filled.abs(), *window)[:, None], to_channels(x_rec))[:, 0]
    return ModelOutput(image, x_rec, report.iterations, report.residual.flatten()), points


def _t2net_on(model: T2Net, scan: TrainingScan, window: Window) -> tuple[ModelOutput, Tensor]:
    """Return the output of a window, and the zero-filled whole images."""
    zero_filled = scan.zero_filled()
    statistics = mean_and_std(zero_filled.abs()[:, None])
    cut = _at(zero_filled, *window)
    image, magnitude = model.branches(cut.abs()[:, None], *statistics)
    return ModelOutput(image, magnitude * torch.sgn(cut)), zero_filled


def patch_output(
    model: nn.Module,
    scan: TrainingScan,
    patch: Patch,
    rng: Generator,
    *,
    x0: Tensor | None = None,
) -> tuple[ModelOutput, TrainingScan, Tensor]:
    """Return output and truth on one window of the batch, and the whole fixed points.

    The window is the same for all scans of the batch; `rng` draws it.

    Raises
    ------
    TypeError
        A model that `check_patches` refuses.
    """
    ny, nx = scan.lr_target.shape[-2:]
    window = (_window(ny, patch.size, rng), _window(nx, patch.size, rng))
    if isinstance(model, T2Net):
        output, points = _t2net_on(model, scan, window)
    elif isinstance(model, Jrsr):
        output, points = _jrsr_on(model, scan, window, x0)
    else:
        raise TypeError(f"{type(model).__name__} is not trained on patches")
    inner = [_inner(w, n, patch.margin) for w, n in zip(window, (ny, nx), strict=True)]
    truth_at = [
        slice(w.start + i.start, w.start + i.stop) for w, i in zip(window, inner, strict=True)
    ]
    # An odd size moves the HR grid by one pixel; both are moved back before they are cut.
    sizes = (output.image.shape[-2] // 2, output.image.shape[-1] // 2)
    output = replace(
        output,
        image=_at(_unshifted(output.image, sizes), *(_doubled(i) for i in inner)),
        low_resolution=_at(output.low_resolution, *inner),
    )
    truth = replace(
        scan,
        target=_at(_unshifted(scan.target, (ny, nx)), *(_doubled(t) for t in truth_at)),
        lr_target=_at(scan.lr_target, *truth_at),
    )
    return output, truth, points
