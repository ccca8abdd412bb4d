"""Several scans at a time, each in a thread; what interrupts the main thread ends all of them."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Event

from gadget.console import progress
from gadget.errors import Exit
from jrsr_core.common.cancellation import watched


def map_scans(function: Callable[[Path], Exit], sources: list[Path], n_at_once: int) -> list[Exit]:
    """Call a function for all scans, several at a time with one progress bar for all of them.

    Signals reach the main thread alone, which leaves its pool only after the other threads have
    ended. An interrupt therefore ends them at their next checkpoint, and no further scan is begun.

    Raises
    ------
    BaseException
        What interrupts the calling thread, or what the function raises.
    """
    if n_at_once == 1:
        return list(map(function, sources))
    is_interrupted, codes = Event(), list[Exit]()
    with ThreadPoolExecutor(n_at_once) as pool, progress(len(sources), "scans") as tick:
        try:
            for code in pool.map(partial(_interruptible, function, is_interrupted), sources):
                codes.append(code)
                tick()
        except BaseException:
            is_interrupted.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return codes


def _interruptible(function: Callable[[Path], Exit], is_interrupted: Event, source: Path) -> Exit:
    def check() -> None:
        if is_interrupted.is_set():
            # Not an `Exception`, so that nothing reports it as a failure of the scan.
            raise KeyboardInterrupt

    with watched(check):
        return function(source)
