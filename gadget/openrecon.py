"""Module for the server of FIRE at scanners with OpenRecon, which take integers only.

As `gadget.fire`, with ``output=int16`` unless the parameters state another output. That server
replaces the name of the configuration by the parameters, so that the name ``openrecon`` is lost.
"""

from typing import Any

from gadget import fire
from gadget.configuration import OPENRECON, named_properties
from gadget.settings import Settings


def process(connection: Any, config: Any, metadata: Any) -> int:
    """Reconstruct the scan of a connection as `gadget.fire.process`, with integer pixels."""
    own = Settings(**named_properties(OPENRECON))
    return fire.process(connection, config, metadata, own)
