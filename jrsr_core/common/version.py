"""The version of the installed distribution."""

from importlib.metadata import PackageNotFoundError, version


def software_version() -> str:
    """Return the version of the installed distribution; "unknown" if it is not installed."""
    try:
        return version("gadgetron-jrsr")
    except PackageNotFoundError:
        return "unknown"
