"""What is kept of the images of a running scan whose lines are gone."""

from dataclasses import dataclass, field

from jrsr_core.mrd.acs.axes import KnownAxes

from .completeness import Patterns


@dataclass
class EarlierImages:
    """Sampling and axes of the images so far; each plan of the scan adds its own.

    `is_running` is whether lines of further images may come.
    """

    patterns: Patterns = field(default_factory=dict)
    axes: KnownAxes = field(default_factory=dict)
    is_running: bool = False
