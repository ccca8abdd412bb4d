"""Base class of objects that the end of a ``with`` block closes: files, subprocesses, pools."""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import TypeVar

AClosing = TypeVar("AClosing", bound="Closing")


class Closing(ABC):
    """Calls `close` at the end of a ``with`` block."""

    @abstractmethod
    def close(self) -> None:
        """Release the resources of the object."""

    def __enter__(self: AClosing) -> AClosing:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
