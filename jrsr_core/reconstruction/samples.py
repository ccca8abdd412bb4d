"""Whether a slice can be reconstructed at all, and what of it can where it is damaged."""

import dataclasses

import torch
from torch import Tensor

from jrsr_core.calibration.acs import cut_acs
from jrsr_core.calibration.settings import check_matrix
from jrsr_core.data import KSpaceSlice


def check_slice(slice_: KSpaceSlice, kernel_width: int) -> None:
    """Raise `ValueError` for a matrix smaller than two kernels, or samples that are not finite."""
    check_matrix(slice_.lr_shape, kernel_width)
    if not is_finite(slice_.kspace):
        raise ValueError("kspace has samples that are not finite")


def is_finite(x: Tensor) -> bool:
    """Whether all of a real or complex tensor is finite."""
    return bool(torch.isfinite(torch.view_as_real(x) if x.is_complex() else x).all())


def without_bad_samples(slice_: KSpaceSlice) -> KSpaceSlice:
    """Return the slice with samples that are not finite as not measured."""
    if is_finite(slice_.kspace):
        return slice_
    good = torch.isfinite(torch.view_as_real(slice_.kspace)).all(-1)
    kspace = torch.where(good, slice_.kspace, torch.zeros_like(slice_.kspace))
    mask = slice_.mask * good.all(0)
    acs = slice_.acs
    if not is_finite(acs):
        try:
            acs = cut_acs(kspace, mask)
        except ValueError:
            acs = acs[:, :0, :0]
    return dataclasses.replace(slice_, kspace=kspace, mask=mask, acs=acs)
