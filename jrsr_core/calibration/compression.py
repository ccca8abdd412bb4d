"""Coil compression to a few virtual coils: one matrix (SCC), or one per readout position (GCC).

    SCC:  A = U_p^H,   D D^H = U Lambda U^H,   D (coil x samples) the ACS,   y_v = A y
    GCC:  A_x = P_x U_{p,x}^H,   D_x the ACS at readout position x of the hybrid space (ky, x)

Rows of A are orthonormal, so white noise stays white where A does not depend on it; in the ACS,
which gives A, leading vectors gather noise (up to 1.4 sigma with 64 coils). In GCC the p x p
unitary P_x aligns neighbours (orthogonal Procrustes, minimising ||P A_x - A_{x-1}||_F), since a
subspace has no basis of its own and virtual coils have to be smooth along x. It starts at the
middle and goes outward: the edges of the field of view are noise. Truncation comes first; aligning
complete bases would make all matrices equal.

Sources: SCC: Buehrer et al., MRM 2007;57:1131; Huang et al., MRI 2008;26:133. GCC: Zhang et al.,
MRM 2013;69:571.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool1d

from jrsr_core.arrays import Array, as_samples
from jrsr_core.numeric import checked_count
from jrsr_core.physics.fourier import fft, ifft
from jrsr_core.physics.resolution import crop_or_pad
from jrsr_core.reprs import tensor_repr
from jrsr_core.tensors import is_finite

GCC_WINDOW = 5
"""Readout positions that share one estimate: 24 ACS lines alone may be fewer than the coils."""


AXES = ("coil", "ay", "ax")
KSPACE_AXES = ("...", "coil", "ky", "kx")


@dataclass(frozen=True, eq=False, repr=False)
class CoilCompressor:
    """Callable ``(*batch, coil, ky, kx)`` -> ``(*batch, virtual coil, ky, kx)``.

    Build it with `scc` or `gcc`. To get the ACS of the virtual coils, compress the whole k-space
    and cut the ACS afterwards: a GCC matrix belongs to one position of the full readout.

    Attributes
    ----------
    matrices
        complex64 ``(n, n_virtual, coil)``; n = 1 for SCC, the readout size for GCC.
    is_geometric
        Whether it works in the hybrid space (GCC).
    """

    matrices: Tensor
    is_geometric: bool

    @classmethod
    def scc(cls, acs: Array, n_virtual: int) -> "CoilCompressor":
        """Return one matrix for all of k-space, valid for any sampling pattern.

        Parameters
        ----------
        acs
            complex ``(coil, ay, ax)``.
        n_virtual
            Virtual coils; with as many as coils, or more, the result is a lossless unitary mix.
        """
        samples = _near_one(as_samples(acs, "acs", AXES)).flatten(1)
        return cls(_leading_rows((samples @ samples.mH)[None], n_virtual), is_geometric=False)

    @classmethod
    def gcc(
        cls, acs: Array, n_virtual: int, readout_size: int, *, window: int = GCC_WINDOW
    ) -> "CoilCompressor":
        """Return one matrix per readout position; the readout kx has to be fully sampled.

        Parameters
        ----------
        acs
            complex ``(coil, ay, ax)``; zero-padded along kx to `readout_size`.
        n_virtual
            Virtual coils; with as many as coils, or more, the result is a lossless unitary mix.
        window
            Odd number of neighbouring positions whose samples are used for one matrix.
        """
        acs = as_samples(acs, "acs", AXES)
        if acs.shape[-1] > checked_count("readout_size", readout_size):
            raise ValueError(f"acs has {acs.shape[-1]} samples along kx, readout {readout_size}")
        hybrid = ifft(crop_or_pad(_near_one(acs), (readout_size,)), -1).permute(2, 0, 1)
        gram = _sliding_mean(hybrid @ hybrid.mH, window)
        return cls(_align(_leading_rows(gram, n_virtual)), is_geometric=True)

    def __repr__(self) -> str:
        kind = "geometric" if self.is_geometric else "single"
        return f"CoilCompressor({kind}, matrices {tensor_repr(self.matrices)})"

    @property
    def n_coils(self) -> int:
        """Physical coils."""
        return self.matrices.shape[-1]

    @property
    def n_virtual(self) -> int:
        """Virtual coils."""
        return self.matrices.shape[-2]

    def __call__(self, kspace: Array) -> Tensor:
        """Return the virtual coils' k-space, in the precision of the matrices.

        Raises
        ------
        ValueError
            Not complex, fewer axes, or the coils or readout samples of another scan.
        """
        kspace = as_samples(kspace, "kspace", KSPACE_AXES).to(self.matrices.dtype)
        n_coils, n_readout = kspace.shape[-3], kspace.shape[-1]
        if n_coils != self.n_coils:
            raise ValueError(f"compressor is for {self.n_coils} coils, kspace has {n_coils}")
        if not self.is_geometric:
            return torch.einsum("vc,...cyx->...vyx", self.matrices[0], kspace)
        if n_readout != len(self.matrices):
            raise ValueError(
                f"compressor is for {len(self.matrices)} readout samples, kspace has {n_readout}"
            )
        return fft(torch.einsum("xvc,...cyx->...vyx", self.matrices, ifft(kspace, -1)), -1)


def _near_one(acs: Tensor) -> Tensor:
    """Scale by a power of two, which rounds nothing: squares then stay in single precision."""
    if not acs.numel():
        raise ValueError(f"acs is {tuple(acs.shape)}, there are no samples to compress by")
    exponent = torch.frexp(acs.abs().amax())[1]
    return acs * torch.ldexp(torch.ones((), device=acs.device), -exponent)


def _leading_rows(gram: Tensor, n_virtual: int) -> Tensor:
    """Return the conjugate leading eigenvectors ``(n, n_virtual, coil)``, strongest first."""
    n_virtual = checked_count("n_virtual", n_virtual)
    if not is_finite(gram):
        raise ValueError("acs has samples that are not finite")
    vectors = torch.linalg.eigh(gram)[1].flip(-1)
    return vectors[..., :n_virtual].mH.resolve_conj().contiguous()


def _sliding_mean(gram: Tensor, window: int) -> Tensor:
    """Mean over `window` neighbours along the first axis, fewer at the ends."""
    if checked_count("window", window) % 2 == 0:
        raise ValueError(f"window is {window}, an odd number is needed")
    series = torch.view_as_real(gram).flatten(1).mT[None]
    mean = avg_pool1d(series, window, 1, window // 2, count_include_pad=False)[0].mT
    return torch.view_as_complex(mean.reshape(*gram.shape, 2).contiguous())


def _align(rows: Tensor) -> Tensor:
    """Rotate the rows at every x onto those of the neighbour nearer the middle.

    With A_x A_{x-1}^H = U Sigma V^H of the rows not yet rotated, the Procrustes solution is
    P_x = P_{x-1} V U^H; all decompositions are one batch and only products remain in the loop.
    """
    n, p, _ = rows.shape
    u, _, vh = torch.linalg.svd(rows[1:] @ rows[:-1].mH)
    step = (u @ vh).mH
    rotation = torch.eye(p, dtype=rows.dtype, device=rows.device).repeat(n, 1, 1)
    middle = n // 2
    for x in range(middle + 1, n):
        rotation[x] = rotation[x - 1] @ step[x - 1]
    for x in range(middle - 1, -1, -1):
        rotation[x] = rotation[x + 1] @ step[x].mH
    return rotation @ rows
