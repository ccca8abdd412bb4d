"""Decides what field of view readouts have where the numbers of the header leave it open.

Fewer samples than the encoded matrix has, as many as the image needs, are either a readout whose
oversampling was removed, or one that covers the encoded field of view at a lower resolution than
the (interpolated) matrix. More samples than the delivered matrix has, over the same field of view,
are either a readout of a higher resolution, or an oversampled one whose encoded field of view was
not widened. The object tells which: it does not reach into oversampled parts. Ours.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from jrsr_core.mrd.header.encoding import Encoding
from jrsr_core.mrd.header.stated_fov import doubt_note, matrix_ratio
from jrsr_core.mrd.lines.readout import LineLayout, ReadoutKind
from jrsr_core.mrd.planning.findings import SpaceFindings

from .readout_checks import OUTER_SHARE, outer_share, projections

X = 2

CLEARLY_OVERSAMPLED = 1.5
"""Ratio of matrices from which on the outer part is wide enough to be told from the air around."""


def with_readout(
    findings: SpaceFindings,
    kinds: Sequence[ReadoutKind],
    parts: Sequence[np.ndarray],
    layout: LineLayout,
    *,
    is_cropped: bool,
) -> SpaceFindings:
    """Add the field of view of the readouts, and a note, where it differs from the header.

    Parameters
    ----------
    kinds
        Kinds of the central lines.
    parts
        Their samples ``(line, coil, sample)``, one array for each size; empty if they have too
        little signal to be judged.
    is_cropped
        Whether readouts as long as the image needs are known to be without oversampling.
    """
    encoding = layout.encoding
    if is_in_doubt(encoding, kinds):
        return _with_wider_fov(findings, kinds, parts, encoding)
    sizes = {kind.n_kept for kind in kinds}
    n = encoding.readout_size
    is_short = sizes == {n} and n < encoding.encoding_matrix[X]
    if is_cropped or not parts or not is_short or not _are_central(kinds, findings):
        return findings
    what = f"readouts have {n} samples, the encoded matrix {encoding.encoding_matrix[X]} along x"
    if float(np.mean([outer_share(projections(part)) for part in parts])) > OUTER_SHARE:
        note = f"{what}: the object fills them, so that they are taken as without oversampling"
        return replace(findings, notes=(*findings.notes, note))
    fov_mm = encoding.encoding_fov_mm[X]
    note = f"{what}: they are taken to cover the encoded field of view of {fov_mm:g} mm"
    return replace(findings, n_encoded=n, notes=(*findings.notes, note))


def is_in_doubt(encoding: Encoding, kinds: Sequence[ReadoutKind]) -> bool:
    """Whether readouts have more samples than the image, over the same field of view."""
    n = encoding.recon_matrix[X]
    return matrix_ratio(encoding, X) > 1 and max(kind.n_kept for kind in kinds) > n


def _with_wider_fov(
    findings: SpaceFindings,
    kinds: Sequence[ReadoutKind],
    parts: Sequence[np.ndarray],
    encoding: Encoding,
) -> SpaceFindings:
    """Take the encoded field of view as wider than stated, or name both readings."""
    ratio, mm = matrix_ratio(encoding, X), encoding.encoding_fov_mm[X]
    is_judged = parts and ratio >= CLEARLY_OVERSAMPLED and _are_central(kinds, findings)
    shares = [outer_share(projections(part), 1 / ratio) for part in parts] if is_judged else [1.0]
    if float(np.mean(shares)) > OUTER_SHARE:
        return replace(findings, notes=(*findings.notes, doubt_note(encoding, X)))
    note = (
        f"{encoding.encoding_matrix[X]} samples are encoded along x and {encoding.recon_matrix[X]} "
        f"wanted, both over {mm:.4g} mm: the object lies in the middle of them, so that they are "
        f"taken as oversampled, over {mm * ratio:.4g} mm"
    )
    return replace(findings, encoded_fov_x_mm=mm * ratio, notes=(*findings.notes, note))


def _are_central(kinds: Sequence[ReadoutKind], findings: SpaceFindings) -> bool:
    """Whether the echo of all readouts lies in their middle."""
    return all(kind.key not in findings.echoes and _is_central(kind) for kind in kinds)


def _is_central(kind: ReadoutKind) -> bool:
    return abs(kind.center - kind.n_samples // 2) <= 1 or not 0 < kind.center < kind.n_samples
