"""Things that are closed on leaving a context: files, subprocesses, pools."""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import TypeVar

AClosing = TypeVar("AClosing", bound="Closing")


class Closing(ABC):
    """Base of what has a `close`, which the end of a ``with`` block calls."""

    @abstractmethod
    def close(self) -> None:
        """Free what is held."""

    def __enter__(self: AClosing) -> AClosing:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
