"""`jrsr doctor`: checks of the Python that Gadgetron, or a resident server, runs.

Every check is a line with a mark, its finding, and, where it fails, what to do.
"""

import os
import shutil
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from gadget.chains import chain_files
from gadget.errors import describe
from gadget.settings import Settings
from jrsr_core.common.os_errors import reason
from jrsr_core.common.version import software_version

Mark = Literal["ok", "note", "FAILED"]

MODULES = ("numpy", "ismrmrd", "torch", "gadgetron")
"""Modules that the handler needs, in the order in which it needs them; names of distributions."""

STORAGE_SECONDS = 3.0
SELF_TEST_SECONDS = 120.0
STORAGE_VARIABLE = "GADGETRON_STORAGE_ADDRESS"
"""Environment variable that Gadgetron sets for the processes that it starts."""


class ModuleMissing(ValueError):
    """A module that the handler needs is not installed, or does not load."""


@dataclass(frozen=True)
class Finding:
    """The result of one check; `mark` is "note" for what is missing without being needed."""

    name: str
    mark: Mark
    text: str

    @property
    def is_good(self) -> bool:
        """Whether the set-up works as far as this check can say."""
        return self.mark != "FAILED"


def examine(settings: Settings, storage: str = "") -> Iterator[Finding]:
    """Yield the finding of each check; one that fails does not stop the others.

    Parameters
    ----------
    settings
        Model and device to be tested.
    storage
        Address of Gadgetron's storage server; empty for that of the environment.
    """
    yield Finding("jrsr", "ok", f"{software_version()} in {Path(__file__).parents[1]}")
    yield Finding("Python", "ok", f"{sys.version.split()[0]}, {sys.executable}")
    missing = []
    for name in MODULES:
        finding = _check(name, partial(_module, name))
        missing += [] if finding.is_good else [name]
        yield finding
    yield _check("chains", _chains)
    yield _storage(storage or os.environ.get(STORAGE_VARIABLE, ""))
    if needed := [name for name in missing if name != "gadgetron"]:
        yield Finding("model", "FAILED", f"not tested without {', '.join(needed)}")
        return
    yield _check("device", lambda: _device(settings))
    model = _check("model", lambda: _model(settings))
    yield model
    if model.is_good:
        yield _check("self test", lambda: _self_test(settings))


def _check(name: str, function: Callable[[], str]) -> Finding:
    try:
        return Finding(name, "ok", function())
    except Exception as error:
        return Finding(name, "FAILED", describe(error))


def _module(name: str) -> str:
    try:
        found = version(name)
    except PackageNotFoundError:
        raise ImportError(
            f"not installed in this Python: {sys.executable} -m pip install {name}"
        ) from None
    try:
        module = import_module(name)
    except Exception as error:
        raise ModuleMissing(f"{found} is installed but does not load: {describe(error)}") from error
    return f"{found}, {Path(getattr(module, '__file__', None) or '').parent}"


def _chains() -> str:
    """Return where the chains of the package are, and those that Gadgetron would find."""
    names = [file.name for file in chain_files()]
    home = _gadgetron_home()
    if home is None:
        return f"{len(names)} in the package, jrsr chains FOLDER writes them; no Gadgetron found"
    folder = home / "share" / "gadgetron" / "config"
    there = [name for name in names if (folder / name).is_file()]
    if not there:
        raise FileNotFoundError(f"none of them in {folder}: jrsr chains {folder}")
    return f"{len(there)} of {len(names)} in {folder}"


def _gadgetron_home() -> Path | None:
    """Return the folder of Gadgetron as it finds it: by GADGETRON_HOME, else by its executable."""
    if named := os.environ.get("GADGETRON_HOME"):
        return Path(named)
    executable = shutil.which("gadgetron")
    return Path(executable).resolve().parents[1] if executable else None


def _storage(address: str) -> Finding:
    """Ask the storage server, which NoiseAdjustGadget needs for the noise of a scan."""
    if not address:
        text = "no address given (--storage URL); without a server use jrsr_raw.xml"
        return Finding("storage", "note", text)
    url = address if "://" in address else f"http://{address}"
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/healthcheck", timeout=STORAGE_SECONDS):
            return Finding("storage", "ok", f"answers at {url}")
    except urllib.error.HTTPError as error:
        return Finding("storage", "FAILED", f"{url} answers {error.code} {error.reason}")
    except (OSError, ValueError) as error:
        cause = getattr(error, "reason", error)
        why = reason(cause) if isinstance(cause, BaseException) else str(cause)
        hint = "start mrd-storage-server, or use jrsr_raw.xml"
        return Finding("storage", "FAILED", f"{url} does not answer ({why}): {hint}")


def _device(settings: Settings) -> str:
    import torch

    from jrsr_core.reconstruction.load import pick_device

    found = [pick_device(name) for name in settings.devices]
    names = [
        f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)
        for device in found
    ]
    return f"{settings.device}: {', '.join(names)}, {torch.get_num_threads()} threads"


def _model(settings: Settings) -> str:
    from gadget.compute.model import make_reconstructor

    start = time.perf_counter()
    model = make_reconstructor(settings)
    cards = ", ".join(f"{c.preset} {c.sha256[:12]}" for c in model.cards) or "no weights"
    return f"{model.name} ({cards}), loaded in {time.perf_counter() - start:.1f} s"


def _self_test(settings: Settings) -> str:
    from gadget.server.self_test import reconstruct_over_socket

    start = time.perf_counter()
    n_lines, n_fallback = reconstruct_over_socket(settings, SELF_TEST_SECONDS)
    note = "a fallback image" if n_fallback else "1 image"
    return f"{n_lines} lines -> {note} over a socket in {time.perf_counter() - start:.1f} s"
