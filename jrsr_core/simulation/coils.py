"""Random smooth receive coils.

Element c is a loop outside the object at z_c = x_c + i y_c. In the quasi-static 2-D limit its
sensitivity falls off like a harmonic function of z - z_c:

    S_c(z) = exp(i alpha_c) |z - z_c|^(-p_c) exp(i q_c arg((z - z_c) conj(-z_c))).

p = q = 1 with the loops on a circle is a birdcage coil (cf. Roemer et al., MRM 1990;16:192). The
maps are divided by their root sum of squares, so that the combined image is the object itself.
"""

import torch
from torch import Generator, Tensor

from .fields import uniform, unit_grid


def random_coils(
    n_coils: int, shape: tuple[int, int], generator: Generator, *, local: float = 0.0
) -> Tensor:
    """Return random coil maps with ``sum_c |S_c|^2 = 1``, complex64 ``(coil, y, x)``.

    Parameters
    ----------
    n_coils
        Number of elements.
    shape
        Grid ``(y, x)``.
    generator
        Source of the random numbers.
    local
        From 0, loops well outside the object (a head coil), to 1, small elements close to it (a
        flexible array).
    """
    y, x = unit_grid(shape)
    start = uniform(0.0, 2 * torch.pi, generator)
    stretch = uniform(0.85, 1.2, generator)
    maps = []
    for c in range(n_coils):
        angle = start + 2 * torch.pi * (c + uniform(-0.25, 0.25, generator)) / n_coils
        radius = uniform(1.25, 1.7, generator) - 0.2 * local
        center = radius * torch.exp(1j * torch.tensor(angle))
        dx = x * stretch - center.real
        dy = y / stretch - center.imag
        distance = (dx * dx + dy * dy + 0.02).sqrt()
        inward = torch.complex(dx, dy) * torch.conj(-center)
        phase = uniform(0.5, 1.2, generator) * inward.angle() + uniform(0, 6.283, generator)
        falloff = uniform(1.0, 1.6, generator) + local
        maps.append(torch.polar(distance ** (-falloff), phase))
    csm = torch.stack(maps)
    return (csm / csm.abs().square().sum(0).sqrt()).to(torch.complex64)
