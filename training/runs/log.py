"""The log of a run: one JSON line per row, and the same numbers and pictures for TensorBoard.

A row holds the means over the steps since the row before. Their sums live in the state of the run,
so that a run that was killed and continued loses none.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from jrsr_core.common.atomic import append_bytes, write_bytes
from training.config import RunConfig

from .checkpoint import RunState
from .figures import PARTS

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

NAME = "log.jsonl"
Row = dict[str, Any]


class RunLog:
    """Writer of the log of one process.

    Parameters
    ----------
    folder
        That of the run.
    step
        Step at which the run continues; later rows of a run that was killed are dropped.
    tensorboard
        Write to `OUT/tensorboard` as well, where TensorBoard is installed.
    on_row
        Called with every row. Alarms go to stderr as well.
    """

    def __init__(
        self,
        folder: Path,
        step: int,
        *,
        tensorboard: bool,
        on_row: Callable[[Row], None] | None = None,
    ) -> None:
        self._on_row = on_row
        self.path = folder / NAME
        kept = [r for r in read_log(folder) if r["step"] <= step]
        if kept or self.path.exists():
            text = "".join(json.dumps(r) + "\n" for r in kept)
            write_bytes(self.path, text.encode(), overwrite=True)
        self._board = _open_board(folder, step) if tensorboard else None

    def write(self, row: Row) -> None:
        """Append a row; it has a `step`."""
        append_bytes(self.path, (json.dumps(row) + "\n").encode())
        if self._board is not None:
            for key, value in row.items():
                if key != "step" and isinstance(value, (int, float)):
                    self._board.add_scalar(key, value, row["step"])
        if self._on_row is not None:
            self._on_row(row)
        if "alarm" in row:
            sys.stderr.write(f"jrsr-train: step {row['step']}: {row['alarm']}\n")

    def write_picture(self, name: str, image: Tensor, step: int) -> None:
        """Write a magnitude ``(y, x)`` in [0, 1] for TensorBoard."""
        if self._board is not None:
            self._board.add_image(name, image[None].clamp(0, 1).cpu().numpy(), step)

    def close(self) -> None:
        """Finish writing."""
        if self._board is not None:
            self._board.close()


def _open_board(folder: Path, step: int) -> "SummaryWriter | None":
    try:
        from torch.utils.tensorboard import SummaryWriter  # an optional dependency
    except ImportError:
        sys.stderr.write("jrsr-train: tensorboard is not installed, the log is log.jsonl alone\n")
        return None
    return SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)


def read_log(folder: Path) -> list[Row]:
    """Return the rows of a run's log; a last line cut off by a kill is left out."""
    rows: list[Row] = []
    if not (folder / NAME).exists():
        return rows
    for line in (folder / NAME).read_text().splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def take_row(state: RunState, config: RunConfig, phase: str, rate: float) -> Row:
    """Return the means since the last row, with an alarm if there is one, and start new sums.

    `waiting` is the share of the time in which the step waited for its scans.

    Phase and learning rate are those of the last step.
    """
    row: Row = {k: v / state.counts[k] for k, v in state.sums.items()}
    seconds = sum(state.sums.get(f"s_{name}", 0.0) for name in PARTS)
    if seconds:
        n_steps = state.counts["s_data"]
        row["samples_per_second"] = n_steps * config.optimizer.batch / seconds
        row["waiting"] = state.sums["s_data"] / seconds
    state.sums, state.counts = {}, {}
    row |= {"step": state.step, "seconds": round(state.seconds, 2)}
    row |= {"elapsed": round(state.elapsed, 2), "phase": phase, "rate": rate}
    limit = config.fixed_point.residual_alarm
    if state.residual > limit:
        row["alarm"] = (
            f"fixed points do not settle, running residual {state.residual:.3f} is above {limit}"
        )
    return row
