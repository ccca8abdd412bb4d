"""The model that the settings name: checked, loaded on a device, put behind an engine."""

from functools import partial
from typing import TYPE_CHECKING

from gadget.errors import UsageError
from gadget.settings import Settings
from jrsr_core.common.spelling import UnknownName
from jrsr_core.models.names import (
    CONSISTENT,
    NEEDS_CONSISTENCY,
    has_consistency,
    nearest_model,
    split_name,
)
from jrsr_core.weights.card import CardError
from jrsr_core.weights.find import find_system, name_of
from jrsr_core.weights.sets import split_set

if TYPE_CHECKING:
    from jrsr_core.reconstruction.reconstructor import Reconstructor

    from .local import LocalEngine


def check_model(settings: Settings) -> None:
    """Check that the model exists and that its weights are installed.

    Raises
    ------
    UsageError
        The model is unknown, or `denoise` is set for one without data consistency.
    CardError
        The weights are missing.
    """
    base = split_set(settings.model)[0].removesuffix(CONSISTENT)
    if ".json" not in base:
        try:
            split_name(base)
        except UnknownName:
            hint = f"{nearest_model(base)} (jrsr models lists all)"
            raise UsageError(f"unknown model {settings.model!r}{hint}") from None
    try:
        parts = find_system(settings.model, preset=settings.preset, weights=settings.weights)
    except CardError:
        raise
    except ValueError as error:
        raise UsageError(str(error)) from error
    names = (settings.model, *map(name_of, parts))
    if settings.denoise and not any(map(has_consistency, names)):
        raise UsageError(f"denoise is {settings.denoise:g}, but only {NEEDS_CONSISTENCY}")


def make_reconstructor(
    settings: Settings, device: str | None = None, *, with_maps: bool = False
) -> "Reconstructor":
    """Load the model.

    Parameters
    ----------
    device
        Name of the device; the first one of the settings by default.
    with_maps
        Compute the maps of an image although the settings ask for no series of them.

    Raises
    ------
    UsageError
        The model is unknown.
    ValueError
        The weights do not match their card, or the device does not exist.
    """
    # Deferred: `jrsr check` calls `check_model` without torch.
    from jrsr_core.reconstruction.load import load_model

    check_model(settings)
    return load_model(
        settings.model,
        preset=settings.preset,
        weights=settings.weights or None,
        device=device or settings.devices[0],
        calibration=settings.calibration,
        precision=settings.precision,
        denoise=settings.denoise,
        maps=with_maps or bool(settings.map_names),
    )


def make_engine(settings: Settings, *, with_maps: bool = False) -> "LocalEngine":
    """Load the model once per device for all scans; parameters and errors as `make_reconstructor`.

    Returns
    -------
    LocalEngine
        Computes on the devices of the settings.
    """
    # Deferred: as above.
    from .local import LocalEngine

    return LocalEngine(
        partial(make_reconstructor, settings, with_maps=with_maps),
        settings.devices,
        batch_size=settings.batch_size,
    )
