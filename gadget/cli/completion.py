"""Values that the shell completes: models, formats, settings and their values."""

from collections.abc import Iterator

from gadget.output.names import ENDINGS
from gadget.settings import Settings
from jrsr_core.common.validation import choices_of
from jrsr_core.models.names import MODEL_NAMES
from jrsr_core.weights.sets import SEPARATOR, names_in_sets


def models(incomplete: str) -> list[str]:
    """Return the systems whose names begin like this; those of a set once its "@" is there."""
    names = names_in_sets() if SEPARATOR in incomplete else MODEL_NAMES
    return [name for name in names if name.startswith(incomplete)]


def setting_names(incomplete: str) -> list[str]:
    """Return the settings whose names begin like this."""
    return [name for name in Settings.model_fields if name.startswith(incomplete)]


def pairs(incomplete: str) -> list[str]:
    """Return ``key=``, or ``key=value`` for every value of a setting that has a choice."""
    key, equals, _ = incomplete.partition("=")
    if not equals:
        return [f"{name}=" for name in setting_names(key)]
    return [pair for value in _values(key) if (pair := f"{key}={value}").startswith(incomplete)]


def formats(incomplete: str) -> list[str]:
    """Return the formats that may follow in a comma-separated list."""
    done, comma, last = incomplete.rpartition(",")
    return [f"{done}{comma}{name}" for name in ENDINGS if name.startswith(last)]


def _values(key: str) -> Iterator[str]:
    field = Settings.model_fields.get(key)
    if key == "model":
        yield from (*MODEL_NAMES, *names_in_sets())
    elif field is not None:
        yield from choices_of(field) or map(str, field.examples or ())
