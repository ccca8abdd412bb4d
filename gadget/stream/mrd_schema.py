"""Which MRD v2 a stream is of: its schema, which begins the stream, has to be the reader's own."""

import json
from types import ModuleType

from gadget.errors import UsageError
from gadget.server.protocol.wire import ProtocolError

from .pipes import Pipes

MAGIC = b"yardl"
FORMAT_BYTES = 4
MAX_SCHEMA = 2**20

PACKAGES = {
    "2.0": "mrd-python==2.0.1",
    "2.1": "'mrd-python==2.1.*'",
    "2.2.0": "mrd-python==2.2.0 (Python 3.12 and newer)",
    "2.2.1": "mrd-python==2.2.1 (Python 3.12 and newer)",
}
"""Version of MRD -> how to install what reads it."""


def import_mrd(pipes: Pipes) -> ModuleType:
    """Return the package `mrd`, which reads the stream of these pipes; nothing is taken of it.

    Raises
    ------
    UsageError
        The package is not installed, or reads another version.
    ProtocolError
        The stream does not begin with a schema.
    """
    schema = peeked_schema(pipes)
    version = version_of(schema)
    wanted = PACKAGES.get(version, "another mrd-python")
    try:
        import mrd  # an optional dependency
    except ImportError:
        raise UsageError(
            f"input is of MRD {version}, which the extra 'mrd' reads: pip install {wanted}"
        ) from None
    own = mrd.BinaryMrdReader.schema
    if schema != own:
        raise UsageError(
            f"input is of MRD {version}, the installed mrd-python reads {version_of(own)}: "
            f"pip install {wanted}"
        )
    return mrd


def peeked_schema(pipes: Pipes) -> str:
    """Return the schema with which a stream begins; raises `ProtocolError` if there is none."""
    start = len(MAGIC) + FORMAT_BYTES
    n_bytes, shift, end = 0, 0, start
    while True:
        end += 1
        head = pipes.peek(end)
        if len(head) < end or shift > 28:
            raise ProtocolError("input is cut off before the schema of MRD v2")
        n_bytes |= (head[-1] & 0x7F) << shift
        shift += 7
        if head[-1] < 0x80:
            break
    if n_bytes > MAX_SCHEMA:
        raise ProtocolError(f"schema of {n_bytes} bytes, at most {MAX_SCHEMA} are accepted")
    text = pipes.peek(end + n_bytes)[end:]
    if len(text) < n_bytes:
        raise ProtocolError("input is cut off within the schema of MRD v2")
    return text.decode("utf-8", errors="replace")


def version_of(schema: str) -> str:
    """Return the version of MRD whose types a schema has."""
    try:
        types = {t["name"]: t for t in json.loads(schema)["types"]}
        names = {field["name"] for field in types["AcquisitionHeader"]["fields"]}
    except (ValueError, KeyError, TypeError):
        return "an unknown version"
    if "PulseqBlock" in types:
        return "2.2.1"
    if "acquisitionTimeStampNs" in names:
        return "2.2.0"
    return "2.1" if "ImageInt32" in types else "2.0"
