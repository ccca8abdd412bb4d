"""Lines that are read when they are asked for."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import overload

import numpy as np


class LazyLines(Sequence[np.ndarray]):
    """Base of sequences of samples ``(coil, sample)``, for `LineList.data`."""

    @abstractmethod
    def line(self, index: int) -> np.ndarray:
        """Return the samples of one line."""

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...

    @overload
    def __getitem__(self, index: slice) -> list[np.ndarray]: ...

    def __getitem__(self, index: int | slice) -> np.ndarray | list[np.ndarray]:
        """Return one line, or several."""
        if isinstance(index, slice):
            return [self.line(i) for i in range(*index.indices(len(self)))]
        return self.line(index)
