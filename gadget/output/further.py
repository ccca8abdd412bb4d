"""Numbered files beside the first one, as many as the series and stacks of a scan need."""

import re
from collections.abc import Callable
from pathlib import Path

from jrsr_core.common.atomic import check_target


class FurtherFiles:
    """The files ``<name><mark><ending>`` beside ``<name><ending>``.

    Parameters
    ----------
    first
        The first file.
    ending
        End of all names, ``.dcm`` for instance.
    mark
        Regular expression of what stands between the name and the ending.
    is_ours
        Tells whether JRSR wrote a file; other ones of such names are never deleted.
    """

    def __init__(
        self, first: Path, ending: str, mark: str, is_ours: Callable[[Path], bool]
    ) -> None:
        self._folder, self._is_ours = first.parent, is_ours
        name = re.escape(first.name.removesuffix(ending))
        self._pattern = re.compile(name + mark + re.escape(ending))

    def existing(self) -> list[Path]:
        """Return those that exist, sorted."""
        folder = self._folder
        names = folder.iterdir() if folder.is_dir() else ()
        return sorted(p for p in names if self._pattern.fullmatch(p.name) and p.is_file())

    def check(self, *, overwrite: bool) -> None:
        """Raise `FileExistsError` if there is one that may not be replaced."""
        for path in self.existing():
            check_target(path, overwrite=overwrite)

    def remove_others(self, written: set[Path]) -> None:
        """Delete those of an earlier run that were not written again."""
        for path in self.existing():
            if path not in written and self._is_ours(path):
                path.unlink()
