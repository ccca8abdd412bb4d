"""Readers of training slices: one per file format, all with one interface.

A source lists its slices (subject, split if it states one) and reads one at a time, so that it
can be sent to worker processes. The content of a file decides its format, not the name alone.
"""

from .base import Source, SourceError
from .find import find_sources, open_source

__all__ = ["Source", "SourceError", "find_sources", "open_source"]
