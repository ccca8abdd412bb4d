"""A disk that takes no more."""

import resource
from contextlib import contextmanager


@contextmanager
def largest_file(n_bytes):
    """Let the system refuse to write beyond this place of any file, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
