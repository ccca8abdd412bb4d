"""How readouts reach the grid of the image: direction, echo position, oversampling.

An encoded readout of N samples covers a field of view wider than the image of n. Its samples are
placed on a grid of N so that the echo (`center_sample`) lies at N//2; samples that were not
measured (asymmetric echo, discarded ends) are zero and unmarked in the mask. `accumulate.on_grid`
applies what is planned here to samples.

A scan whose receiver removed the oversampling has lines of n samples; they need no crop. The number
of samples of one short line does not show which of the two it is, so all lines of an encoding space
are looked at together: `LineLayout`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import ceil, floor

import numpy as np

from jrsr_core.mrd.errors import UnsupportedScan
from jrsr_core.mrd.header.encoding import Encoding

from .acquired import REVERSE, has_flag, kept_samples
from .distinct import distinct_rows

EchoKey = tuple[int, int, bool]
"""Number of samples, `center_sample` and direction (True: reversed) of a line."""


@dataclass(frozen=True)
class LineLayout:
    """An encoding space and what was found about its lines.

    `has_oversampling` says whether readouts still have their oversampling: all have it, or none.
    `echoes` are the samples of the echoes, in the order of ascending k, of the kinds of lines whose
    `center_sample` is wrong.
    """

    encoding: Encoding
    has_oversampling: bool = False
    echoes: Mapping[EchoKey, int] = field(default_factory=dict, hash=False)

    @classmethod
    def of_lines(
        cls, encoding: Encoding, heads: np.ndarray, echoes: Mapping[EchoKey, int]
    ) -> "LineLayout":
        """Return the layout of these lines: oversampled if one is longer than the image needs."""
        return cls(encoding, bool((kept_samples(heads) > encoding.readout_size).any()), echoes)


@dataclass(frozen=True)
class ReadoutKind:
    """What lines have in common that are processed together: fields of the acquisition header."""

    n_samples: int
    center: int
    discard_pre: int
    discard_post: int
    reverse: bool

    @property
    def key(self) -> EchoKey:
        """The part of it that the echo depends on."""
        return (self.n_samples, self.center, self.reverse)

    @property
    def n_kept(self) -> int:
        """Number of samples that are not discarded."""
        return self.kept.stop - self.kept.start

    @property
    def kept(self) -> slice:
        """Samples that are not discarded, in the order of ascending k."""
        pre, post = self.discard_pre, self.discard_post
        if self.reverse:
            pre, post = post, pre
        return slice(pre, max(self.n_samples - post, pre))


@dataclass(frozen=True)
class Readout:
    """How readouts of one kind reach the grid of `n_out` samples.

    `n_full` is the size of the grid on which the samples were acquired, `start` the place of the
    first of them on it (in the order of ascending k); it is negative where the grid lacks samples.
    """

    kind: ReadoutKind
    n_full: int
    start: int
    n_out: int

    @property
    def measured(self) -> slice:
        """Measured samples on the acquired grid of `n_full`."""
        kept = self.kind.kept
        return slice(max(self.start + kept.start, 0), min(self.start + kept.stop, self.n_full))

    @property
    def span(self) -> slice:
        """Measured samples on the output grid of `n_out`."""
        first, last = self.measured.start, self.measured.stop - 1
        # Where every sample was measured, rounding must not drop one at the edge.
        if (first, last) == (0, self.n_full - 1):
            return slice(0, self.n_out)
        step = self.n_out / self.n_full
        low = ceil((first - self.n_full // 2) * step) + self.n_out // 2
        high = floor((last - self.n_full // 2) * step) + self.n_out // 2
        return slice(max(low, 0), min(high + 1, self.n_out))


def plan_readout(kind: ReadoutKind, layout: LineLayout) -> Readout:
    """Return the place of readouts of one kind.

    More samples than the image needs, here or in other lines of the encoding space, mean that
    oversampling is still there, and so does an echo with more on one side than half the image has;
    else it was removed by the receiver.

    Raises
    ------
    UnsupportedScan
        If the readout is longer than the header allows.
    """
    n_encoded, n_out = layout.encoding.encoding_matrix[2], layout.encoding.readout_size
    if kind.n_kept > n_encoded:
        raise UnsupportedScan(
            f"lines have {kind.n_kept} samples, the encoded matrix {n_encoded} along x"
        )
    center = _stated_center(kind, layout)
    longer = max(center - kind.kept.start, kind.kept.stop - center) if center is not None else 0
    # One more: a reversed line may count its centre from the other end.
    is_longer = kind.n_kept > n_out or longer > n_out // 2 + 1
    n_full = n_encoded if is_longer or layout.has_oversampling else n_out
    # Some systems remove oversampling and leave center_sample as it was, others leave it 0; the
    # echo is central then.
    center = kind.n_samples // 2 if center is None else center
    return Readout(kind, n_full, n_full // 2 - center, n_out)


def _stated_center(kind: ReadoutKind, layout: LineLayout) -> int | None:
    """Return the sample of the echo in the order of ascending k, None where it is not known."""
    if kind.key in layout.echoes:
        return layout.echoes[kind.key]
    if not 0 < kind.center < kind.n_samples:
        return None
    return kind.n_samples - 1 - kind.center if kind.reverse else kind.center


def readout_kinds(heads: np.ndarray) -> dict[ReadoutKind, np.ndarray]:
    """Return the positions in `heads` of the lines of each kind."""
    names = ("number_of_samples", "center_sample", "discard_pre", "discard_post")
    columns = [heads[name].astype(np.int64) for name in names] + [has_flag(heads, REVERSE)]
    keys, member, _ = distinct_rows(columns)
    kinds = (
        ReadoutKind(n, c, pre, post, bool(reverse)) for n, c, pre, post, reverse in keys.tolist()
    )
    return {kind: np.flatnonzero(member == i) for i, kind in enumerate(kinds)}


def measured_spans(heads: np.ndarray, layout: LineLayout) -> Iterator[tuple[np.ndarray, slice]]:
    """Yield positions in `heads` and the samples of the output grid that these lines measured."""
    for kind, members in readout_kinds(heads).items():
        yield members, plan_readout(kind, layout).span


def measured_share(heads: np.ndarray, layout: LineLayout) -> float:
    """Return the share of the readouts that was measured, 1 without an asymmetric echo."""
    if not len(heads):
        return 1.0
    n_samples = sum(
        len(members) * (span.stop - span.start) for members, span in measured_spans(heads, layout)
    )
    return n_samples / (len(heads) * layout.encoding.readout_size)
