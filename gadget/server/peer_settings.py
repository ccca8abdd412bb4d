"""The settings that a peer asks for, by its configuration and by the texts around its header."""

import logging

from gadget.configuration import named_properties, parameters_of, properties_of, refuse_files
from gadget.server.protocol.connection import PeerConnection
from gadget.server.protocol.inbox import Inbox
from gadget.settings import Settings

log = logging.getLogger("jrsr")


def requested_settings(
    peer: PeerConnection, inbox: Inbox, own: Settings, *, name: str = "", may_name_files: bool
) -> Settings:
    """Return the own settings, overridden by those that the peer has sent; later ones count.

    A warning is logged, and sent to the peer.

    Parameters
    ----------
    inbox
        Reads the texts that an MRD client sends after its header; Gadgetron never sends a text.
    name
        Name of the peer in the log, if there are several.
    may_name_files
        Whether the peer may choose files and folders of this machine.

    Raises
    ------
    UsageError
        A setting, or a configuration, that is wrong or that the peer may not choose.
    """

    def warn(text: str) -> None:
        log.warning("%s", f"{name}: {text}" if name else text)
        peer.send_warning(text)

    groups = [properties_of(peer.config, warn)]
    if peer.config_name is not None:
        groups.append(named_properties(peer.config_name))
    later = [] if peer.is_gadgetron else inbox.first_texts()
    texts = peer.parameters + [text for text in later if text.text.lstrip().startswith("{")]
    groups += [parameters_of(text.text, warn) for text in texts]
    if not may_name_files:
        for group in groups:
            refuse_files(group, own)
    return own.override(*groups)
