"""Where training slices come from: one reader per file format, one interface.

A source lists its slices (subject, split if it has its own) and reads one at a time, so that it
can be handed to worker processes. Formats are told apart by content, never by name alone.
"""

from .base import Source, SourceError
from .find import find_sources, open_source

__all__ = ["Source", "SourceError", "find_sources", "open_source"]
