"""Small ISMRMRD scans for the tests, and what may happen to them on the way."""

from dataclasses import replace

import ismrmrd
import numpy as np
import torch
from torch import Tensor

from jrsr_core.data import Counters, KSpaceSlice, KSpaceVolume, SliceGeometry, Vector
from jrsr_core.mrd.assembly.assemble import Assembler
from jrsr_core.mrd.examination.examine import plan_source
from jrsr_core.mrd.header.encoding import Encoding
from jrsr_core.mrd.header.scan_header import ScanHeader, parse_header
from jrsr_core.mrd.lines.acquired import LineList, LineSource
from jrsr_core.mrd.simulator.frames import make_frame
from jrsr_core.mrd.simulator.lines import scan_of_frames
from jrsr_core.mrd.simulator.noiseless import whole_lines
from jrsr_core.mrd.simulator.request import ScanRequest
from jrsr_core.physics.fourier import fft2c
from jrsr_core.simulation.masks import make_mask

from .synthetic import coil_profiles, phantom

FOV_MM = (5.0, 200.0, 220.0)


def coil_kspace(shape: tuple[int, int] = (48, 64), n_coils: int = 4, n_slices: int = 1) -> Tensor:
    """Fully sampled k-space ``(slice, coil, ky, kx)``, every slice its own."""
    image, _ = phantom(shape)
    slices = [
        (1 + s) * fft2c(coil_profiles(n_coils, shape, seed=s) * image) for s in range(n_slices)
    ]
    return torch.stack(slices).to(torch.complex64)


def scan_of_kspace(kspace: Tensor, mask: Tensor, **options) -> tuple[str, LineList]:
    """Header and lines of a 2-D scan of ``([average,] slice, coil, ky, kx)``, mask ``(ky, kx)``."""
    kspace = kspace[None] if kspace.ndim == 4 else kspace
    frames = [
        make_frame(Counters(slice=number, average=average), slice_[:, None], whole_lines(mask))
        for average, slices in enumerate(kspace)
        for number, slice_ in enumerate(slices)
    ]
    return scan_of_frames(frames, **{"fov_mm": FOV_MM} | options)


def small_scan(
    shape: tuple[int, int] = (48, 64),
    *,
    n_coils: int = 4,
    n_slices: int = 1,
    acceleration: int = 1,
    n_acs: int = 16,
    oversampling: bool = True,
    noise: Tensor | None = None,
) -> tuple[Tensor, Tensor, str, LineList]:
    """Return k-space, mask, header and lines of a scan."""
    name = "full" if acceleration == 1 else "regular"
    mask = make_mask(name, shape, acceleration, n_acs=n_acs)
    kspace = mask * coil_kspace(shape, n_coils, n_slices)
    request = ScanRequest(oversampling=oversampling)
    xml, lines = scan_of_kspace(kspace, mask, noise=noise, request=request)
    return kspace, mask, xml, lines


def noise_samples(n_coils: int = 4, n: int = 4096, seed: int = 0) -> Tensor:
    """Correlated noise with channels of very different level ``(coil, n)``.

    It is quiet enough for a `small_scan`, whose lines have no noise themselves: a level above
    `stated_noise.LARGE_SHARE` of the measurement would be compared with that of the samples.
    """
    generator = torch.Generator().manual_seed(seed)
    white = torch.randn((n_coils, n), dtype=torch.complex64, generator=generator)
    mixing = torch.eye(n_coils) + 0.3 * torch.rand((n_coils, n_coils), generator=generator)
    levels = torch.logspace(-2.3, -1.3, n_coils)
    return (levels[:, None] * (mixing.to(torch.complex64) @ white)).contiguous()


def select(lines: LineList, indices) -> LineList:
    """The lines of these indices, in this order."""
    indices = np.asarray(indices)
    return LineList(lines.heads[indices].copy(), [lines.data[i] for i in indices])


def joined(*parts: LineList) -> LineList:
    """One scan after another."""
    heads = np.concatenate([p.heads for p in parts])
    return LineList(heads, [d for p in parts for d in p.data])


def copied(lines: LineList) -> LineList:
    """A copy that a test may change."""
    return LineList(lines.heads.copy(), [d.copy() for d in lines.data])


def with_encoding(xml: str, *more: Encoding, **changes) -> ScanHeader:
    """The header with fields of its first encoding replaced, and further encodings."""
    header = parse_header(xml)
    return replace(header, encodings=(replace(header.encodings[0], **changes), *more))


def assembled(
    header: ScanHeader | str, lines: LineSource, **options
) -> list[KSpaceSlice | KSpaceVolume]:
    """The slices or volumes of a scan; `options` are those of the assembler."""
    header = parse_header(header) if isinstance(header, str) else header
    return list(Assembler(lines, plan_source(header, lines), **options))


def close(a: Tensor, b: Tensor) -> None:
    """Assert that k-space is the same but for rounding."""
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5 * float(b.abs().max()))


def geometry_of(mrd: ismrmrd.Image) -> SliceGeometry:
    """Read the geometry from the header of an image; the inverse of `to_mrd_image`."""
    head = mrd.getHead()

    def vector(name: str) -> Vector:
        return tuple(float(v) for v in getattr(head, name))

    return SliceGeometry(
        position_mm=vector("position"),
        read_dir=vector("read_dir"),
        phase_dir=vector("phase_dir"),
        slice_dir=vector("slice_dir"),
        fov_mm=tuple(reversed(vector("field_of_view"))),
        patient_table_position_mm=vector("patient_table_position"),
    )
