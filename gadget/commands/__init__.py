"""The commands of `jrsr`, in the order of its help.

They import what they need when they run: help has to be instant.
"""

from . import files, live, listing  # isort: skip
from .options import app

__all__ = ["app", "files", "listing", "live"]
