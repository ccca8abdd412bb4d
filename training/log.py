"""The log of a run: one JSON line per row, and the same numbers and pictures for TensorBoard."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

NAME = "log.jsonl"


class RunLog:
    """Writes rows of one process; rows beyond `step`, of a run that was killed, are dropped.

    `tell` hears every row; alarms go to stderr as well.
    """

    def __init__(
        self,
        folder: Path,
        step: int,
        *,
        tensorboard: bool,
        tell: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self._tell = tell
        self.path = folder / NAME
        kept = [r for r in read_log(folder) if r["step"] <= step]
        if kept or self.path.exists():
            self.path.write_text("".join(json.dumps(r) + "\n" for r in kept))
        self._board = _board(folder, step) if tensorboard else None

    def write(self, row: dict[str, Any]) -> None:
        """Append a row; it has a `step`."""
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        if self._board is not None:
            for key, value in row.items():
                if key != "step" and isinstance(value, (int, float)):
                    self._board.add_scalar(key, value, row["step"])
        if self._tell is not None:
            self._tell(row)
        if "alarm" in row:
            sys.stderr.write(f"jrsr-train: step {row['step']}: {row['alarm']}\n")

    def picture(self, name: str, image: Tensor, step: int) -> None:
        """Show a magnitude ``(y, x)`` in [0, 1]."""
        if self._board is not None:
            self._board.add_image(name, image[None].clamp(0, 1).cpu().numpy(), step)

    def close(self) -> None:
        """Finish writing."""
        if self._board is not None:
            self._board.close()


def _board(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        sys.stderr.write("jrsr-train: tensorboard is not installed, the log is log.jsonl alone\n")
        return None
    return SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)


def read_log(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of a run's log; a last line cut off by a kill is left out."""
    rows: list[dict[str, Any]] = []
    if not (folder / NAME).exists():
        return rows
    for line in (folder / NAME).read_text().splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows
